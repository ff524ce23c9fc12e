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
	var lost []string // instances whose blob is not there
	for recorded, err := range a.journal.Replay(ctx, next) {
		if err != nil {
			return err
		}
		next = recorded.Position + 1
		e := recorded.Event
		if (e.Kind != EventStored && e.Kind != EventRecovered) || len(e.Instances) == 0 {
			continue
		}
		ok, err := a.replayStored(ctx, e, next)
		if err != nil {
			return err
		}
		if !ok {
			lost = append(lost, e.Instances[0])
		}
	}
	if err := a.index.Put(ctx, nil, next); err != nil {
		return fmt.Errorf("note the covered position: %w", err)
	}
	a.coverage = newCoverage(next)
	for _, uid := range lost {
		// An append that failed after its record had reached the disk leaves a
		// record without a blob: the sender was told so, and may have sent again.
		if _, found, err := a.index.Locate(ctx, uid); err != nil {
			return fmt.Errorf("look up the instance: %w", err)
		} else if !found {
			a.metrics.missing.Inc()
			a.log.Error("journal names a blob that is not there or is damaged, run lumen check")
		}
	}
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
