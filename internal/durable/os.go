package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OS returns the operating system's files.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(oldName, newName string) error       { return os.Rename(oldName, newName) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }

func (o osFS) MkdirAll(name string, perm fs.FileMode) error {
	return mkdirAll(filepath.Clean(name), perm, os.Mkdir, o.Stat, o.SyncDir)
}

// mkdirAll is MkdirAll over the calls that it needs, so that Mem and OS agree.
func mkdirAll(name string, perm fs.FileMode, mkdir func(string, fs.FileMode) error,
	stat func(string) (fs.FileInfo, error), syncDir func(string) error) error {
	err := mkdir(name, perm)
	parent := filepath.Dir(name)
	if errors.Is(err, fs.ErrNotExist) && parent != name {
		if err := mkdirAll(parent, perm, mkdir, stat, syncDir); err != nil {
			return err
		}
		err = mkdir(name, perm)
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		info, statErr := stat(name)
		if statErr != nil {
			return statErr
		}
		if !info.IsDir() {
			return err
		}
		// Somebody else made it, perhaps a moment ago and in another goroutine
		// that has yet to sync: returning now would promise more than there is.
		// A folder that has existed for long costs one cheap call.
		if err := syncDir(parent); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil // a folder above ours that we may not open: it is not we who made this one
	default:
		return err
	}
	return syncDir(parent)
}

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close() // opened for reading: nothing is lost by an error here
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // CIFS and some FUSE file systems have no such thing: names are the server's affair
	}
	return syncError(err)
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncError(f.File.Sync()) }

func syncError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSync, err)
}
