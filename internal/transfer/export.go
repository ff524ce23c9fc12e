package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"lumen/dicom"
	"lumen/internal/media"
	"lumen/internal/node"
)

// Export says what to write out, and through what: a study, or all studies of a
// patient.
type Export struct {
	Node     *node.Admin
	Progress *Progress

	Study   string // Study Instance UID
	Patient string // Patient ID
	Issuer  string // Issuer of Patient ID; empty is any, as long as it is one
}

// Run writes Part 10 files and a DICOMDIR to a new or empty folder, or to a new
// ZIP archive where the name ends in .zip. When it returns nil all of it is
// durable; on an error nothing of it is left. It returns how many files it wrote,
// without the DICOMDIR.
func (e Export) Run(ctx context.Context, to string) (files int, bytes int64, err error) {
	full, err := filepath.Abs(to)
	if err != nil {
		return 0, 0, err
	}
	t, err := newTarget(full)
	if err != nil {
		return 0, 0, err
	}
	x := &exportRun{target: t, progress: e.Progress}
	shown, hide := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { e.Progress.run(shown) })
	query := url.Values{"study": {e.Study}, "patient": {e.Patient}, "issuer": {e.Issuer}, "to": {full}}
	err = x.run(ctx, e.Node, "/export?"+query.Encode())
	hide()
	background.Wait()
	if err != nil {
		return 0, 0, errors.Join(err, t.discard())
	}
	return x.files, x.bytes, nil
}

// exportRun puts the files that a node streams under their File IDs.
type exportRun struct {
	target   target
	progress *Progress
	set      media.FileSet
	files    int
	bytes    int64
}

func (x *exportRun) run(ctx context.Context, n *node.Admin, request string) error {
	answer, err := n.Do(ctx, http.MethodPost, request, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	in := tar.NewReader(answer)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = x.file(h.Name, in)
		}
		if err != nil {
			return fmt.Errorf("the export is not complete: %w", err)
		}
		x.files++
		x.bytes += h.Size
		x.progress.add(1, h.Size)
	}
	if err := x.target.put("DICOMDIR", x.set.WriteDICOMDIR); err != nil {
		return fmt.Errorf("write the DICOMDIR: %w", err)
	}
	return x.target.finish()
}

// file writes one file, called STUDY/SERIES/INSTANCE by its UIDs, and reads its
// header on the way.
func (x *exportRun) file(name string, r io.Reader) error {
	uids := strings.Split(name, "/")
	if len(uids) != 3 {
		return errors.New("the node names a file otherwise than expected")
	}
	fileID, err := x.set.Place(uids[0], uids[1])
	if err != nil {
		return err
	}
	return x.target.put(path.Join(fileID...), func(w io.Writer) error {
		written := io.TeeReader(r, w)
		meta, data, err := dicom.ReadFileMeta(written)
		if err != nil {
			return err
		}
		header, err := readHeader(meta, data)
		if err != nil {
			return err
		}
		if err := x.set.Add(fileID, meta, header); err != nil {
			return err
		}
		_, err = io.Copy(w, r) // what the header's reader has left
		return err
	})
}

// Limits of what is read for a directory record.
const (
	maxHeaderValue = 4 << 10
	maxHeaderBytes = 1 << 20
)

// readHeader reads a data set up to its pixel data. One that is malformed
// further on was stored all the same: what comes before is enough.
func readHeader(meta dicom.FileMeta, data io.Reader) (*dicom.DataSet, error) {
	syntax, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if !ok {
		return nil, errors.New("unknown transfer syntax")
	}
	const pixelGroup = dicom.Tag(0x7fe00000)
	header, err := dicom.ReadDataSet(dicom.NewReader(data, syntax, dicom.DefaultLimits()),
		dicom.ReadOptions{Until: pixelGroup, MaxValue: maxHeaderValue, MaxBytes: maxHeaderBytes})
	var malformed *dicom.ParseError
	if err != nil && !errors.As(err, &malformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return header, nil
}
