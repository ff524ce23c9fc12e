package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store/seal"
)

// Ingest reads one data set, without File Meta Information, to its end and takes
// it in. It holds memory that does not depend on the size of the data set.
//
// When it returns nil, the study's key, the sealed blob and the journal record
// are durable, and every later search sees the instance. An error wraps one of
// [ErrDenied], [ErrNoSpace], [ErrJournal], [ErrUnreadable], [ErrMismatch],
// [ErrTooLarge], [ErrClosed], or is that of data or of a part that the archive
// is built of; nothing of the instance is kept then. Data may have been read in
// part.
func (a *Archive) Ingest(ctx context.Context, p access.Principal, rq Request, in Incoming, data io.Reader) (Receipt, error) {
	if err := a.enter(); err != nil {
		return Receipt{}, err
	}
	defer a.running.Done()
	start := a.clock.Now()
	receipt, err := a.ingest(ctx, p, rq, in, data)
	a.metrics.ingested(receipt, err, a.clock.Now().Sub(start))
	if err != nil && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrJournal) {
		a.journal.Post(Event{
			Kind:             EventRefused,
			Outcome:          OutcomeMinorFailure,
			Principal:        p,
			Request:          rq,
			StudyInstanceUID: receipt.StudyInstanceUID,
			Instances:        firstUID(receipt.SOPInstanceUID, in.SOPInstanceUID),
			Detail:           map[string]string{"reason": refusalOf(err)},
		})
	}
	if err != nil {
		return Receipt{}, err
	}
	return receipt, nil
}

// ingest is Ingest without its frame. On an error the receipt has what was
// known by then.
func (a *Archive) ingest(ctx context.Context, p access.Principal, rq Request, in Incoming, data io.Reader) (Receipt, error) {
	if err := a.allow(ctx, p, access.Store, rq); err != nil {
		return Receipt{}, err
	}
	if _, ok := dicom.LookupTransferSyntax(in.TransferSyntax.UID); !ok {
		return Receipt{}, fmt.Errorf("%w: unknown transfer syntax", ErrUnreadable)
	}
	if err := a.space.take(0); err != nil {
		return Receipt{}, err
	}
	src := &source{ctx: ctx, r: data, space: &a.space, limit: a.limits.ObjectSize}
	head, err := a.readPrologue(src, a.headers.share(p, smallPrologue), in)
	if err != nil {
		return Receipt{}, err
	}
	defer head.release()
	receipt := Receipt{StudyInstanceUID: head.studyUID, SOPInstanceUID: head.sopInstanceUID}

	key, releaseKey, err := a.keyFor(ctx, head)
	defer releaseKey()
	if err != nil {
		return receipt, err
	}

	row := Row{Blob: BlobRef{Study: key.handle}}
	rand.Read(row.Blob.ID[:]) // never fails
	a.writing.add(row.Blob)
	defer a.writing.remove(row.Blob)

	w := &blobWriter{archive: a, head: head, in: in, src: src, key: key, blob: row.Blob, memory: a.headers.share(p, freeHeader)}
	defer w.memory.release()
	w.record = Record{CallingAE: rq.CallingAE, Principal: string(p.Kind) + ":" + p.Name, Source: in.Source}
	wait, err := begin(ctx, a.blobs, a.name(row.Blob), w.write)
	if err != nil {
		return receipt, w.cause(err)
	}
	a.space.wrote(src.n - src.announced)
	if row.Record, err = w.record.forRow(); err != nil {
		return receipt, errors.Join(err, wait(), a.discard(ctx, row.Blob))
	}
	w.record = Record{} // a large frame table goes with it
	w.memory.release()
	if w.memory.short {
		a.metrics.cut.Inc()
	}
	receipt.SeriesInstanceUID, receipt.SOPClassUID = row.SeriesInstanceUID, row.SOPClassUID
	receipt.Size, receipt.Findings = row.Size, w.findings
	// From here on the caller's patience does not count: an append that was
	// begun may become durable whether somebody waits for it or not.
	receipt.Outcome, _, err = a.commit(context.WithoutCancel(ctx), row, wait, Event{Kind: EventStored, Principal: p, Request: rq}, in.RefuseConflict)
	return receipt, err
}

// keyFor returns the key that an instance is sealed under. When the header
// did not tell the study within what may be buffered, the instance gets a key
// of its own: rows name their key, so a study may have several. Release is to be
// called when the instance is in the index or failed.
func (a *Archive) keyFor(ctx context.Context, head *prologue) (key studyKey, release func(), err error) {
	if head.studyUID == "" {
		return a.newStudyKey(ctx, "")
	}
	return a.studyKey(ctx, head.studyUID)
}

// blobWriter writes the plaintext of one blob in one pass over its source.
type blobWriter struct {
	archive *Archive
	head    *prologue
	in      Incoming
	src     *source
	key     studyKey
	blob    BlobRef
	memory  *headerShare // of the scan

	record   Record
	findings dicom.Findings
	failed   error // why write gave up
}

// write is called by Blobs.Put.
func (w *blobWriter) write(dst io.Writer) error {
	w.failed = w.writeBlob(dst)
	return w.failed
}

// cause prefers what stopped the writer to what Put made of it.
func (w *blobWriter) cause(err error) error {
	if w.failed != nil {
		return w.failed
	}
	return fmt.Errorf("write the blob: %w", err)
}

func (w *blobWriter) writeBlob(dst io.Writer) error {
	sealed, err := seal.NewWriter(dst, w.key.key, seal.Header{
		Kind:   seal.KindInstance,
		Tenant: w.archive.keys.Tenant(),
		Study:  w.key.handle,
		Blob:   seal.Handle(w.blob.ID),
	})
	if err != nil {
		return err
	}
	defer sealed.Abort()
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID:    w.head.sopClassUID,
		MediaStorageSOPInstanceUID: w.head.sopInstanceUID,
		TransferSyntaxUID:          w.in.TransferSyntax.UID,
		ImplementationClassUID:     dicom.ImplementationClassUID,
		ImplementationVersionName:  dicom.ImplementationVersionName,
	}.AppendTo(nil)
	if _, err := sealed.Write(meta); err != nil {
		return err
	}

	behind := &ahead{slots: w.archive.ahead, dst: sealed}
	defer behind.end() // sooner than Abort, and the cause of an error is known by then
	t := &tee{src: io.MultiReader(w.head, w.src), sealed: behind}
	scan, err := dicom.ScanDataSetIn(t, w.in.TransferSyntax, w.archive.limits.DICOM, w.memory.grow)
	switch {
	case t.err != nil:
		return t.err
	case w.src.err != nil:
		return w.src.err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if err := behind.end(); err != nil {
		return err
	}

	r := &w.record
	if err := w.identify(scan); err != nil {
		return err
	}
	r.Attributes = pickAttributes(scan.Header)
	if w.in.CharacterSet != "" && len(r.Attributes.Raw(dict.SpecificCharacterSet)) == 0 {
		r.Attributes.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte(w.in.CharacterSet))
	}
	r.MetaLength, r.Size, r.BodyOffset = int64(len(meta)), t.n, scan.BodyOffset
	if r.Frames, err = scan.Frames(); err != nil {
		// Stored all the same: the bytes are what was sent. Frames cannot be asked for.
		r.Frames = dicom.FrameTable{}
	}
	r.Digest = scan.Digest
	r.Received = w.archive.clock.Now().UTC().Round(0)
	r.Sequence = w.archive.sequence.next(r.Received)
	w.findings = scan.Findings

	trailer, err := appendTrailer(nil, r)
	if err != nil {
		return err
	}
	if _, err := sealed.Write(trailer); err != nil {
		return err
	}
	return sealed.Close()
}

// identify takes the UIDs from the header and holds them against what was
// announced and what the blob began with.
func (w *blobWriter) identify(scan *dicom.Scan) error {
	r := &w.record
	r.TransferSyntaxUID = w.in.TransferSyntax.UID
	for _, uid := range [...]struct {
		to  *string
		tag dicom.Tag
	}{
		{&r.StudyInstanceUID, dict.StudyInstanceUID},
		{&r.SeriesInstanceUID, dict.SeriesInstanceUID},
		{&r.SOPInstanceUID, dict.SOPInstanceUID},
		{&r.SOPClassUID, dict.SOPClassUID},
	} {
		*uid.to = scan.Header.String(uid.tag)
		if !dicom.ValidUID(*uid.to) {
			return fmt.Errorf("%w: %v", ErrNoUID, uid.tag)
		}
	}
	if r.SOPClassUID != w.head.sopClassUID || r.SOPInstanceUID != w.head.sopInstanceUID {
		return ErrMismatch
	}
	if w.head.studyUID != "" && r.StudyInstanceUID != w.head.studyUID {
		return fmt.Errorf("%w: two study instance UIDs", ErrUnreadable)
	}
	return nil
}

// discard removes a blob that is not needed, or not wanted, after all. What
// cannot be removed now is found by a later sweep.
func (a *Archive) discard(ctx context.Context, ref BlobRef) error {
	if err := a.blobs.Delete(ctx, a.name(ref)); err != nil {
		return fmt.Errorf("remove an unneeded blob: %w", err)
	}
	return nil
}

// firstUID returns the first of the values that is a UID, as a list.
func firstUID(values ...string) []string {
	for _, v := range values {
		if dicom.ValidUID(v) {
			return []string{v}
		}
	}
	return nil
}

// refusalOf is a constant word for why an instance was not taken, fit for a
// metric label and a log.
func refusalOf(err error) string {
	for _, known := range [...]struct {
		err  error
		name string
	}{
		{ErrDenied, "denied"}, {ErrNoSpace, "no_space"}, {ErrJournal, "journal"}, {ErrUnreadable, "unreadable"},
		{ErrMismatch, "mismatch"}, {ErrConflict, "conflict"}, {ErrTooLarge, "too_large"}, {ErrClosed, "closed"}, {context.Canceled, "cancelled"},
		{errSource, "source"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "internal"
}

// sequence numbers ingests. It follows the clock, in microseconds, and never
// goes back while the node runs: larger means later across restarts too, as far
// as the clock is right.
type sequence struct{ last atomic.Uint64 }

func (s *sequence) next(now time.Time) uint64 {
	for {
		last := s.last.Load()
		next := max(last+1, uint64(max(now.UnixMicro(), 0)))
		if s.last.CompareAndSwap(last, next) {
			return next
		}
	}
}
