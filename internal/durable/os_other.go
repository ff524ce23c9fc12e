//go:build unix && !linux

package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

func (osFS) Free(name string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// Datasync is a full sync where fdatasync is missing or promises less.
func (f osFile) Datasync() error { return f.Sync() }

func (f osFile) StartWriteback(off, n int64) error { return nil }
