package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"lumen/internal/durable"
	"lumen/store/blob"
)

const (
	tempFolder = ".tmp" // no object name has a dot
	// writebackEvery is how many bytes are written before the kernel is told to
	// begin with them, so that the sync at the end of a large object is short.
	writebackEvery = 8 << 20
	// maxKnown bounds the set of folders that are known to be durable.
	maxKnown = 16 << 10
)

// Dir implements store.Blobs in a folder.
type Dir struct {
	fs   durable.FS
	root string

	// mu is held for reading while an object moves into a folder that is known to
	// be there and durable, for writing while folders are made or removed.
	mu    sync.RWMutex
	known map[string]bool
}

// New opens or makes the folder root and removes what a crash left in .tmp.
func New(fsys durable.FS, root string) (*Dir, error) {
	d := &Dir{fs: fsys, root: filepath.Clean(root), known: map[string]bool{}}
	temp := filepath.Join(d.root, tempFolder)
	if err := fsys.MkdirAll(temp, 0o700); err != nil {
		return nil, wrap("make folder of objects", err)
	}
	entries, err := fsys.ReadDir(temp)
	if err != nil {
		return nil, wrap("sweep temporary objects", err)
	}
	for _, e := range entries {
		if err := fsys.Remove(filepath.Join(temp, e.Name())); err != nil {
			return nil, wrap("sweep temporary objects", err)
		}
	}
	return d, nil
}

// wrap says what was tried, without the path in err.
func wrap(what string, err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	cause := err
	switch {
	case errors.As(err, &pathErr):
		cause = pathErr.Err
	case errors.As(err, &linkErr):
		cause = linkErr.Err
	}
	switch {
	case durable.IsFatal(err):
		return fmt.Errorf("%s: %w: %w", what, durable.ErrSync, cause)
	case durable.IsNoSpace(err):
		return fmt.Errorf("%s: %w: %w", what, blob.ErrNoSpace, cause)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", what, blob.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", what, cause)
}

func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Put implements store.Blobs. An error for which durable.IsFatal holds leaves
// the object in an unknown state.
func (d *Dir) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	temp := durable.TempName(filepath.Join(d.root, tempFolder, "o"))
	w := &writer{ctx: ctx, create: func() (durable.File, error) {
		return d.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}}
	moved := false
	defer func() { // also when write panics
		if w.tried && !moved {
			_ = d.fs.Remove(temp) // what stays is swept at the next start
		}
	}()
	if err := w.fill(size, write); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	final := d.path(name)
	if err := d.move(temp, final); err != nil {
		return err
	}
	moved = true
	if err := d.fs.SyncDir(filepath.Dir(final)); err != nil {
		return wrap("sync folder of object", err)
	}
	return nil
}

// fill makes the file durable with what write writes. It is made at the first
// write: a caller that gives up before that costs nothing.
func (w *writer) fill(size int64, write func(io.Writer) error) (err error) {
	defer func() {
		if w.file == nil {
			return
		}
		if closeErr := w.file.Close(); err == nil && closeErr != nil {
			err = wrap("close object", closeErr)
		}
	}()
	if err := write(w); err != nil {
		if w.err != nil {
			return w.err // the cause of whatever write made of it
		}
		return fmt.Errorf("write object: %w", err)
	}
	if w.open(); w.err != nil {
		return w.err
	}
	if size >= 0 && w.size != size {
		return blob.ErrSize
	}
	err = w.file.Datasync()
	if err != nil && durable.IsNoSpace(err) {
		// A file system that allocates late. Unlike other failed syncs this one
		// loses nothing that anybody relies on: the file is thrown away.
		return fmt.Errorf("sync object: %w", blob.ErrNoSpace)
	}
	if err != nil {
		return wrap("sync object", err)
	}
	return nil
}

// writer counts, starts write-back, and ends with the context.
type writer struct {
	ctx        context.Context
	create     func() (durable.File, error)
	tried      bool         // create was called: there may be a file
	file       durable.File // nil before the first write
	size, hint int64
	err        error
}

// open makes the file unless it is there.
func (w *writer) open() {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil || w.file != nil {
		return
	}
	w.tried = true
	file, err := w.create()
	if err != nil {
		w.err = wrap("create object", err)
		return
	}
	w.file = file
}

func (w *writer) Write(p []byte) (int, error) {
	if w.open(); w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	if err != nil {
		w.err = wrap("write object", err)
		return n, w.err
	}
	if w.size-w.hint >= writebackEvery {
		if err := w.file.StartWriteback(w.hint, w.size-w.hint); err != nil {
			w.err = wrap("write object", err)
			return n, w.err
		}
		w.hint = w.size
	}
	return n, nil
}

// move renames a finished file into a folder that is durable.
func (d *Dir) move(temp, final string) error {
	folder := filepath.Dir(final)
	for {
		d.mu.RLock()
		known := d.known[folder]
		var err error
		if known {
			err = d.fs.Rename(temp, final)
		}
		d.mu.RUnlock()
		if known {
			if err != nil {
				return wrap("name object", err)
			}
			return nil
		}
		if err := d.makeFolder(folder); err != nil {
			return err
		}
	}
}

// makeFolder makes folder and those above it up to the root, each durable before
// the next one.
func (d *Dir) makeFolder(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	var missing []string
	for f := folder; f != d.root && !d.known[f]; f = filepath.Dir(f) {
		missing = append(missing, f)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		// MkdirAll syncs the folder above also when it finds the folder made: by
		// a process that may have ended before it did so.
		if err := d.fs.MkdirAll(missing[i], 0o700); err != nil {
			return wrap("make folder of object", err)
		}
		d.known[missing[i]] = true
	}
	d.known[folder] = true
	return nil
}

// Open implements store.Blobs.
func (d *Dir) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if !blob.ValidName(name) {
		return nil, blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.fs.OpenFile(d.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, wrap("open object", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist // a folder of objects is none
	}
	if err != nil {
		return nil, errors.Join(wrap("open object", err), f.Close())
	}
	left := max(info.Size()-off, 0)
	if n >= 0 {
		left = min(left, n)
	}
	return &reader{ctx: ctx, file: f, off: off, left: left}, nil
}

// reader reads one range of a file.
type reader struct {
	ctx       context.Context
	file      durable.File
	off, left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), r.left)], r.off)
	r.off, r.left = r.off+int64(n), r.left-int64(n)
	switch {
	case err == io.EOF && n > 0:
		err = nil
	case err == io.EOF && r.left > 0:
		err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		err = wrap("read object", err)
	}
	return n, err
}

func (r *reader) Close() error {
	if err := r.file.Close(); err != nil {
		return wrap("close object", err)
	}
	return nil
}

// Stat implements store.Blobs.
func (d *Dir) Stat(ctx context.Context, name string) (blob.Info, error) {
	if !blob.ValidName(name) {
		return blob.Info{}, blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, err
	}
	info, err := d.fs.Stat(d.path(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return blob.Info{}, wrap("stat object", err)
	}
	return blob.Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// List implements store.Blobs. It holds the names of one folder per level in
// memory.
func (d *Dir) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !blob.ValidPrefix(prefix) {
			yield(blob.Info{}, blob.ErrName)
			return
		}
		d.list(ctx, strings.TrimSuffix(prefix, "/"), yield)
	}
}

// list yields what is below folder, a name or empty for the root; false ends it.
func (d *Dir) list(ctx context.Context, folder string, yield func(blob.Info, error) bool) bool {
	entries, err := d.fs.ReadDir(d.path(folder))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return true
		}
		yield(blob.Info{}, wrap("list objects", err))
		return false
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
			return false
		}
		name := e.Name()
		if folder != "" {
			name = folder + "/" + name
		}
		switch {
		case !blob.ValidName(name): // .tmp, and what is not ours
		case e.IsDir():
			if !d.list(ctx, name, yield) {
				return false
			}
		case e.Type().IsRegular():
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since
			}
			if err != nil {
				yield(blob.Info{}, wrap("list objects", err))
				return false
			}
			if !yield(blob.Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil) {
				return false
			}
		}
	}
	return true
}

// Delete implements store.Blobs. Folders that it leaves empty are removed.
func (d *Dir) Delete(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := d.Stat(ctx, name); err != nil {
		if errors.Is(err, blob.ErrNotFound) {
			return nil // or a folder of objects, which Remove would take for one
		}
		return err
	}
	final := d.path(name)
	folder := filepath.Dir(final)
	if err := d.remove(final, folder); err != nil {
		return wrap("delete object", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; folder != d.root; folder = filepath.Dir(folder) {
		if err := d.fs.Remove(folder); err != nil {
			break // not empty, in all likelihood: an empty folder does no harm
		}
		delete(d.known, folder)
	}
	return nil
}

// remove removes a file durably. Nobody removes its folder meanwhile.
func (d *Dir) remove(name, folder string) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.fs.Remove(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody else deleted it
		}
		return err
	}
	return d.fs.SyncDir(folder)
}
