package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/dir"
)

var _ store.Blobs = (*dir.Dir)(nil)

func open(t testing.TB, fsys durable.FS, root string) *dir.Dir {
	t.Helper()
	d, err := dir.New(fsys, root)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	t.Run("os", func(t *testing.T) {
		blobtest.TestBlobs(t, func(t *testing.T) store.Blobs { return open(t, durable.OS(), t.TempDir()) })
	})
	t.Run("mem", func(t *testing.T) {
		blobtest.TestBlobs(t, func(t *testing.T) store.Blobs { return open(t, durable.NewMem(0), "/blobs") })
	})
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	root := filepath.Join(t.TempDir(), "blobs")
	blobtest.Put(t, open(t, durable.OS(), root), "a/b/c", []byte("x"))
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func temporary(t *testing.T, fsys durable.FS) int {
	t.Helper()
	entries, err := fsys.ReadDir("/blobs/.tmp")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestFullDisk(t *testing.T) {
	mem := durable.NewMem(1 << 20)
	d := open(t, mem, "/blobs")
	blobtest.Put(t, d, "a/b", make([]byte, 600_000))
	err := d.Put(t.Context(), "a/c", -1, blobtest.Write(make([]byte, 600_000)))
	if !errors.Is(err, store.ErrNoSpace) || durable.IsFatal(err) {
		t.Errorf("Put = %v", err)
	}
	if n := temporary(t, mem); n != 0 {
		t.Errorf("%d temporary files remain", n)
	}
	if free, _, _ := mem.Free("/"); free != 1<<20-600_000 {
		t.Errorf("%d bytes are free", free)
	}
	if err := d.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, d, "a/c", make([]byte, 600_000))
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name           string
		fault          durable.Fault
		fatal, noSpace bool
	}{
		{"create", durable.Fault{Op: durable.OpOpen, Err: syscall.EMFILE}, false, false},
		{"create, full", durable.Fault{Op: durable.OpOpen, Err: syscall.ENOSPC}, false, true},
		{"create, no quota", durable.Fault{Op: durable.OpOpen, Err: syscall.EDQUOT}, false, true},
		{"write", durable.Fault{Op: durable.OpWrite, After: 1, Short: 10}, false, false},
		{"write, full", durable.Fault{Op: durable.OpWrite, After: 1, Short: 10, Err: syscall.ENOSPC}, false, true},
		{"sync", durable.Fault{Op: durable.OpSync}, true, false},
		{"sync, full", durable.Fault{Op: durable.OpSync, Err: syscall.ENOSPC}, false, true},
		{"close", durable.Fault{Op: durable.OpClose}, false, false},
		{"make folder", durable.Fault{Op: durable.OpMkdir}, false, false},
		{"make folder, full", durable.Fault{Op: durable.OpMkdir, Err: syscall.ENOSPC}, false, true},
		{"rename", durable.Fault{Op: durable.OpRename}, false, false},
		{"rename, full", durable.Fault{Op: durable.OpRename, Err: syscall.ENOSPC}, false, true},
		{"sync folder", durable.Fault{Op: durable.OpSyncDir}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mem := durable.NewMem(0)
			faults := durable.NewFaults(mem)
			d := open(t, faults, "/blobs")
			tc.fault.Times = 1
			faults.Inject(tc.fault)
			err := d.Put(t.Context(), "a/b/c", -1, blobtest.Write(make([]byte, 300_000)))
			if err == nil || durable.IsFatal(err) != tc.fatal || errors.Is(err, store.ErrNoSpace) != tc.noSpace {
				t.Errorf("Put = %v", err)
			}
			if n := temporary(t, mem); n != 0 {
				t.Errorf("%d temporary files remain", n)
			}
			if tc.fatal {
				return
			}
			if names := blobtest.Names(t, d, ""); len(names) != 0 {
				t.Errorf("%q remains", names)
			}
			blobtest.Put(t, d, "a/b/c", []byte("works again"))
		})
	}
}

func TestStartSweepsTemporaryFiles(t *testing.T) {
	mem := durable.NewMem(0)
	blobtest.Put(t, open(t, mem, "/blobs"), "a/b", []byte("kept"))
	if err := durable.WriteFile(mem, "/blobs/.tmp/o.123.tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, mem, "/blobs")
	if n := temporary(t, mem); n != 0 {
		t.Errorf("%d temporary files remain", n)
	}
	if got, err := blobtest.Get(t.Context(), d, "a/b", 0, -1); string(got) != "kept" || err != nil {
		t.Errorf("object: %q, %v", got, err)
	}
}

// Power fails at a random moment of several writers and deleters. Whatever the
// disk kept of what was not synced: every Put that was acknowledged is there,
// every Delete that was is not undone, and nothing is half there.
func TestCrash(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mem := durable.NewMem(0)
		faults := durable.NewFaults(mem)
		d := open(t, faults, "/blobs")
		faults.Inject(durable.Fault{After: rng.IntN(150), Err: syscall.EIO})
		var (
			mu      sync.Mutex
			stored  = map[string][]byte{}
			deleted = map[string]bool{}
			tried   = map[string][]byte{}
			wg      sync.WaitGroup
		)
		for w := range 3 {
			wg.Go(func() {
				for r := range 6 {
					name := fmt.Sprintf("t/%d/%d-%d", r%2, w, r)
					data := blobtest.Content(seed+uint64(w*10+r), 5000*r)
					mu.Lock()
					tried[name] = data
					mu.Unlock()
					if d.Put(t.Context(), name, -1, blobtest.Write(data)) != nil {
						return
					}
					mu.Lock()
					stored[name] = data
					mu.Unlock()
					if r%3 != 0 {
						continue
					}
					mu.Lock()
					delete(stored, name) // from here on it may be gone
					mu.Unlock()
					if d.Delete(t.Context(), name) != nil {
						return
					}
					mu.Lock()
					deleted[name] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		mem.Crash(rng)
		d = open(t, mem, "/blobs")
		found := map[string]bool{}
		for _, name := range blobtest.Names(t, d, "") {
			found[name] = true
			got, err := blobtest.Get(t.Context(), d, name, 0, -1)
			if err != nil || !bytes.Equal(got, tried[name]) {
				t.Fatalf("seed %d: %s has %d bytes, %v", seed, name, len(got), err)
			}
			if deleted[name] {
				t.Fatalf("seed %d: %s came back", seed, name)
			}
		}
		for name := range stored {
			if !found[name] {
				t.Fatalf("seed %d: %s was acknowledged and is lost", seed, name)
			}
		}
	}
}

func BenchmarkPut(b *testing.B) {
	data := blobtest.Content(1, 220_000)
	for _, writers := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			d := open(b, durable.OS(), b.TempDir())
			b.SetBytes(int64(len(data)))
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						err := d.Put(b.Context(), fmt.Sprintf("t/%d/%d", w, i), int64(len(data)), func(dst io.Writer) error {
							_, err := dst.Write(data)
							return err
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
