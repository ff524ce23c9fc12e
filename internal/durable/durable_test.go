package durable_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lumen/internal/durable"
)

// systems runs a test over the real file system and over the one in memory.
func systems(t *testing.T, test func(t *testing.T, fsys durable.FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, durable.OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) { test(t, durable.NewMem(0), "/") })
}

func names(t *testing.T, fsys durable.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func content(t *testing.T, fsys durable.FS, name string) string {
	t.Helper()
	b, err := durable.ReadFile(fsys, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteFileReplacesInOneStep(t *testing.T) {
	systems(t, func(t *testing.T, fsys durable.FS, dir string) {
		name := filepath.Join(dir, "f")
		for _, want := range []string{"one", "", "longer than before"} {
			if err := durable.WriteFile(fsys, name, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := content(t, fsys, name); got != want {
				t.Errorf("content %q, want %q", got, want)
			}
			if got := names(t, fsys, dir); got != "f" {
				t.Errorf("folder holds %q", got)
			}
		}
		info, err := fsys.Stat(name)
		if err != nil || info.Mode() != 0o600 || info.Name() != "f" {
			t.Errorf("Stat = %v, %v", info, err)
		}
		if _, err := durable.ReadFile(fsys, name, 3); err == nil {
			t.Error("a file larger than the limit was read")
		}
	})
}

func TestFiles(t *testing.T) {
	systems(t, func(t *testing.T, fsys durable.FS, dir string) {
		deep := filepath.Join(dir, "a", "b", "c")
		for range 2 {
			if err := fsys.MkdirAll(deep, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(deep, "f")
		if _, err := fsys.OpenFile(name, os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open of a missing file: %v", err)
		}
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second exclusive create: %v", err)
		}
		if err := fsys.MkdirAll(filepath.Join(name, "x"), 0o700); err == nil {
			t.Error("made a folder below a file")
		}
		must := func(_ int, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(f.Write([]byte("hello ")))
		must(f.Write([]byte("world")))
		must(f.WriteAt([]byte("J"), 0))
		must(f.WriteAt([]byte("!"), 12))
		must(0, f.StartWriteback(0, 5))
		must(0, f.Datasync())
		must(0, f.Sync())
		buf := make([]byte, 20)
		n, err := f.ReadAt(buf, 6)
		if string(buf[:n]) != "world\x00!" || err != io.EOF {
			t.Errorf("ReadAt = %q, %v", buf[:n], err)
		}
		must(0, f.Truncate(5))
		if off, err := f.Seek(0, io.SeekStart); off != 0 || err != nil {
			t.Errorf("Seek = %d, %v", off, err)
		}
		all, err := io.ReadAll(f)
		if string(all) != "Jello" || err != nil {
			t.Errorf("ReadAll = %q, %v", all, err)
		}
		must(0, f.Close())
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Close = %v", err)
		}

		if err := fsys.Remove(deep); err == nil {
			t.Error("removed a folder that is not empty")
		}
		moved := filepath.Join(dir, "moved")
		must(0, fsys.Rename(name, moved))
		must(0, fsys.SyncDir(dir))
		if got := content(t, fsys, moved); got != "Jello" {
			t.Errorf("after Rename: %q", got)
		}
		must(0, fsys.Remove(deep))
		must(0, fsys.Remove(moved))
		if err := fsys.Remove(moved); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("second Remove = %v", err)
		}
		if free, total, err := fsys.Free(dir); free <= 0 || total < free || err != nil {
			t.Errorf("Free = %d, %d, %v", free, total, err)
		}
	})
}

func TestWriteFileUnderFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault durable.Fault
		want  string // content afterwards
		fatal bool
	}{
		{"open", durable.Fault{Op: durable.OpOpen}, "old", false},
		{"write", durable.Fault{Op: durable.OpWrite, Err: syscall.ENOSPC, Short: 1}, "old", false},
		{"sync", durable.Fault{Op: durable.OpSync}, "old", true},
		{"sync that persisted", durable.Fault{Op: durable.OpSync, Persists: true}, "old", true},
		{"close", durable.Fault{Op: durable.OpClose}, "old", false},
		{"rename", durable.Fault{Op: durable.OpRename}, "old", false},
		{"rename that persisted", durable.Fault{Op: durable.OpRename, Persists: true}, "new", false},
		{"folder sync", durable.Fault{Op: durable.OpSyncDir}, "new", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mem := durable.NewMem(0)
			if err := durable.WriteFile(mem, "/f", []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			faults := durable.NewFaults(mem)
			faults.Inject(tc.fault)
			err := durable.WriteFile(faults, "/f", []byte("new"), 0o600)
			if err == nil || durable.IsFatal(err) != tc.fatal {
				t.Errorf("error %v, fatal %v", err, durable.IsFatal(err))
			}
			if durable.IsNoSpace(err) != (tc.fault.Err == syscall.ENOSPC) {
				t.Errorf("IsNoSpace(%v) is wrong", err)
			}
			if got := content(t, mem, "/f"); got != tc.want {
				t.Errorf("content %q, want %q", got, tc.want)
			}
			if got := names(t, mem, "/"); got != "f" {
				t.Errorf("folder holds %q", got)
			}
			faults.Clear()
			if err := durable.WriteFile(faults, "/f", []byte("again"), 0o600); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestFaultsCountAndChoose(t *testing.T) {
	faults := durable.NewFaults(durable.NewMem(0))
	faults.Inject(durable.Fault{Op: durable.OpOpen, Path: "b", After: 1, Times: 2, Err: io.ErrNoProgress})
	var got []bool
	for _, name := range []string{"/a", "/b", "/a", "/b", "/b", "/b"} {
		f, err := faults.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		got = append(got, err == nil)
		if err == nil {
			f.Close()
		} else if !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("error %v", err)
		}
	}
	want := []bool{true, true, true, false, false, true}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("open %d succeeded: %v", i, got[i])
		}
	}
	if faults.Count(durable.OpOpen) != 6 || faults.Count("") != 10 {
		t.Errorf("counts %d, %d", faults.Count(durable.OpOpen), faults.Count(""))
	}
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	mem := durable.NewMem(0)
	if err := mem.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(mem, "/d/kept", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ := mem.OpenFile("/d/kept", os.O_WRONLY, 0)
	f.WriteAt([]byte("LOST"), 0)
	g, _ := mem.OpenFile("/d/unnamed", os.O_WRONLY|os.O_CREATE, 0o600)
	g.Write([]byte("x"))
	if err := g.Sync(); err != nil {
		t.Fatal(err)
	}
	mem.Crash(nil)
	if got := names(t, mem, "/d"); got != "kept" {
		t.Errorf("folder holds %q", got)
	}
	if got := content(t, mem, "/d/kept"); got != "kept" {
		t.Errorf("content %q", got)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write to a file from before the crash: %v", err)
	}
}

// Whatever of the unsynced survives, a WriteFile that was acknowledged does,
// and one that was not leaves the old content or the new.
func TestWriteFileAcrossRandomCrashes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		mem := durable.NewMem(0)
		faults := durable.NewFaults(mem)
		old, next := bytes.Repeat([]byte("o"), rng.IntN(9000)), bytes.Repeat([]byte("n"), rng.IntN(9000))
		if err := durable.WriteFile(faults, "/f", old, 0o600); err != nil {
			t.Fatal(err)
		}
		faults.Inject(durable.Fault{After: rng.IntN(7), Persists: rng.IntN(2) == 0})
		err := durable.WriteFile(faults, "/f", next, 0o600)
		mem.Crash(rng)
		got := []byte(content(t, mem, "/f"))
		if !bytes.Equal(got, next) && (err == nil || !bytes.Equal(got, old)) {
			t.Fatalf("seed %d: error %v, then %d bytes that are neither old nor new", seed, err, len(got))
		}
	}
}

func TestMemIsFull(t *testing.T) {
	mem := durable.NewMem(10)
	f, err := mem.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write(make([]byte, 11)); n != 10 || !durable.IsNoSpace(err) {
		t.Errorf("Write = %d, %v", n, err)
	}
	if free, _, _ := mem.Free("/"); free != 0 {
		t.Errorf("free %d", free)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Remove("/f"); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(mem, "/g", make([]byte, 10), 0o600); err != nil {
		t.Errorf("after making room: %v", err)
	}
}

func TestSystemClock(t *testing.T) {
	if durable.SystemClock().Now().IsZero() {
		t.Error("the clock stands at zero")
	}
}
