package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// TempSuffix ends the names of files that are not complete. Whoever owns a
// folder removes them at start.
const TempSuffix = ".tmp"

// ErrSync is wrapped by every error of Sync, Datasync and SyncDir. What was
// written since the last successful sync is in an unknown state.
var ErrSync = errors.New("sync failed, what was written may be lost")

// IsFatal reports whether the process must exit because of err: nothing that it
// believes about its files can be relied on any more.
func IsFatal(err error) bool { return errors.Is(err, ErrSync) }

// IsNoSpace reports whether err says that the disk or the quota is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// FS is a file system. Names are paths of the operating system. Errors are
// those of package os ([fs.ErrNotExist], [fs.ErrExist], syscall.Errno); they
// contain the path, so do not log them where a path would say too much.
type FS interface {
	// OpenFile is os.OpenFile. A new file's name is durable after SyncDir.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces newName if it exists; durable after SyncDir of both folders.
	Rename(oldName, newName string) error
	// Remove removes a file or an empty folder; durable after SyncDir.
	Remove(name string) error
	// MkdirAll makes a folder with the parents that it lacks, durably: it syncs
	// the folder above each one that it made.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a folder durable, not what is in the files.
	SyncDir(name string) error
	// Free returns the bytes that an unprivileged writer may still use on the
	// file system that holds name, and its size.
	Free(name string) (free, total int64, err error)
}

// File is an open file of an [FS].
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync makes content and metadata durable (fsync).
	Sync() error
	// Datasync makes the content durable, and of the metadata what is needed to
	// read it back, such as the size (fdatasync).
	Datasync() error
	// StartWriteback tells the kernel to begin writing a range out, so that a
	// later Sync has less to wait for. It is a hint: it makes nothing durable,
	// and where the system has no such call it does nothing.
	StartWriteback(off, n int64) error
}

// WriteFile writes a small file in one step: after a crash name holds the whole
// of data or what it held before. When it returns nil the file is durable.
// When it returns an error name is unchanged, unless [IsFatal].
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	temp := TempName(name)
	if err := writeSync(fsys, temp, data, perm); err != nil {
		_ = fsys.Remove(temp) // it may not exist; what stays is swept at start
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func writeSync(fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// ReadFile reads a whole file of at most limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing is lost by an error here
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("file holds more than %d bytes", limit)
	}
	return data, nil
}

// TempName returns a new name beside name that ends in [TempSuffix].
func TempName(name string) string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return name + "." + hex.EncodeToString(b[:]) + TempSuffix
}

// Clock tells the time. What it tells is not monotonic: an operator may set it.
type Clock interface{ Now() time.Time }

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// SystemClock is the operating system's clock.
func SystemClock() Clock { return systemClock{} }
