package node

import (
	"io/fs"

	"lumen/internal/durable"
)

// watchedFS calls fatal as soon as a sync fails, before whoever asked for it
// can tell a peer anything: after a failed fsync nothing that the process
// believes about its files can be relied on (DESIGN: a failed fsync is fatal).
type watchedFS struct {
	durable.FS
	fatal func(error)
}

func (w watchedFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := w.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w.fatal}, nil
}

func (w watchedFS) MkdirAll(name string, perm fs.FileMode) error {
	return watch(w.fatal, w.FS.MkdirAll(name, perm))
}

func (w watchedFS) SyncDir(name string) error { return watch(w.fatal, w.FS.SyncDir(name)) }

type watchedFile struct {
	durable.File
	fatal func(error)
}

func (w watchedFile) Sync() error     { return watch(w.fatal, w.File.Sync()) }
func (w watchedFile) Datasync() error { return watch(w.fatal, w.File.Datasync()) }

// watch lets those who sync deal with a disk or a quota that turns out to be
// full only then, as some file systems tell it: what is new is thrown away, and
// who cannot do that (the journal, the write log) stops by itself.
func watch(fatal func(error), err error) error {
	if durable.IsFatal(err) && !durable.IsNoSpace(err) {
		fatal(err)
	}
	return err
}
