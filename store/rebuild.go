package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// RebuildReport counts what a rebuild found.
type RebuildReport struct {
	Instances   int // rows made
	Quarantined int // blobs kept aside, without a row
	Duplicates  int // second blobs of the same content, left to the next sweep
	Conflicts   int // blobs with other content under a known SOP Instance UID, left to the next sweep
	Unreadable  int // blobs that do not open
}

// Rebuild fills a new, empty index (cfg.Index) from the blobs alone: their
// trailers, in the order in which they came in. It journals that first. The
// caller puts the new index in the place of the old one; no archive may run on
// the same blobs meanwhile.
//
// It reads every trailer twice, so that it need not hold them: 56 bytes of
// memory for each blob.
func Rebuild(ctx context.Context, cfg Config) (RebuildReport, error) {
	var report RebuildReport
	a, err := newArchive(cfg)
	if err != nil {
		return report, err
	}
	// Whatever the journal names below this position has its blob by now.
	covered, err := a.journal.Append(ctx, Event{Kind: EventRebuilt, Principal: a.system()})
	if err != nil {
		return report, err
	}
	found, err := a.orderedBlobs(ctx, &report)
	if err != nil {
		return report, err
	}
	for _, b := range found {
		if err := a.rebuildOne(ctx, b.ref, &report); err != nil {
			return report, err
		}
	}
	if err := a.index.Put(ctx, nil, covered); err != nil {
		return report, fmt.Errorf("note the covered position: %w", err)
	}
	return report, a.index.Sync(ctx)
}

type orderedBlob struct {
	ref      BlobRef
	sequence uint64
}

// orderedBlobs lists the blobs that are not kept aside in the order of ingest.
func (a *Archive) orderedBlobs(ctx context.Context, report *RebuildReport) ([]orderedBlob, error) {
	var found []orderedBlob
	aside := make(map[BlobRef]bool)
	for info, err := range a.blobs.List(ctx, a.prefix()) {
		if err != nil {
			return nil, fmt.Errorf("list the blobs: %w", err)
		}
		switch ref, kind := a.parseName(info.Name); kind {
		case objectQuarantine:
			aside[ref] = true
		case objectInstance:
			found = append(found, orderedBlob{ref: ref})
		}
	}
	kept := found[:0]
	for _, b := range found {
		if aside[b.ref] {
			report.Quarantined++
			continue
		}
		row, err := a.readRow(ctx, b.ref)
		switch {
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNotFound):
			report.Unreadable++
			a.log.Error("blob does not open", "blob", a.name(b.ref), "error", err)
			continue
		case err != nil:
			return nil, fmt.Errorf("read the trailer of a blob: %w", err)
		}
		b.sequence = row.Sequence
		kept = append(kept, b)
	}
	slices.SortFunc(kept, func(x, y orderedBlob) int {
		return cmp.Or(cmp.Compare(x.sequence, y.sequence), compareIDs(x.ref.ID, y.ref.ID))
	})
	return kept, nil
}

// rebuildOne puts the row of one blob, unless another blob has the instance.
func (a *Archive) rebuildOne(ctx context.Context, ref BlobRef, report *RebuildReport) error {
	row, err := a.readRow(ctx, ref)
	if err != nil {
		return fmt.Errorf("read the trailer of a blob: %w", err)
	}
	existing, found, err := a.index.Locate(ctx, row.SOPInstanceUID)
	switch {
	case err != nil:
		return fmt.Errorf("look up the instance: %w", err)
	case found && existing.Digest == row.Digest:
		report.Duplicates++
		return nil
	case found:
		report.Conflicts++
		return nil
	}
	if err := a.index.Put(ctx, []Row{row}, 0); err != nil {
		return fmt.Errorf("put the row: %w", err)
	}
	report.Instances++
	return nil
}
