package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/media"
)

func exportFiles(ctx context.Context, args []string) error {
	o := newOptions("export")
	study := o.String("study", "", "Study Instance `UID`")
	patient := o.String("patient", "", "Patient `ID`: all studies of the patient")
	cfg, rest, err := o.parseArgs(args)
	if err != nil {
		return err
	}
	if (*study == "") == (*patient == "") || len(rest) != 1 {
		return errors.New("export what, and where to? lumen export --study UID|--patient ID DIR|ZIP")
	}
	target, err := newTarget(rest[0])
	if err != nil {
		return err
	}
	e := exporter{target: target}
	query := url.Values{"study": {*study}, "patient": {*patient}}
	err = ask(ctx, cfg, "POST", "/export?"+query.Encode(), e.files)
	if err == nil {
		err = e.directory()
	}
	if err := errors.Join(err, target.close(err == nil)); err != nil {
		return err
	}
	fmt.Printf("%d files, %.1f MB: they hold patient data in clear\n", e.count, float64(e.bytes)/1e6)
	return nil
}

// exporter puts the files that a node streams under their File IDs.
type exporter struct {
	target target
	set    media.FileSet
	count  int
	bytes  int64
}

func (e *exporter) files(r io.Reader) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = e.file(in)
		}
		if err != nil {
			return fmt.Errorf("the export is not complete: %w", err)
		}
		e.count++
		e.bytes += h.Size
	}
}

// maxHeader bounds what is read of a file before it has a name.
const maxHeader = 64 << 20

// file reads one file. Its File ID depends on its header, so that much is held.
func (e *exporter) file(r io.Reader) error {
	var head bytes.Buffer
	meta, data, err := dicom.ReadFileMeta(io.TeeReader(r, &head))
	if err != nil {
		return err
	}
	syntax, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if !ok {
		return errors.New("unknown transfer syntax")
	}
	reader := dicom.NewReader(io.LimitReader(data, maxHeader), syntax, dicom.DefaultLimits())
	header, err := dicom.ReadDataSet(reader, dicom.ReadOptions{Until: dict.PixelData & 0xffff0000, MaxValue: 64 << 10})
	if err != nil {
		return err
	}
	return e.target.put(path.Join(e.set.Add(meta, header)...), io.MultiReader(&head, r))
}

func (e *exporter) directory() error {
	var b bytes.Buffer
	if err := e.set.WriteDICOMDIR(&b); err != nil {
		return err
	}
	return e.target.put("DICOMDIR", &b)
}

// target is where an export goes.
type target interface {
	put(name string, r io.Reader) error
	close(complete bool) error
}

// newTarget makes a ZIP archive of a name that ends in .zip, else a folder. It
// writes over nothing.
func newTarget(name string) (target, error) {
	if !strings.EqualFold(filepath.Ext(name), ".zip") {
		if err := os.Mkdir(name, 0o700); err != nil {
			return nil, err
		}
		return folderTarget(name), nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &zipTarget{f, zip.NewWriter(f)}, nil
}

type folderTarget string

func (t folderTarget) put(name string, r io.Reader) (err error) {
	name = filepath.Join(string(t), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}

func (folderTarget) close(bool) error { return nil }

type zipTarget struct {
	file *os.File
	zip  *zip.Writer
}

// put stores without compressing: pixel data is compressed already.
func (t *zipTarget) put(name string, r io.Reader) error {
	w, err := t.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

// close removes an archive that is not complete.
func (t *zipTarget) close(complete bool) error {
	if !complete {
		return errors.Join(t.file.Close(), os.Remove(t.file.Name()))
	}
	return errors.Join(t.zip.Close(), t.file.Close())
}
