package store

import (
	"context"
	"errors"
	"fmt"

	"lumen/access"
)

// replay puts into the index what the journal has and the index has not: what
// was acknowledged in the moments before a crash, or everything when the index
// is new. Rows come from the trailers of blobs, so there is never a row without
// its blob.
func (a *Archive) replay(ctx context.Context) error {
	next := a.index.Covered()
	var lost []Event               // of instances whose blob is not there, or damaged
	noted := make(map[string]bool) // blobs of which that is recorded
	for recorded, err := range a.journal.Replay(ctx, next) {
		if err != nil {
			return err
		}
		next = recorded.Position + 1
		e := recorded.Event
		if e.Kind == EventUnstored {
			noted[e.Blob] = true
		}
		if (e.Kind != EventStored && e.Kind != EventRecovered) || len(e.Instances) == 0 {
			continue
		}
		ok, err := a.replayStored(ctx, e, next)
		if err != nil {
			return err
		}
		if !ok {
			lost = append(lost, e)
		}
	}
	if err := a.index.Put(ctx, nil, next); err != nil {
		return fmt.Errorf("note the covered position: %w", err)
	}
	a.coverage = newCoverage(next)
	for _, e := range lost {
		if noted[e.Blob] {
			continue
		}
		if err := a.unstored(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// unstored deals with a record whose blob cannot be had. One that is not there
// at all was on its way to the disk, as its record was, when the node crashed:
// its sender was not told that it is stored, and that is recorded. So it is after
// an append that failed although its record had reached the disk.
func (a *Archive) unstored(ctx context.Context, e Event) error {
	if _, found, err := a.index.Locate(ctx, e.Instances[0]); err != nil {
		return fmt.Errorf("look up the instance: %w", err)
	} else if found { // it was sent again
		return nil
	}
	if _, err := a.blobs.Stat(ctx, e.Blob); !errors.Is(err, ErrNotFound) {
		a.metrics.missing.Inc()
		a.log.Error("journal names a blob that is damaged or has lost its key, run lumen check")
		return nil
	}
	a.log.Warn("journal names a blob that is not there: a crash came before it was stored, and nobody was told that it is", "blob", e.Blob)
	e.Kind, e.Outcome, e.Principal, e.Request = EventUnstored, OutcomeMinorFailure, a.system(), Request{}
	if _, err := a.journal.Append(ctx, e); err != nil {
		return fmt.Errorf("record that an instance is not stored: %w", err)
	}
	a.metrics.missing.Inc()
	return nil
}

// replayStored replays one event. It is false when the blob is not there or
// damaged.
func (a *Archive) replayStored(ctx context.Context, e Event, covered Position) (bool, error) {
	ref, kind := a.parseName(e.Blob)
	existing, found, err := a.index.Locate(ctx, e.Instances[0])
	if err != nil {
		return false, fmt.Errorf("look up the instance: %w", err)
	}
	if found && (existing.Blob == ref || !a.lost(ctx, existing)) {
		return true, nil
	}
	if kind != objectInstance {
		return false, nil
	}
	row, err := a.readRow(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrCorrupt):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the trailer of a blob: %w", err)
	}
	if err := a.index.Put(ctx, []Row{row}, covered); err != nil {
		return false, fmt.Errorf("put the row: %w", err)
	}
	a.metrics.replayed.Inc()
	return true, nil
}

// readRow makes the index row of a blob from its trailer.
func (a *Archive) readRow(ctx context.Context, ref BlobRef) (Row, error) {
	info, err := a.blobs.Stat(ctx, a.name(ref))
	if err != nil {
		return Row{}, err
	}
	record, err := a.readRecord(ctx, ref, info.Size)
	if err != nil {
		return Row{}, err
	}
	record, err = record.forRow()
	return Row{Record: record, Blob: ref}, err
}

// system is the archive acting on its own behalf.
func (a *Archive) system() access.Principal { return access.System(a.tenant, "store") }
