package dimse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse/pdu"
)

// move serves C-MOVE (PS3.7 section 9.1.4).
func (a *Association) move(ctx context.Context, pc *accepted, c *command, done *measurement) error {
	identifier, refused, err := a.identifier(pc, c)
	if err != nil {
		return err
	}
	if refused != nil {
		done.err = refused
		return a.respond(pc, c, refused.Status, refused.Comment, done)
	}
	rq := &MoveRequest{SOPClassUID: pc.SOPClass, Destination: c.Destination, Identifier: identifier,
		MessageID: c.MessageID, Priority: c.Priority, Extended: pc.extended}
	running, w := a.watch(ctx, c.MessageID)
	defer w.stop() // for a handler that panics
	counts, err := pc.service.Move(running, a, rq, a.progress(pc, c))
	return a.finish(pc, c, w, counts, err, done)
}

// get serves C-GET (PS3.7 section 9.1.3).
func (a *Association) get(ctx context.Context, pc *accepted, c *command, done *measurement) error {
	identifier, refused, err := a.identifier(pc, c)
	if err != nil {
		return err
	}
	if refused != nil {
		done.err = refused
		return a.respond(pc, c, refused.Status, refused.Comment, done)
	}
	rq := &GetRequest{SOPClassUID: pc.SOPClass, Identifier: identifier, MessageID: c.MessageID,
		Priority: c.Priority, Extended: pc.extended}
	running, w := a.watch(ctx, c.MessageID)
	defer w.stop() // for a handler that panics
	counts, err := pc.service.Get(running, a, rq, w.subStore(&done.bytes), a.progress(pc, c))
	return a.finish(pc, c, w, counts, err, done)
}

// progress sends pending responses.
func (a *Association) progress(pc *accepted, c *command) func(SubOperations) error {
	return func(n SubOperations) error {
		reply := c.reply(StatusPending)
		reply.Counts = &n
		return a.link.send(pc.ID, &reply, nil)
	}
}

// finish sends the final response of a C-MOVE or C-GET.
func (a *Association) finish(pc *accepted, c *command, w *watcher, n SubOperations, err error, done *measurement) error {
	cancelled := err == nil && n.Remaining > 0 && w.ended.Err() != nil // also by a peer that releases meanwhile
	if ended := w.stop(); ended != nil {
		done.err = ended
		return ended
	}
	if cancelled {
		err = ErrCancelled
	}
	done.err = err
	status, comment := statusOf(err)
	if err == nil {
		status = n.status()
	}
	done.status = status
	reply := c.reply(status)
	reply.Comment = comment
	reply.Counts = &n
	reply.NoRemaining = status != StatusCancel
	data, err := failedList(n.FailedUIDs, pc.TransferSyntax)
	if err != nil {
		return err
	}
	return a.link.send(pc.ID, &reply, data)
}

// status is the final status for counts (PS3.4 tables C.4-2 and C.4-3).
func (n SubOperations) status() Status {
	switch {
	case n.Failed == 0 && n.Warning == 0:
		return StatusSuccess
	case n.Completed == 0 && n.Warning == 0:
		return StatusSubOperationsImpossible
	}
	return StatusSomeFailed
}

// maxFailedBytes is how long Failed SOP Instance UID List can be: UI has a
// 16-bit length in Explicit VR. The counts tell that there were more.
const maxFailedBytes = 0xFFFE

// failedList encodes the identifier of a final response; nil when none failed.
func failedList(uids []string, ts dicom.TransferSyntax) ([]byte, error) {
	size, n := 0, 0
	for n < len(uids) && size+len(uids[n])+1 <= maxFailedBytes {
		size += len(uids[n]) + 1
		n++
	}
	if n == 0 {
		return nil, nil
	}
	var ds dicom.DataSet
	ds.SetString(dict.FailedSOPInstanceUIDList, uids[:n]...)
	b, err := ds.Encode(ts)
	if err != nil {
		return nil, fmt.Errorf("encode the failed list: %w", err)
	}
	return b, nil
}

// ErrNoContext is what a sub-operation or a [Client] fails with when no
// presentation context was accepted for the object's SOP class and transfer
// syntax.
var ErrNoContext = errors.New("no presentation context for the object")

// subStore performs the sub-operations of a C-GET on its own association.
func (w *watcher) subStore(bytes *int64) SubStore {
	var messageID uint16
	return func(ctx context.Context, rq StoreRequest, data io.Reader) (Status, error) {
		pc := w.a.scpContext(rq.SOPClassUID, rq.TransferSyntax.UID)
		if pc == nil {
			return 0, ErrNoContext
		}
		messageID++
		c := command{Field: cStoreRQ, MessageID: messageID, SOPClass: rq.SOPClassUID, SOPInstance: rq.SOPInstanceUID,
			Priority: rq.Priority}
		w.awaited.Store(uint32(messageID) + 1)
		n, err := w.a.link.sendStream(pc.ID, &c, data)
		*bytes += n
		var source *SourceError
		switch {
		case errors.As(err, &source) && !source.Aborted: // nothing was sent
			w.awaited.Store(0)
			return 0, err
		case err != nil:
			return 0, w.giveUp(pdu.AbortNotSpecified, err)
		}
		return w.response()
	}
}

// response waits for the response to a sub-operation.
func (w *watcher) response() (Status, error) {
	select {
	case reply := <-w.responses:
		return reply.Status, nil
	case <-w.done:
	case <-time.After(w.a.link.lim.Response):
		return 0, w.giveUp(pdu.AbortNotSpecified, fmt.Errorf("no response to a sub-operation: %w", ErrTimeout))
	}
	select {
	case reply := <-w.responses:
		return reply.Status, nil
	default:
	}
	if w.ended.Err() != nil {
		return 0, context.Cause(w.ended)
	}
	return 0, w.giveUp(unexpectedPDV, fmt.Errorf("%w: another request before the response to a sub-operation", ErrProtocol))
}

// scpContext finds the context in which the peer takes objects.
func (a *Association) scpContext(sopClass, transferSyntax string) *accepted {
	for i := range a.contexts {
		c := &a.contexts[i].accepted
		if c.PeerIsSCP && c.SOPClass == sopClass && c.TransferSyntax.UID == transferSyntax {
			return c
		}
	}
	return nil
}
