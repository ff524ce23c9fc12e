package dimse

import (
	"context"
	"errors"

	"lumen/dicom"
)

// echo answers C-ECHO (PS3.7 section 9.1.5).
func (a *Association) echo(ctx context.Context, pc *accepted, c *command, done *measurement) error {
	if c.HasData { // not allowed, but harmless
		d := dataReader{link: a.link, id: pc.ID, max: a.link.lim.Object}
		if err := d.drain(); err != nil {
			return err
		}
	}
	done.err = pc.service.Echo(ctx, a)
	status, comment := statusOf(done.err)
	return a.respond(pc, c, status, comment, done)
}

// store serves C-STORE (PS3.7 section 9.1.1): the handler reads the data set
// while it arrives, in this goroutine.
func (a *Association) store(ctx context.Context, pc *accepted, c *command, done *measurement) error {
	if !c.HasData {
		return a.respond(pc, c, StatusCannotUnderstand, "no data set", done)
	}
	d := dataReader{link: a.link, id: pc.ID, max: a.link.lim.Object}
	var err error
	// dcmsend of DCMTK 3.6.7 negotiates the class of a file's meta group and
	// announces that of its data set: where they differ, both must be stored.
	if c.SOPClass != pc.SOPClass && a.service(c.SOPClass) != pc.service {
		err = &StatusError{Status: StatusSOPClassNotSupported, Comment: "SOP class is not that of the context"}
	} else {
		rq := StoreRequest{SOPClassUID: c.SOPClass, SOPInstanceUID: c.SOPInstance, TransferSyntax: pc.TransferSyntax,
			Priority: c.Priority, MoveOriginator: MoveOriginator{AE: c.OriginAE, MessageID: c.OriginID}}
		err = pc.service.Store(ctx, a, &rq, &d)
	}
	status, comment := statusOf(err)
	drained := d.drain()
	done.bytes, done.err, done.status = d.n, err, status
	if drained != nil {
		return drained
	}
	return a.respond(pc, c, status, comment, done)
}

// identifier reads the data set of a query or retrieval. When it returns a
// status other than success, that is the answer.
func (a *Association) identifier(pc *accepted, c *command) (*dicom.DataSet, *StatusError, error) {
	if !c.HasData {
		return nil, &StatusError{Status: StatusIdentifierDoesNotMatch, Comment: "no identifier"}, nil
	}
	tooLong := func(err error) *StatusError {
		return &StatusError{Status: StatusOutOfResources, Comment: "identifier is too long", Err: err}
	}
	b, err := a.link.slurp(pc.ID, a.link.lim.Identifier)
	if errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrProtocol) {
		return nil, tooLong(err), nil
	}
	if err != nil {
		return nil, nil, err
	}
	r := dicom.NewBytesReader(b, pc.TransferSyntax, dicom.Limits{})
	ds, err := dicom.ReadDataSet(r, dicom.ReadOptions{MaxBytes: int64(a.link.lim.Identifier)})
	switch {
	case err != nil:
		return nil, &StatusError{Status: StatusUnableToProcess, Comment: "cannot read the identifier", Err: err}, nil
	case r.Offset() > int64(a.link.lim.Identifier), r.Findings().Has(dicom.LeftOut): // deflated, or of very many elements
		return nil, tooLong(ErrTooLarge), nil
	}
	return ds, nil, nil
}
