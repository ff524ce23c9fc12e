package scu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// Result is what became of one file. It is for the operator's terminal, not for
// a log: a file's name may well say who it is about.
type Result struct {
	File   string
	Bytes  int64 // of the data set
	Status dimse.Status
	Err    error // nil when the peer answered with success or a warning
}

// ErrSkipped says that a file is not a DICOM object.
var ErrSkipped = errors.New("not a DICOM object")

// maxGroup bounds how many files are looked at before the first of them leave.
const maxGroup = 4096

// kind is what a presentation context is for.
type kind struct{ class, syntax string }

// sender collects files until an association is full.
type sender struct {
	peer   Peer
	report func(Result)
	moved  func(bytes int)
	files  []string
	kinds  map[kind]bool
}

// Send sends the files and, of folders, all files below, over as few
// associations as their kinds need. It calls report for each file, and moved with
// the bytes of data sets as they leave. The error is nil when every file could be
// tried, however that went.
func Send(ctx context.Context, p Peer, paths []string, report func(Result), moved func(bytes int)) error {
	s := &sender{peer: p, report: report, moved: moved, kinds: map[kind]bool{}}
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			return s.add(ctx, name)
		})
		if err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// add puts a file into the group, after sending the group when it is full.
func (s *sender) add(ctx context.Context, name string) error {
	f, meta, _, err := openFile(name)
	if err != nil {
		s.report(Result{File: name, Err: err})
		return nil
	}
	f.Close()
	k := kind{meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID}
	if !s.kinds[k] && len(s.kinds) == dimse.MaxContexts || len(s.files) == maxGroup {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.kinds[k] = true
	s.files = append(s.files, name)
	return nil
}

// flush sends the group over one association.
func (s *sender) flush(ctx context.Context) error {
	if len(s.files) == 0 {
		return nil
	}
	var contexts []dimse.PresentationContext
	for k := range s.kinds {
		contexts = append(contexts, dimse.PresentationContext{SOPClass: k.class, TransferSyntaxes: []string{k.syntax}})
	}
	c, err := s.peer.dial(ctx, contexts)
	if err != nil {
		return err
	}
	for _, name := range s.files {
		r, err := s.send(ctx, c, name)
		if err != nil {
			c.Abort()
			return fmt.Errorf("send %s: %w", name, err)
		}
		s.report(r)
	}
	s.files, s.kinds = nil, map[kind]bool{}
	return c.Release(ctx)
}

// send sends one file. The error is the end of the association.
func (s *sender) send(ctx context.Context, c *dimse.Client, name string) (Result, error) {
	r := Result{File: name}
	f, meta, data, err := openFile(name)
	if err != nil {
		r.Err = err
		return r, nil
	}
	defer f.Close()
	syntax, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if !ok {
		syntax.UID = meta.TransferSyntaxUID
	}
	counted := &counter{Reader: data, moved: s.moved}
	r.Status, err = c.Store(ctx, dimse.StoreRequest{
		SOPClassUID: meta.MediaStorageSOPClassUID, SOPInstanceUID: meta.MediaStorageSOPInstanceUID, TransferSyntax: syntax,
	}, counted)
	r.Bytes = counted.n
	switch {
	case errors.Is(err, dimse.ErrNoContext):
		r.Err = err
		return r, nil
	case err != nil:
		return r, err
	case r.Status.Class() != dimse.ClassSuccess && r.Status.Class() != dimse.ClassWarning:
		r.Err = &dimse.StatusError{Status: r.Status}
	}
	return r, nil
}

// openFile opens a file of DICOM and reads what it announces. The reader gives
// the data set.
func openFile(name string) (*os.File, dicom.FileMeta, io.Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, dicom.FileMeta{}, nil, err
	}
	meta, data, err := dicom.ReadFileMeta(f)
	if err == nil {
		data, err = identify(&meta, data)
	}
	if err == nil && (meta.MediaStorageSOPClassUID == "" || meta.MediaStorageSOPInstanceUID == "" || meta.TransferSyntaxUID == "") {
		err = errors.New("the File Meta Information lacks a UID")
	}
	if err != nil {
		f.Close()
		return nil, dicom.FileMeta{}, nil, fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	return f, meta, data, nil
}

// identifiedWithin is enough of a data set to have its SOP class and instance.
const identifiedWithin = 4 << 10

// identify sets the UIDs in meta to those of the data set, as far as they are
// near its beginning: they differ in files that were anonymised or copied
// carelessly, and no archive takes an object under a UID that it does not have.
// The reader that it returns gives the data set from its beginning.
func identify(meta *dicom.FileMeta, data io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(data, identifiedWithin)
	head, err := b.Peek(identifiedWithin)
	if err != nil && err != io.EOF {
		return nil, err
	}
	syntax, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if !ok {
		return b, nil
	}
	d, _ := dicom.ReadDataSet(dicom.NewBytesReader(head, syntax, dicom.Limits{}), dicom.ReadOptions{Until: dict.SOPInstanceUID + 1}) // it may be cut there
	for tag, to := range map[dicom.Tag]*string{
		dict.SOPClassUID: &meta.MediaStorageSOPClassUID, dict.SOPInstanceUID: &meta.MediaStorageSOPInstanceUID,
	} {
		if uid := d.String(tag); dicom.ValidUID(uid) {
			*to = uid
		}
	}
	return b, nil
}

type counter struct {
	io.Reader
	moved func(int)
	n     int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.moved(n)
	return n, err
}
