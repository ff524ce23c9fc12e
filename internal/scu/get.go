package scu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// Get performs C-GET (Study Root) of what the keys select, and writes each
// instance to a file of its own in dir, numbered in the order of arrival: names
// say nothing of what they hold. It calls progress with each pending response.
//
// An association has room for 128 presentation contexts, fewer than there are
// classes and syntaxes. So the peer is asked by C-FIND which classes it has
// to send, and in which syntaxes; when it cannot say, all are proposed, over as many
// associations as it takes until nothing is left.
func Get(ctx context.Context, p Peer, dir, level string, keys []string, progress func(dimse.SubOperations)) (dimse.SubOperations, error) {
	id, err := identifier(level, keys)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	offers, err := survey(ctx, p, id)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dimse.SubOperations{}, err
	}
	g := getter{dir: dir}
	var all dimse.SubOperations
	for i, offer := range offers {
		n, err := g.get(ctx, p, offer, id, func(n dimse.SubOperations) {
			n.Completed += all.Completed
			n.Warning += all.Warning
			progress(n)
		})
		all.Comment = n.Comment
		done := n.Completed + n.Warning
		if i == 0 {
			all.Failed = done + n.Failed + n.Remaining
		}
		all.Completed, all.Warning, all.Failed = all.Completed+n.Completed, all.Warning+n.Warning, max(0, all.Failed-done)
		if g.failed != nil {
			return all, g.failed
		}
		// What this association had no context for is left to the next ones.
		var status *dimse.StatusError
		if err != nil && !(errors.As(err, &status) && status.Status.Class() == dimse.ClassFailure && n.Failed > 0) {
			return all, err
		}
		if all.Failed == 0 {
			return all, nil
		}
	}
	return all, nil
}

// getter writes what comes.
type getter struct {
	dir    string
	number int
	failed error // to write
}

// get retrieves what fits into the contexts of one association.
func (g *getter) get(ctx context.Context, p Peer, contexts []dimse.PresentationContext, id *dicom.DataSet,
	progress func(dimse.SubOperations)) (dimse.SubOperations, error) {
	const class = dict.UIDStudyRootQueryRetrieveInformationModelGet
	c, err := p.dial(ctx, append(queryContext(class), contexts...))
	if err != nil {
		return dimse.SubOperations{}, err
	}
	n, err := c.Get(ctx, class, id, g.save, func(n dimse.SubOperations) error {
		progress(n)
		return errors.Join(ctx.Err(), g.failed)
	})
	return n, end(ctx, c, err)
}

func (g *getter) save(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
	if g.failed != nil {
		return g.failed
	}
	g.number++
	g.failed = save(filepath.Join(g.dir, fmt.Sprintf("%06d.dcm", g.number)), rq, data)
	return g.failed
}

// save writes a file of DICOM. It does not write over one that is there, and
// leaves none that is not whole.
func save(name string, rq *dimse.StoreRequest, data io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			os.Remove(name)
		}
	}()
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: rq.SOPClassUID, MediaStorageSOPInstanceUID: rq.SOPInstanceUID, TransferSyntaxUID: rq.TransferSyntax.UID,
		ImplementationClassUID: dicom.ImplementationClassUID, ImplementationVersionName: dicom.ImplementationVersionName,
	}
	if _, err := f.Write(meta.AppendTo(nil)); err != nil {
		return err
	}
	_, err = io.Copy(f, data)
	return err
}
