package durable

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// memFile is an open file of a [Mem]; all state is guarded by the Mem's lock.
type memFile struct {
	fs                          *Mem
	node                        *memNode
	name                        string
	epoch                       int
	off                         int64
	reading, writing, appending bool
	closed                      bool
}

// lock takes the file system's lock for an operation on a living file.
func (f *memFile) lock(op string, allowed bool) error {
	f.fs.mu.Lock()
	if f.closed || f.epoch != f.fs.epoch {
		f.fs.mu.Unlock()
		return pathError(op, f.name, fs.ErrClosed)
	}
	if !allowed {
		f.fs.mu.Unlock()
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Read(p []byte) (int, error) {
	if err := f.lock("read", f.reading); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	n, err := f.readAt(p, f.off)
	f.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lock("read", f.reading); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.readAt(p, off)
}

func (f *memFile) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	if off >= int64(len(f.node.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.lock("write", f.writing); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if f.appending {
		f.off = int64(len(f.node.data))
	}
	n, err := f.writeAt(p, f.off)
	f.off += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.lock("write", f.writing && !f.appending); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.writeAt(p, off)
}

// writeAt writes what there is room for, as a full disk does.
func (f *memFile) writeAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	var full error
	if m := f.fs; m.capacity > 0 {
		room := m.capacity - m.used + int64(len(f.node.data)) - off
		if int64(len(p)) > room {
			p, full = p[:max(room, 0)], pathError("write", f.name, syscall.ENOSPC)
		}
	}
	if len(p) > 0 {
		f.resize(max(int64(len(f.node.data)), off+int64(len(p))))
		copy(f.node.data[off:], p)
		f.node.mtime = time.Now()
	}
	return len(p), full
}

func (f *memFile) resize(size int64) {
	have := int64(len(f.node.data))
	f.fs.used += size - have
	if size <= have {
		f.node.data = f.node.data[:size:size]
		return
	}
	f.node.data = append(f.node.data, make([]byte, size-have)...)
}

func (f *memFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.lock("seek", true); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += int64(len(f.node.data))
	}
	if offset < 0 {
		return 0, pathError("seek", f.name, syscall.EINVAL)
	}
	f.off = offset
	return offset, nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	if err := f.lock("stat", true); err != nil {
		return nil, err
	}
	defer f.fs.mu.Unlock()
	parts := split(f.name)
	return f.node.stat(parts[len(parts)-1]), nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.lock("truncate", f.writing); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	f.resize(size)
	return nil
}

func (f *memFile) Sync() error {
	if err := f.lock("sync", true); err != nil {
		return fmt.Errorf("%w: %w", ErrSync, err)
	}
	defer f.fs.mu.Unlock()
	f.node.synced = slices.Clone(f.node.data)
	return nil
}

func (f *memFile) Datasync() error { return f.Sync() }

func (f *memFile) StartWriteback(off, n int64) error {
	if err := f.lock("sync_file_range", true); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	return nil
}

func (f *memFile) Close() error {
	if err := f.lock("close", true); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
