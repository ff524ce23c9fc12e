package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"lumen/internal/durable"
)

// lockFolder takes the journal's lock, which ends with the process at the
// latest. Files without a descriptor (in memory) belong to one process anyway.
func lockFolder(fsys durable.FS, dir string) (durable.File, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	conn, ok := f.(syscall.Conn)
	if !ok {
		return f, nil
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var flockErr error
		err = raw.Control(func(fd uintptr) {
			flockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
		})
		err = errors.Join(err, flockErr)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}
