package dimse

import (
	"context"
	"fmt"

	"lumen/dicom"
)

// find serves C-FIND (PS3.7 section 9.1.2).
func (a *Association) find(ctx context.Context, pc *accepted, c *command, done *measurement) error {
	identifier, refused, err := a.identifier(pc, c)
	if err != nil {
		return err
	}
	if refused != nil {
		done.err = refused
		return a.respond(pc, c, refused.Status, refused.Comment, done)
	}
	rq := &FindRequest{SOPClassUID: pc.SOPClass, Identifier: identifier, Extended: pc.extended}
	running, w := a.watch(ctx, c.MessageID)
	defer w.stop() // for a handler that panics
	done.err = a.matches(running, pc, c, rq, done)
	if err := w.stop(); err != nil {
		return err
	}
	status, comment := statusOf(done.err)
	return a.respond(pc, c, status, comment, done)
}

// matches sends the pending responses and returns what ended them.
func (a *Association) matches(ctx context.Context, pc *accepted, c *command, rq *FindRequest, done *measurement) error {
	for ds, err := range pc.service.Find(ctx, a, rq) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		b, err := encode(ds, pc.TransferSyntax)
		if err != nil {
			return fmt.Errorf("encode a match: %w", err)
		}
		done.bytes += int64(len(b))
		reply := c.reply(StatusPending)
		if rq.UnsupportedKeys {
			reply.Status = StatusPendingUnsupportedKeys
		}
		if err := a.link.send(pc.ID, &reply, b); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// encode encodes the data set of a message; an empty one is not nil.
func encode(ds *dicom.DataSet, ts dicom.TransferSyntax) ([]byte, error) {
	b, err := ds.Encode(ts)
	if b == nil {
		b = []byte{}
	}
	return b, err
}
