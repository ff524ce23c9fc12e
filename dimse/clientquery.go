package dimse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Find performs C-FIND and yields the matches as they arrive. Whoever stops
// early makes it send C-CANCEL and read up to the final response. A final
// status other than success ends the sequence with a *[StatusError].
func (c *Client) Find(ctx context.Context, sopClass string, identifier *dicom.DataSet) iter.Seq2[*dicom.DataSet, error] {
	return func(yield func(*dicom.DataSet, error) bool) {
		more := true
		err := c.operation(ctx, func() error {
			return c.query(cFindRQ, sopClass, "", identifier, func(r *command, ds *dicom.DataSet) (bool, error) {
				if r.Status.Class() == ClassPending {
					more = more && yield(ds, nil)
					return more, nil
				}
				return false, finalError(r)
			})
		})
		if err != nil && more {
			yield(nil, err)
		}
	}
}

// finalError is nil for success.
func finalError(r *command) error {
	if r.Status == StatusSuccess {
		return nil
	}
	return &StatusError{Status: r.Status, Comment: r.Comment}
}

// Move performs C-MOVE to the AE destination. Progress (may be nil) is called
// with each pending response; when it returns an error, the move is cancelled.
// The counts are those of the final response; a final status other than success
// or warning is a *[StatusError].
func (c *Client) Move(ctx context.Context, sopClass, destination string, identifier *dicom.DataSet,
	progress func(SubOperations) error) (SubOperations, error) {
	return c.retrieve(ctx, cMoveRQ, sopClass, destination, identifier, progress)
}

func (c *Client) retrieve(ctx context.Context, f field, sopClass, destination string, identifier *dicom.DataSet,
	progress func(SubOperations) error) (SubOperations, error) {
	var final SubOperations
	err := c.operation(ctx, func() error {
		return c.query(f, sopClass, destination, identifier, func(r *command, ds *dicom.DataSet) (bool, error) {
			var n SubOperations
			if r.Counts != nil {
				n = *r.Counts
			}
			if r.Status.Class() == ClassPending {
				return progress == nil || progress(n) == nil, nil
			}
			final = n
			final.Comment = r.Comment
			if ds != nil {
				final.FailedUIDs = ds.Strings(dict.FailedSOPInstanceUIDList)
			}
			if r.Status.Class() == ClassWarning {
				return false, nil
			}
			return false, finalError(r)
		})
	})
	return final, err
}

// query sends a request with an identifier and hands out each response, until
// the final one. When visit does not want more pending ones, the request is
// cancelled.
func (c *Client) query(f field, sopClass, destination string, identifier *dicom.DataSet,
	visit func(*command, *dicom.DataSet) (more bool, err error)) error {
	l := c.link
	pc, err := c.context(sopClass, "")
	if err != nil {
		return err
	}
	b, err := encode(identifier, pc.TransferSyntax)
	if err != nil {
		return fmt.Errorf("encode the identifier: %w", err)
	}
	rq := command{Field: f, MessageID: c.nextID(), SOPClass: sopClass, Destination: destination}
	if err := l.send(pc.ID, &rq, b); err != nil {
		return err
	}
	cancelled := false
	for {
		var reply command
		id, err := c.reply(&rq, &reply, forever)
		if err != nil {
			return err
		}
		ds, err := c.dataSet(id, pc, &reply)
		if err != nil {
			return err
		}
		pending := reply.Status.Class() == ClassPending
		if pending && cancelled {
			continue
		}
		more, err := visit(&reply, ds)
		if !pending || err != nil {
			return err
		}
		if !more {
			cancelled = true
			stop := command{Field: cCancelRQ, RespondedTo: rq.MessageID}
			if err := l.send(pc.ID, &stop, nil); err != nil {
				return err
			}
		}
	}
}

// dataSet reads the data set of a response; nil when there is none.
func (c *Client) dataSet(id byte, pc *Context, reply *command) (*dicom.DataSet, error) {
	if !reply.HasData {
		return nil, nil
	}
	b, err := c.link.slurp(id, c.link.lim.Identifier)
	if err != nil {
		return nil, err
	}
	ds, err := dicom.ParseDataSet(b, pc.TransferSyntax)
	if err != nil {
		return nil, fmt.Errorf("read a response's data set: %w", err)
	}
	return ds, nil
}

// Received keeps one object that a C-GET brings; it is like a [StoreHandler].
type Received func(ctx context.Context, rq *StoreRequest, data io.Reader) error

// Get performs C-GET: the objects arrive on this association and are handed to
// store. The contexts of their classes must have been proposed with [RoleSCP].
// Progress and the result are as in [Client.Move].
func (c *Client) Get(ctx context.Context, sopClass string, identifier *dicom.DataSet, store Received,
	progress func(SubOperations) error) (SubOperations, error) {
	var final SubOperations
	err := c.operation(ctx, func() error {
		pc, err := c.context(sopClass, "")
		if err != nil {
			return err
		}
		b, err := encode(identifier, pc.TransferSyntax)
		if err != nil {
			return fmt.Errorf("encode the identifier: %w", err)
		}
		rq := command{Field: cGetRQ, MessageID: c.nextID(), SOPClass: sopClass}
		if err := c.link.send(pc.ID, &rq, b); err != nil {
			return err
		}
		return c.receiveAll(ctx, &rq, pc, store, progress, &final)
	})
	return final, err
}

// receiveAll takes sub-operations and responses until the final one.
func (c *Client) receiveAll(ctx context.Context, rq *command, pc *Context, store Received,
	progress func(SubOperations) error, final *SubOperations) error {
	l := c.link
	cancelled := false
	for {
		if err := l.await(forever); err != nil {
			return err
		}
		var m command
		id, err := l.command(&m)
		if err != nil {
			return err
		}
		if m.Field == cStoreRQ && m.HasData {
			if err := c.receiveOne(ctx, id, &m, store); err != nil {
				return err
			}
			continue
		}
		if m.Field != rq.Field|response || m.RespondedTo != rq.MessageID {
			return l.violation(unexpectedPDV, "a message that is no part of the retrieval")
		}
		ds, err := c.dataSet(id, pc, &m)
		if err != nil {
			return err
		}
		if m.Counts != nil {
			*final = *m.Counts
		}
		if m.Status.Class() != ClassPending {
			if final.Comment = m.Comment; ds != nil {
				final.FailedUIDs = ds.Strings(dict.FailedSOPInstanceUIDList)
			}
			if m.Status.Class() == ClassWarning {
				return nil
			}
			return finalError(&m)
		}
		if !cancelled && progress != nil && progress(*final) != nil {
			cancelled = true
			stop := command{Field: cCancelRQ, RespondedTo: rq.MessageID}
			if err := l.send(pc.ID, &stop, nil); err != nil {
				return err
			}
		}
	}
}

// receiveOne serves one sub-operation.
func (c *Client) receiveOne(ctx context.Context, id byte, m *command, store Received) error {
	d := dataReader{link: c.link, id: id, max: c.link.lim.Object}
	var err error = &StatusError{Status: StatusSOPClassNotSupported}
	for _, pc := range c.accepted {
		if pc.ID == id && pc.SOPClass == m.SOPClass {
			err = store(ctx, &StoreRequest{SOPClassUID: m.SOPClass, SOPInstanceUID: m.SOPInstance,
				TransferSyntax: pc.TransferSyntax, Priority: m.Priority}, &d)
		}
	}
	if drained := d.drain(); drained != nil {
		return errors.Join(err, drained)
	}
	status, comment := statusOf(err)
	reply := m.reply(status)
	reply.Comment = comment
	return c.link.send(id, &reply, nil)
}
