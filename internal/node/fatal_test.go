package node

import (
	"os"
	"testing"

	"lumen/internal/durable"
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
