package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SweepReport counts what a sweep found of blobs without a row.
type SweepReport struct {
	Objects     int // of the tenant, keys and facts included
	Adopted     int // complete, and new to the archive: a crash came before the journal record
	Duplicates  int // complete, with content that the archive has: removed
	Quarantined int // complete, in conflict with what the archive has: kept aside now
	Removed     int // unreadable, older than [SweepAge], and nothing that was ever acknowledged
	Damaged     int // unreadable, and the journal says that it was stored: kept for a repair
	Left        int // unreadable and younger, or in the middle of an ingest
}

// SweepAge is how old an unreadable blob must be to be removed.
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
// damaged object may be repaired, or its key found. It is safe while instances come in; a second call
// waits for the first.
func (a *Archive) Sweep(ctx context.Context) (SweepReport, error) {
	a.sweeping.Lock()
	defer a.sweeping.Unlock()
	var report SweepReport
	known, err := a.knownBlobs(ctx)
	if err != nil {
		return report, err
	}
	aside := make(map[BlobRef]bool)
	var strays []BlobInfo
	for info, err := range a.blobs.List(ctx, a.prefix()) {
		if err != nil {
			return report, fmt.Errorf("list the blobs: %w", err)
		}
		report.Objects++
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
	return report, a.sweepUnreadable(ctx, unreadable, &report)
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

// isOld reports whether an unreadable blob has been there for [SweepAge].
func (a *Archive) isOld(info BlobInfo, report *SweepReport) bool {
	if a.clock.Now().Sub(info.ModTime) < SweepAge {
		report.Left++
		return false
	}
	return true
}

// sweepUnreadable removes blobs that cannot be opened, but for those that
// somebody was told are stored.
func (a *Archive) sweepUnreadable(ctx context.Context, names []string, report *SweepReport) error {
	if len(names) == 0 {
		return nil
	}
	stored, err := a.everStored(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if stored[name] {
			a.log.Error("a stored object cannot be opened and has no row; it is kept: restore it, or its key, and rebuild the index", "blob", name)
			report.Damaged++
			continue
		}
		a.log.Warn("unreadable blob without a row is removed", "blob", name)
		if _, err := a.journal.Append(ctx, Event{Kind: EventSwept, Principal: a.system(), Blob: name}); err != nil {
			return err
		}
		if err := a.blobs.Delete(ctx, name); err != nil {
			return fmt.Errorf("remove an unreadable blob: %w", err)
		}
		report.Removed++
		a.metrics.swept.Inc()
	}
	return nil
}

// everStored finds which of the blobs the journal names as taken in. It reads
// the whole journal, which is why it is asked for all at once.
func (a *Archive) everStored(ctx context.Context, names []string) (map[string]bool, error) {
	stored := make(map[string]bool, len(names))
	for _, name := range names {
		stored[name] = false
	}
	for recorded, err := range a.journal.Replay(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("look for unreadable blobs in the journal: %w", err)
		}
		switch e := recorded.Event; e.Kind {
		case EventStored, EventRecovered, EventQuarantined:
			if _, asked := stored[e.Blob]; asked {
				stored[e.Blob] = true
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
	case report.Adopted+report.Duplicates+report.Quarantined+report.Removed+report.Damaged+report.Left > 0:
		a.log.Info("swept", "objects", report.Objects, "adopted", report.Adopted, "duplicates", report.Duplicates,
			"quarantined", report.Quarantined, "removed", report.Removed, "damaged", report.Damaged, "left", report.Left)
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

// knownBlobs lists the blobs that have a row.
func (a *Archive) knownBlobs(ctx context.Context) (blobList, error) {
	var known blobList
	for row, err := range a.index.Instances(ctx, Selection{}) {
		if err != nil {
			return nil, fmt.Errorf("list the rows: %w", err)
		}
		known = append(known, row.Blob.ID)
	}
	slices.SortFunc(known, compareIDs)
	return known, nil
}
