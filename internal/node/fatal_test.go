package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"lumen/internal/durable"
	"lumen/store/blob"
	"lumen/store/blob/dir"
)

// Whoever syncs, and whatever they do with the error: the process hears of it.
func TestEveryFailedSyncIsFatal(t *testing.T) {
	for _, op := range []struct {
		name string
		do   func(durable.FS) error
	}{
		{"Sync", func(fsys durable.FS) error {
			f, err := fsys.OpenFile("/f", os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Sync()
		}},
		{"Datasync", func(fsys durable.FS) error {
			f, err := fsys.OpenFile("/f", os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Datasync()
		}},
		{"SyncDir", func(fsys durable.FS) error { return fsys.SyncDir("/") }},
		{"MkdirAll", func(fsys durable.FS) error { return fsys.MkdirAll("/a/b", 0o700) }},
		{"WriteFile", func(fsys durable.FS) error { return durable.WriteFile(fsys, "/f", nil, 0o600) }},
	} {
		t.Run(op.name, func(t *testing.T) {
			faults := durable.NewFaults(durable.NewMem(0))
			fatal := 0
			fsys := watchedFS{faults, func(error) { fatal++ }}
			if err := op.do(fsys); err != nil || fatal != 0 {
				t.Fatalf("without a fault: %v, %d", err, fatal)
			}
			for _, kind := range []durable.Op{durable.OpSync, durable.OpSyncDir} {
				faults.Inject(durable.Fault{Op: kind})
			}
			faults.Inject(durable.Fault{Op: durable.OpMkdir, Err: durable.ErrSync})
			if err := op.do(fsys); err == nil || fatal == 0 {
				t.Errorf("a failed sync is not fatal: %v", err)
			}
		})
	}
}

// A quota that is full at the sync stops one store, not the node.
func TestAFullDiskAtTheSyncIsNotFatal(t *testing.T) {
	faults := durable.NewFaults(durable.NewMem(0))
	fatal := 0
	objects, err := dir.New(watchedFS{faults, func(error) { fatal++ }}, "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	faults.Inject(durable.Fault{Op: durable.OpSync, Times: 1, Err: fmt.Errorf("%w: %w", durable.ErrSync, syscall.EDQUOT)})
	write := func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }
	if err := objects.Put(t.Context(), "a/b", -1, write); !errors.Is(err, blob.ErrNoSpace) || fatal != 0 {
		t.Errorf("put: %v, fatal %d times", err, fatal)
	}
	if err := objects.Put(t.Context(), "a/b", -1, write); err != nil {
		t.Errorf("put when there is room again: %v", err)
	}
}
