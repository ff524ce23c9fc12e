package transfer

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lumen/internal/durable"
)

// target is where an export goes.
type target interface {
	// put writes a new file, with / in its name.
	put(name string, write func(io.Writer) error) error
	// finish makes all of it durable.
	finish() error
	// discard removes all that was put.
	discard() error
}

// newTarget makes a ZIP archive of a name that ends in .zip, else a folder. It
// writes over nothing.
func newTarget(name string) (target, error) {
	if strings.EqualFold(filepath.Ext(name), ".zip") {
		return newZipTarget(name)
	}
	return newFolderTarget(name)
}

// folderTarget is a folder, its own or one that was empty.
type folderTarget struct {
	fs      durable.FS
	root    string
	made    bool
	folders []string // made below root, parents first
	files   []string
}

func newFolderTarget(name string) (*folderTarget, error) {
	t := &folderTarget{fs: durable.OS(), root: name}
	entries, err := t.fs.ReadDir(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.made = true
		return t, t.fs.MkdirAll(name, 0o700)
	case err != nil:
		return nil, err
	case len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty: an export writes over nothing", name)
	}
	return t, nil
}

func (t *folderTarget) put(name string, write func(io.Writer) error) error {
	name = filepath.Join(t.root, filepath.FromSlash(name))
	if err := t.folder(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := t.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	t.files = append(t.files, name)
	out := bufio.NewWriterSize(f, 64<<10)
	if err = write(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// folder makes a folder with the parents that it lacks.
func (t *folderTarget) folder(name string) error {
	if _, err := t.fs.Stat(name); err == nil {
		return nil
	}
	if err := t.folder(filepath.Dir(name)); err != nil {
		return err
	}
	t.folders = append(t.folders, name)
	return t.fs.MkdirAll(name, 0o700)
}

func (t *folderTarget) finish() error {
	var err error
	for _, folder := range append([]string{t.root}, t.folders...) {
		err = errors.Join(err, t.fs.SyncDir(folder))
	}
	return err
}

func (t *folderTarget) discard() error {
	var err error
	for _, file := range t.files {
		err = errors.Join(err, t.fs.Remove(file))
	}
	for i := len(t.folders) - 1; i >= 0; i-- {
		err = errors.Join(err, t.fs.Remove(t.folders[i]))
	}
	if t.made {
		err = errors.Join(err, t.fs.Remove(t.root))
	}
	return err
}

// zipTarget is a ZIP archive, under a temporary name until it is complete.
type zipTarget struct {
	fs   durable.FS
	name string
	file durable.File
	zip  *zip.Writer
}

func newZipTarget(name string) (*zipTarget, error) {
	t := &zipTarget{fs: durable.OS(), name: name}
	if err := t.free(); err != nil {
		return nil, err
	}
	var err error
	if t.file, err = t.fs.OpenFile(durable.TempName(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	t.zip = zip.NewWriter(t.file)
	return t, nil
}

// free refuses a name that something has.
func (t *zipTarget) free() error {
	if _, err := t.fs.Stat(t.name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s exists: an export writes over nothing", t.name))
	}
	return nil
}

// put stores without compressing: pixel data is compressed already.
func (t *zipTarget) put(name string, write func(io.Writer) error) error {
	w, err := t.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	return write(w)
}

func (t *zipTarget) finish() error {
	if err := errors.Join(t.zip.Close(), t.file.Sync()); err != nil {
		return err
	}
	if err := t.free(); err != nil {
		return err
	}
	if err := t.fs.Rename(t.file.Name(), t.name); err != nil {
		return err
	}
	return errors.Join(t.file.Close(), t.fs.SyncDir(filepath.Dir(t.name)))
}

func (t *zipTarget) discard() error {
	t.file.Close() // of no use whatever it says
	if err := t.fs.Remove(t.file.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
