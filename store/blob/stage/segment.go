package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"lumen/internal/durable"
)

// segment is one preallocated file of the log.
type segment struct {
	file    durable.File
	name    string
	size    int64
	damaged bool   // is kept aside, not used again
	epoch   uint64 // of the records in it; a later use has a larger one
	used    int64
	entries []*entry
	// readers is held for reading while data is read, for writing once before the
	// segment is used again.
	readers sync.RWMutex
}

// allocate makes a segment of zeros, durably: later writes into it change
// nothing but data.
func allocate(fsys durable.FS, dir string, number int, size int64) (_ *segment, err error) {
	name := segmentName(dir, number)
	temp := name + durable.TempSuffix
	f, err := fsys.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a segment: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()         // the error is the one before
			fsys.Remove(temp) // else Open removes it
		}
	}()
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return nil, fmt.Errorf("fill a segment: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("sync a segment: %w", err)
	}
	if err := fsys.Rename(temp, name); err != nil {
		return nil, fmt.Errorf("name a segment: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("sync the folder of segments: %w", err)
	}
	return &segment{file: f, name: name, size: size}, nil
}

func segmentName(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%04d.log", number))
}

// append writes a record at the end; false when there is no room for it.
func (s *segment) append(record []byte) (bool, error) {
	if s.used+int64(len(record)) > s.size {
		return false, nil
	}
	if _, err := s.file.WriteAt(record, s.used); err != nil {
		return true, fmt.Errorf("write into a segment: %w", err)
	}
	s.used += int64(len(record))
	return true, nil
}

// release makes durable that nothing in the segment counts any more.
func (s *segment) release() error {
	if _, err := s.file.WriteAt(released(s.epoch), 0); err != nil {
		return fmt.Errorf("release a segment: %w", err)
	}
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("release a segment: %w", err)
	}
	return nil
}

// keepAside gives a damaged segment a name under which no start finds it: what
// can be told of it was moved, and somebody may find more.
func (s *segment) keepAside(fsys durable.FS) error {
	if err := fsys.Rename(s.name, fmt.Sprintf("%s.damaged-%d", s.name, s.epoch)); err != nil {
		return fmt.Errorf("keep a damaged segment aside: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(s.name)); err != nil {
		return fmt.Errorf("keep a damaged segment aside: %w", err)
	}
	return nil
}

// kill makes durable that the record at head was deleted.
func (s *segment) kill(head int64) error {
	if _, err := s.file.WriteAt([]byte{1}, head+deadAt); err != nil {
		return fmt.Errorf("delete a staged object: %w", err)
	}
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("delete a staged object: %w", err)
	}
	return nil
}
