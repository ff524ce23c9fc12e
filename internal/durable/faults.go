package durable

import (
	"io/fs"
	"strings"
	"sync"
	"syscall"
)

// Op names an operation that [Faults] can make fail.
type Op string

// The operations. A write is Write and WriteAt, a read Read and ReadAt.
const (
	OpOpen     Op = "open"
	OpRename   Op = "rename" // its path is the new name
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpReadDir  Op = "readdir"
	OpStat     Op = "stat"
	OpSyncDir  Op = "syncdir"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync" // Sync and Datasync
	OpClose    Op = "close"
)

// Fault says which operations fail and how.
type Fault struct {
	Op    Op     // "" is every operation
	Path  string // a part of the path; "" is every path
	After int    // so many matching operations succeed first
	Times int    // so many fail then; 0 is all
	Err   error  // what they return; nil is syscall.EIO
	// Persists makes the operation take effect before it reports the error.
	Persists bool
	// Short is how many bytes a failing write still writes.
	Short int
}

// Faults wraps an FS and makes operations fail. Sync errors are wrapped in
// [ErrSync] as the real ones are. It is safe for concurrent use.
type Faults struct {
	FS
	mu     sync.Mutex
	faults []*Fault
	counts map[Op]int
}

// NewFaults wraps fsys; nothing fails until [Faults.Inject] is called.
func NewFaults(fsys FS) *Faults { return &Faults{FS: fsys, counts: map[Op]int{}} }

// Inject adds a fault.
func (f *Faults) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Clear removes all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Count says how many operations of a kind were tried; "" counts all.
func (f *Faults) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != "" {
		return f.counts[op]
	}
	total := 0
	for _, n := range f.counts {
		total += n
	}
	return total
}

// hit counts an operation and returns the fault that strikes it, if any.
func (f *Faults) hit(op Op, path string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	for i, fault := range f.faults {
		if fault.Op != "" && fault.Op != op || !strings.Contains(path, fault.Path) {
			continue
		}
		if fault.After > 0 {
			fault.After--
			continue
		}
		strike := *fault
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
			}
		}
		return &strike
	}
	return nil
}

// do runs call, or fails in its place or after it.
func (f *Faults) do(op Op, path string, call func() error) error {
	fault := f.hit(op, path)
	if fault == nil {
		return call()
	}
	if fault.Persists {
		if err := call(); err != nil {
			return err
		}
	}
	return fault.error(op, path)
}

func (t *Fault) error(op Op, path string) error {
	err := t.Err
	if err == nil {
		err = syscall.EIO
	}
	err = pathError(string(op), path, err)
	if op == OpSync || op == OpSyncDir {
		return syncError(err)
	}
	return err
}

// OpenFile implements [FS].
func (f *Faults) OpenFile(name string, flag int, perm fs.FileMode) (file File, err error) {
	err = f.do(OpOpen, name, func() (err error) {
		file, err = f.FS.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		if file != nil {
			_ = file.Close() // it was opened before the fault struck
		}
		return nil, err
	}
	return &faultFile{File: file, faults: f}, nil
}

// Rename implements [FS].
func (f *Faults) Rename(oldName, newName string) error {
	return f.do(OpRename, newName, func() error { return f.FS.Rename(oldName, newName) })
}

// Remove implements [FS].
func (f *Faults) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.FS.Remove(name) })
}

// MkdirAll implements [FS].
func (f *Faults) MkdirAll(name string, perm fs.FileMode) error {
	return f.do(OpMkdir, name, func() error { return f.FS.MkdirAll(name, perm) })
}

// SyncDir implements [FS].
func (f *Faults) SyncDir(name string) error {
	return f.do(OpSyncDir, name, func() error { return f.FS.SyncDir(name) })
}

// ReadDir implements [FS].
func (f *Faults) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = f.do(OpReadDir, name, func() (err error) {
		entries, err = f.FS.ReadDir(name)
		return err
	})
	return entries, err
}

// Stat implements [FS].
func (f *Faults) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(OpStat, name, func() (err error) {
		info, err = f.FS.Stat(name)
		return err
	})
	return info, err
}

type faultFile struct {
	File
	faults *Faults
}

func (f *faultFile) do(op Op, call func() error) error {
	return f.faults.do(op, f.Name(), call)
}

func (f *faultFile) Read(p []byte) (n int, err error) {
	err = f.do(OpRead, func() (err error) { n, err = f.File.Read(p); return err })
	return n, err
}

func (f *faultFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do(OpRead, func() (err error) { n, err = f.File.ReadAt(p, off); return err })
	return n, err
}

func (f *faultFile) Write(p []byte) (int, error) {
	return f.write(p, f.File.Write)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *faultFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	fault := f.faults.hit(OpWrite, f.Name())
	if fault == nil {
		return write(p)
	}
	keep := min(fault.Short, len(p))
	if fault.Persists {
		keep = len(p)
	}
	n := 0
	if keep > 0 {
		var err error
		if n, err = write(p[:keep]); err != nil {
			return n, err
		}
	}
	return n, fault.error(OpWrite, f.Name())
}

func (f *faultFile) Truncate(size int64) error {
	return f.do(OpTruncate, func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Sync() error     { return f.do(OpSync, f.File.Sync) }
func (f *faultFile) Datasync() error { return f.do(OpSync, f.File.Datasync) }

// Close releases the file whatever fault strikes.
func (f *faultFile) Close() error {
	closeErr := f.File.Close()
	if err := f.do(OpClose, func() error { return nil }); err != nil {
		return err
	}
	return closeErr
}
