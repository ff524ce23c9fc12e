package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"lumen/access"
	"lumen/dicom"
)

// Retrieval is a set of instances that may leave to whom the journal says. It
// is safe for concurrent use. The caller closes it.
type Retrieval struct {
	archive   *Archive
	pass      *pass
	instances []*Instance

	moved, frames, bytes atomic.Int64
	once                 sync.Once
}

// Open finds the selected instances of a study and opens them for the principal.
// When it returns nil a record of who asks for what, and to where it goes, is
// durable, one for each patient whose instances are among them; for a minute that record also serves further calls with the same
// principal, request protocol, peer, destination and study. [ErrNotFound] says
// that the selection holds nothing, [ErrDenied] that the principal lacks the
// right, [ErrJournal] that nothing can be recorded and so nothing is served.
func (a *Archive) Open(ctx context.Context, p access.Principal, rq Request, sel Selection) (*Retrieval, error) {
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.running.Done()
	if err := a.allow(ctx, p, access.Retrieve, rq); err != nil {
		return nil, err
	}
	if !dicom.ValidUID(sel.StudyInstanceUID) {
		return nil, fmt.Errorf("study: %w", ErrNotFound)
	}
	r := &Retrieval{archive: a}
	var patients patientSet
	for row, err := range a.index.Instances(ctx, sel) {
		if err != nil {
			return nil, fmt.Errorf("find the instances: %w", err)
		}
		patients.add(row.Attributes)
		row.Attributes = nil // a retrieval of many instances would hold them all
		r.instances = append(r.instances, &Instance{Row: row, retrieval: r})
	}
	if len(r.instances) == 0 {
		return nil, fmt.Errorf("selection: %w", ErrNotFound)
	}
	begin := Event{Kind: EventRetrieveBegin, Principal: p, Request: rq, StudyInstanceUID: sel.StudyInstanceUID, Instances: sel.SOPInstanceUIDs}
	var err error
	if r.pass, err = a.begin(ctx, begin, patients); err != nil {
		return nil, err
	}
	a.metrics.retrievals.Inc()
	return r, nil
}

// Instances are what was selected, by series number, then instance number.
func (r *Retrieval) Instances() []*Instance { return r.instances }

// Close journals what left. The outcome is nil when everything that was asked
// for did. It does not wait for the journal. Instances of the retrieval cannot
// be read afterwards. A second Close does nothing.
func (r *Retrieval) Close(outcome error) error {
	r.once.Do(func() {
		counts := Counts{Instances: r.moved.Load(), Frames: r.frames.Load(), Bytes: r.bytes.Load()}
		r.archive.metrics.sent(counts)
		r.archive.end(r.pass, counts, outcome)
	})
	return nil
}
