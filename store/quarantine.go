package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"lumen/store/seal"
)

// quarantined is the fact that a blob is kept aside: its SOP Instance UID was
// known with other content. A small sealed object beside the blob holds it, so
// that neither a restart nor a rebuild takes the blob in.
type quarantined struct {
	SOPInstanceUID string
	Digest         [32]byte // of the blob's content
	Existing       BlobRef  // what was there already
	Since          time.Time
}

const (
	sectionQuarantine = 16      // of a fact; records have smaller numbers
	maxFact           = 4 << 10 // bytes
)

// quarantine keeps a blob aside. The same content that is kept aside already
// is not kept twice. The caller holds the instance's lock.
func (a *Archive) quarantine(ctx context.Context, row, existing Row, event Event) error {
	event.Kind, event.Outcome = EventQuarantined, OutcomeMinorFailure
	ref, again, err := a.findQuarantined(ctx, row)
	if err != nil {
		return errors.Join(err, a.discard(ctx, row.Blob))
	}
	event.Blob = a.name(row.Blob)
	if again {
		event.Blob = a.name(ref)
	}
	// The record first: a crash right after it leaves a blob that the next sweep
	// keeps aside, with a record of its own. The other way round the alert could
	// be missing for good.
	if _, err := a.journal.Append(ctx, event); err != nil {
		return a.undo(ctx, row, err)
	}
	a.log.Warn("instance kept aside: its SOP instance UID is known with other content", "blob", event.Blob, "principal", event.Principal)
	if !again {
		err := a.putQuarantined(ctx, row.Blob, quarantined{
			SOPInstanceUID: row.SOPInstanceUID,
			Digest:         row.Digest,
			Existing:       existing.Blob,
			Since:          a.clock.Now(),
		})
		if err != nil {
			// The fact may be there all the same, and then its blob must be: a
			// later sweep keeps it aside if it is not.
			return fmt.Errorf("keep an instance aside: %w", err)
		}
		a.aside.add(row)
		return nil
	}
	if ref != row.Blob {
		if err := a.discard(ctx, row.Blob); err != nil {
			a.log.Warn("second copy of a quarantined instance not removed, a later sweep will", "error", err)
		}
	}
	return nil
}

// isQuarantined reports whether a blob is kept aside.
func (a *Archive) isQuarantined(ctx context.Context, ref BlobRef) (bool, error) {
	_, err := a.blobs.Stat(ctx, a.quarantineName(ref))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (a *Archive) putQuarantined(ctx context.Context, ref BlobRef, q quarantined) error {
	key, err := a.keys.Study(ctx, ref.Study)
	if err != nil {
		return fmt.Errorf("open the study's key: %w", err)
	}
	plain, at := beginSection(nil, sectionQuarantine)
	plain = appendText(plain, q.SOPInstanceUID)
	plain = append(plain, q.Digest[:]...)
	plain = append(plain, q.Existing.Study[:]...)
	plain = append(plain, q.Existing.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(q.Since.UnixNano()))
	endSection(plain, at)
	size := seal.SealedSize(int64(len(plain)))
	err = a.blobs.Put(ctx, a.quarantineName(ref), size, func(w io.Writer) error {
		sealed, err := seal.NewWriter(w, key, a.header(seal.KindFact, ref))
		if err != nil {
			return err
		}
		defer sealed.Abort()
		if _, err := sealed.Write(plain); err != nil {
			return err
		}
		return sealed.Close()
	})
	if err != nil {
		return fmt.Errorf("write the quarantine fact: %w", err)
	}
	return nil
}

func (a *Archive) readQuarantined(ctx context.Context, ref BlobRef) (q quarantined, err error) {
	key, err := a.keys.Study(ctx, ref.Study)
	if err != nil {
		return q, fmt.Errorf("open the study's key: %w", err)
	}
	object, err := a.blobs.Open(ctx, a.quarantineName(ref), 0, -1)
	if err != nil {
		return q, err
	}
	defer object.Close() // read only: nothing is lost by an error here
	r, err := seal.NewReader(object, key, a.header(seal.KindFact, ref))
	if err != nil {
		return q, damaged(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(io.LimitReader(r, maxFact+1))
	if err != nil {
		return q, damaged(err)
	}
	if len(plain) < sectionHead || len(plain) > maxFact || binary.BigEndian.Uint16(plain) != sectionQuarantine {
		return q, fmt.Errorf("%w: not a quarantine fact", ErrCorrupt)
	}
	s := scanner{b: plain[sectionHead:]}
	q.SOPInstanceUID = s.text()
	copy(q.Digest[:], s.take(len(q.Digest)))
	copy(q.Existing.Study[:], s.take(16))
	copy(q.Existing.ID[:], s.take(16))
	q.Since = time.Unix(0, int64(s.uint64())).UTC()
	if s.short {
		return q, fmt.Errorf("%w: quarantine fact: %w", ErrCorrupt, errShort)
	}
	return q, nil
}
