package store

import (
	"context"
	"errors"
	"fmt"

	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store/seal"
)

// commit decides what a blob is to the archive, journals that and puts it into
// the index. It is the end of an ingest, and of the adoption of a blob after a
// crash. The blob is durable when wait returns. The event says who, and
// EventStored or EventRecovered. Fresh is false when the blob has its row already.
// Other content than what is known is kept aside, or removed and refused.
func (a *Archive) commit(ctx context.Context, row Row, wait func() error, event Event, refuse bool) (outcome IngestOutcome, fresh bool, err error) {
	unlock := a.instances.lock(row.SOPInstanceUID)
	defer unlock()

	existing, found, err := a.index.Locate(ctx, row.SOPInstanceUID)
	event.PatientID = row.Attributes.String(dict.PatientID)
	event.IssuerOfPatientID = row.Attributes.String(dict.IssuerOfPatientID)
	event.StudyInstanceUID = row.StudyInstanceUID
	event.Instances = []string{row.SOPInstanceUID}
	event.Counts = Counts{Instances: 1, Bytes: row.Size}
	if err == nil && !found {
		event.Blob = a.name(row.Blob)
		return Stored, true, a.keep(ctx, row, wait, event)
	}
	if waited := wait(); waited != nil {
		return 0, false, fmt.Errorf("write the blob: %w", waited)
	}
	switch {
	case err != nil:
		return 0, false, errors.Join(fmt.Errorf("look up the instance: %w", err), a.discard(ctx, row.Blob))
	case existing.Blob == row.Blob: // a sweep looked at it while it was committed
		return Stored, false, nil
	case existing.Digest == row.Digest && a.lost(ctx, existing):
		a.log.Error("a blob is missing or cut, what was sent again takes its place", "blob", a.name(existing.Blob))
		event.Blob = a.name(row.Blob)
		return Stored, true, a.keep(ctx, row, durably, event)
	case existing.Digest == row.Digest:
		event.Kind = EventDuplicate
		return Duplicate, true, a.drop(ctx, row, event)
	case refuse:
		return 0, false, errors.Join(ErrConflict, a.discard(ctx, row.Blob))
	}
	return Quarantined, true, a.quarantine(ctx, row, existing, event)
}

// lost reports whether the blob of a row is gone, or has another size than it
// was written with. Where that cannot be told it is taken to be there.
func (a *Archive) lost(ctx context.Context, row Row) bool {
	info, err := a.blobs.Stat(ctx, a.name(row.Blob))
	if err != nil {
		return errors.Is(err, ErrNotFound)
	}
	return info.Size != seal.SealedSize(row.plainSize())
}

// keep journals a row and puts it into the index. The caller holds the
// instance's lock. The blob and its record become durable side by side; a crash
// can leave either without the other. A sweep adopts a blob without a record,
// and a replay notes a record without a blob (see unstored).
func (a *Archive) keep(ctx context.Context, row Row, wait func() error, event Event) error {
	t := a.coverage.begin()
	after, err := a.journal.Append(ctx, event)
	if waited := wait(); waited != nil {
		return errors.Join(err, fmt.Errorf("write the blob: %w", waited)) // with the ticket: nothing covers the record
	}
	if err != nil {
		a.coverage.end(t)
		return a.undo(ctx, row, err)
	}
	if err := a.index.Put(ctx, []Row{row}, a.coverage.appended(t, after)); err != nil {
		// It is in the journal, and the ticket that is not given back makes a
		// restart find it there. But here nobody would: it must not be
		// acknowledged.
		return fmt.Errorf("put the row: %w", err)
	}
	a.coverage.end(t)
	return nil
}

// drop journals that a blob's content is there already, and removes the blob.
func (a *Archive) drop(ctx context.Context, row Row, event Event) error {
	if _, err := a.journal.Append(ctx, event); err != nil {
		return a.undo(ctx, row, err)
	}
	if err := a.discard(ctx, row.Blob); err != nil {
		a.log.Warn("duplicate not removed, a later sweep will", "error", err)
	}
	return nil
}

// undo removes the blob of an instance that could not be journaled. After a
// failed fsync nothing may be believed or done: the record may be on the disk,
// and the process exits.
func (a *Archive) undo(ctx context.Context, row Row, err error) error {
	if durable.IsFatal(err) {
		return err
	}
	return errors.Join(err, a.discard(ctx, row.Blob))
}
