package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lumen/store/seal"
)

// SweepReport counts what a sweep found of blobs without a row.
type SweepReport struct {
	Objects     int // of the tenant, keys and facts included
	Adopted     int // complete, and new to the archive: a crash came before the journal record
	Duplicates  int // complete, with content that the archive has: removed
	Quarantined int // complete, in conflict with what the archive has: kept aside now
	Removed     int // unreadable, older than [SweepAge], and nothing that was ever acknowledged
	Keys        int // of studies that hold nothing and never did, older than [SweepAge]: removed
	Damaged     int // unreadable, and the journal says that it was stored: kept for a repair
	Left        int // unreadable and younger, or in the middle of an ingest
}

// SweepAge is how old an unreadable blob, or a key, must be to be removed.
const SweepAge = 24 * time.Hour

// How often a running archive looks.
const (
	sweepEvery   = 24 * time.Hour
	windowsEvery = 10 * time.Second
)

// Sweep looks for blobs that nothing refers to: a crash left them between the
// blob and its journal record, or a failed removal. Complete ones go through
// the same decision as an instance that is coming in, and are journaled as
// recovered when the archive keeps them; unreadable ones are journaled and
// removed when they are old, unless the journal says that they were stored: a
// damaged object may be repaired, or its key found. Keys of studies that hold
// nothing are removed when they are old (see sweepKeys). It is safe while instances
// come in; a second call waits for the first.
func (a *Archive) Sweep(ctx context.Context) (SweepReport, error) {
	a.sweeping.Lock()
	defer a.sweeping.Unlock()
	var report SweepReport
	known, studies, err := a.knownBlobs(ctx)
	if err != nil {
		return report, err
	}
	began, err := a.journalBegan(ctx)
	if err != nil {
		return report, err
	}
	aside := make(map[BlobRef]bool)
	var strays []BlobInfo
	var keys handleList
	for info, err := range a.blobs.List(ctx, a.prefix()) {
		if err != nil {
			return report, fmt.Errorf("list the blobs: %w", err)
		}
		report.Objects++
		study, key, ok := a.studyOf(info.Name)
		switch {
		case ok && !key:
			studies.add(study)
		case ok && a.old(info) && !info.ModTime.Before(began):
			keys.add(study)
		}
		switch ref, kind := a.parseName(info.Name); kind {
		case objectQuarantine:
			aside[ref] = true
		case objectInstance:
			if !known.has(ref) {
				strays = append(strays, info)
			}
		}
	}
	var unreadable []string
	for _, info := range strays {
		ref, _ := a.parseName(info.Name)
		if aside[ref] {
			continue
		}
		old, err := a.sweepOne(ctx, info, ref, &report)
		if err != nil {
			return report, err
		}
		if old {
			unreadable = append(unreadable, info.Name)
		}
	}
	keys = slices.DeleteFunc(keys.without(studies), a.studies.inUse) // before the journal is read: see sweepKeys
	stored, err := a.everStored(ctx, unreadable, keys)
	if err != nil {
		return report, err
	}
	if err := a.sweepUnreadable(ctx, unreadable, stored, &report); err != nil {
		return report, err
	}
	return report, a.sweepKeys(ctx, keys, stored, &report)
}

// sweepOne decides about a blob that had no row when the sweep began, unless it
// is unreadable and old: then it says so.
func (a *Archive) sweepOne(ctx context.Context, info BlobInfo, ref BlobRef, report *SweepReport) (unreadable bool, err error) {
	if a.writing.has(ref) {
		report.Left++
		return false, nil
	}
	// The ingest that wrote it may have ended since: then it is in the index,
	// kept aside, or gone.
	if aside, err := a.isQuarantined(ctx, ref); err != nil || aside {
		return false, err
	}
	row, err := a.readRow(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound):
		_, statErr := a.blobs.Stat(ctx, info.Name)
		if errors.Is(statErr, ErrNotFound) {
			return false, nil
		}
		return a.isOld(info, report), nil // the key is what was not found
	case errors.Is(err, ErrCorrupt):
		return a.isOld(info, report), nil
	case err != nil:
		return false, fmt.Errorf("read the trailer of a blob: %w", err)
	}
	outcome, adopted, err := a.commit(context.WithoutCancel(ctx), row, durably, Event{Kind: EventRecovered, Principal: a.system()}, false)
	if err != nil {
		return false, fmt.Errorf("adopt a blob: %w", err)
	}
	switch {
	case outcome == Stored && adopted:
		report.Adopted++
		a.metrics.recovered.Inc()
	case outcome == Duplicate:
		report.Duplicates++
	case outcome == Quarantined:
		report.Quarantined++
	}
	return false, nil
}

// old reports whether an object has been there for [SweepAge].
func (a *Archive) old(info BlobInfo) bool { return a.clock.Now().Sub(info.ModTime) >= SweepAge }

// isOld is old of an unreadable blob, which is left while it is not.
func (a *Archive) isOld(info BlobInfo, report *SweepReport) bool {
	old := a.old(info)
	if !old {
		report.Left++
	}
	return old
}

// journalBegan is when the oldest record was made: of what is older than that
// the journal cannot say that nobody was told that it is stored. Of a journal
// without a record it is now.
func (a *Archive) journalBegan(ctx context.Context) (time.Time, error) {
	for recorded, err := range a.journal.Replay(ctx, 0) {
		if err != nil {
			return time.Time{}, fmt.Errorf("ask when the journal began: %w", err)
		}
		return recorded.Time, nil
	}
	return a.clock.Now(), nil
}

// sweepUnreadable removes blobs that cannot be opened, but for those that
// somebody was told are stored.
func (a *Archive) sweepUnreadable(ctx context.Context, names []string, stored map[string]bool, report *SweepReport) error {
	for _, name := range names {
		if stored[name] {
			a.log.Error("a stored object cannot be opened and has no row; it is kept: restore it, or its key, and rebuild the index", "blob", name)
			report.Damaged++
			continue
		}
		a.log.Warn("unreadable blob without a row is removed", "blob", name)
		if err := a.sweepAway(ctx, name); err != nil {
			return fmt.Errorf("remove an unreadable blob: %w", err)
		}
		report.Removed++
	}
	return nil
}

// sweepKeys removes the keys of studies that hold nothing, but for those that
// sealed something that somebody was told is stored. An instance that was refused
// leaves its study's key, since others may use it, and senders could fill the disk
// with keys.
//
// No instance loses its key, because of the order of steps: objects were listed,
// then keys in use left out, then the journal read. An ingest has its key in use
// from before the key is there until its row can be found. So one that was under
// way at the second step has kept its key; what ended before that has a record,
// or nobody was told that it is stored; and none begins later, for only what a
// row names is used again, and what has a row has a record. What has no record,
// as after a crash, an index lost or a bucket that is not indexed yet, is in the
// listing, local or remote: one that is not complete is an error. A crash of this
// node takes along who used keys, and what they left is one of these cases. A
// bucket that leaves something out of its listing has the journal against it, and
// keys that are older than the journal are not looked at.
func (a *Archive) sweepKeys(ctx context.Context, keys handleList, stored map[string]bool, report *SweepReport) error {
	for _, study := range keys {
		name := seal.StudyKeyName(a.keys.Tenant(), study)
		if stored[name] {
			continue
		}
		if err := a.sweepAway(ctx, name); err != nil {
			return fmt.Errorf("remove the key of a study that holds nothing: %w", err)
		}
		a.keys.Forget(study)
		report.Keys++
	}
	return nil
}

// sweepAway removes an object, with a record of it.
func (a *Archive) sweepAway(ctx context.Context, name string) error {
	if _, err := a.journal.Append(ctx, Event{Kind: EventSwept, Principal: a.system(), Blob: name}); err != nil {
		return err
	}
	if err := a.blobs.Delete(ctx, name); err != nil {
		return err
	}
	a.metrics.swept.Inc()
	return nil
}

// everStored finds which of the blobs the journal names as taken in, and which
// of the studies' keys, by name, sealed one of that kind. It reads the whole
// journal, which is why it is asked for all at once.
func (a *Archive) everStored(ctx context.Context, names []string, keys handleList) (map[string]bool, error) {
	if len(names)+len(keys) == 0 {
		return nil, nil
	}
	stored := make(map[string]bool, len(names)+len(keys))
	for _, name := range names {
		stored[name] = false
	}
	for _, study := range keys {
		stored[seal.StudyKeyName(a.keys.Tenant(), study)] = false
	}
	for recorded, err := range a.journal.Replay(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("look for what is to be swept in the journal: %w", err)
		}
		switch e := recorded.Event; e.Kind {
		case EventStored, EventRecovered, EventQuarantined:
			names := [...]string{e.Blob, ""}
			if study, _, ok := a.studyOf(e.Blob); ok {
				names[1] = seal.StudyKeyName(a.keys.Tenant(), study)
			}
			for _, name := range names {
				if _, asked := stored[name]; asked {
					stored[name] = true
				}
			}
		}
	}
	return stored, nil
}

// runBackground sweeps at once and then every day, and closes the windows of
// retrievals in between, until ctx ends.
func (a *Archive) runBackground(ctx context.Context, sweeps bool) {
	day, windows := time.NewTicker(sweepEvery), time.NewTicker(windowsEvery)
	defer day.Stop()
	defer windows.Stop()
	if sweeps {
		a.sweepAndLog(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-windows.C:
			a.endWindows(false)
		case <-day.C:
			if sweeps {
				a.sweepAndLog(ctx)
			}
		}
	}
}

func (a *Archive) sweepAndLog(ctx context.Context) {
	report, err := a.Sweep(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.log.Error("sweep did not finish", "error", err)
	case report.Adopted+report.Duplicates+report.Quarantined+report.Removed+report.Keys+report.Damaged+report.Left > 0:
		a.log.Info("swept", "objects", report.Objects, "adopted", report.Adopted, "duplicates", report.Duplicates,
			"quarantined", report.Quarantined, "removed", report.Removed, "keys", report.Keys, "damaged", report.Damaged, "left", report.Left)
	}
}

// blobList is a sorted list of blob ids: 16 bytes for each of what may be
// millions. Ids are random, so they alone tell blobs apart.
type blobList [][16]byte

func (l blobList) has(ref BlobRef) bool {
	_, ok := slices.BinarySearchFunc(l, ref.ID, compareIDs)
	return ok
}

func compareIDs(x, y [16]byte) int { return bytes.Compare(x[:], y[:]) }

// handleList is a list of studies' handles, 16 bytes for each.
type handleList []seal.Handle

// add appends a handle. What comes study by study is there once.
func (l *handleList) add(study seal.Handle) {
	if n := len(*l); n == 0 || (*l)[n-1] != study {
		*l = append(*l, study)
	}
}

// without returns the handles that are not among others, which it sorts. It
// uses the memory of l.
func (l handleList) without(others handleList) handleList {
	compare := func(x, y seal.Handle) int { return compareIDs(x, y) }
	slices.SortFunc(others, compare)
	return slices.DeleteFunc(l, func(study seal.Handle) bool {
		_, found := slices.BinarySearchFunc(others, study, compare)
		return found
	})
}

// knownBlobs lists the blobs that have a row, and the studies whose keys seal
// them.
func (a *Archive) knownBlobs(ctx context.Context) (known blobList, studies handleList, err error) {
	for row, err := range a.index.Instances(ctx, Selection{}) {
		if err != nil {
			return nil, nil, fmt.Errorf("list the rows: %w", err)
		}
		known = append(known, row.Blob.ID)
		studies.add(row.Blob.Study)
	}
	slices.SortFunc(known, compareIDs)
	return known, studies, nil
}
