package stage_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lumen/internal/durable"
	"lumen/internal/peertest"
	"lumen/store"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/dir"
	"lumen/store/blob/stage"
)

var (
	_ store.Blobs   = (*stage.Stage)(nil)
	_ store.TwoStep = (*stage.Stage)(nil)
)

// small is a log that the tests fill often.
var small = stage.Config{Segments: 3, SegmentSize: 64 << 10, MaxObject: 16 << 10, Quiet: 20 * time.Millisecond}

func open(t testing.TB, cfg stage.Config, fsys durable.FS, root string) *stage.Stage {
	t.Helper()
	objects, err := dir.New(fsys, root+"/blobs")
	if err != nil {
		t.Fatal(err)
	}
	cfg.FS, cfg.Dir, cfg.Next = fsys, root+"/stage", objects
	s, err := stage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closing(t testing.TB, s *stage.Stage) *stage.Stage {
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	for name, cfg := range map[string]stage.Config{"small": small, "default": {SegmentSize: 4 << 20}} {
		t.Run(name, func(t *testing.T) {
			blobtest.TestBlobs(t, func(t *testing.T) store.Blobs { return closing(t, open(t, cfg, durable.OS(), t.TempDir())) })
		})
	}
}

func TestASmallObjectCostsOneFlushAndNoFile(t *testing.T) {
	faults := durable.NewFaults(durable.NewMem(0))
	cfg := small
	cfg.Segments, cfg.Quiet = 1, time.Hour
	s := closing(t, open(t, cfg, faults, "/data"))
	syncs, opens, removes := faults.Count(durable.OpSync), faults.Count(durable.OpOpen), faults.Count(durable.OpRemove)
	blobtest.Put(t, s, "a/b/c", blobtest.Content(1, 10_000))
	if n := faults.Count(durable.OpSync) - syncs; n != 1 {
		t.Errorf("%d flushes", n)
	}
	if n := faults.Count(durable.OpOpen) - opens; n != 0 {
		t.Errorf("%d files opened", n)
	}
	if n := faults.Count(durable.OpRemove) - removes; n != 0 {
		t.Errorf("%d files removed", n)
	}
}

func TestCloseLeavesTheLogEmpty(t *testing.T) {
	mem := durable.NewMem(0)
	s := open(t, small, mem, "/data")
	want := map[string][]byte{}
	for i := range 40 {
		name := fmt.Sprintf("t/%d", i)
		want[name] = blobtest.Content(uint64(i), 400*i)
		blobtest.Put(t, s, name, want[name])
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	objects, err := dir.New(mem, "/data/blobs")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		got, err := blobtest.Get(t.Context(), objects, name, 0, -1)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if n := len(blobtest.Names(t, closing(t, open(t, small, mem, "/data")), "")); n != len(want) {
		t.Errorf("%d objects after a restart", n)
	}
}

func TestObjectsMoveWhenItIsQuiet(t *testing.T) {
	s := closing(t, open(t, small, durable.OS(), t.TempDir()))
	blobtest.Put(t, s, "a/b", []byte("x"))
	deadline := time.Now().Add(10 * time.Second)
	for n, _ := s.Staged(); n > 0; n, _ = s.Staged() {
		if time.Now().After(deadline) {
			t.Fatal("the object did not move")
		}
		time.Sleep(time.Millisecond)
	}
	if got, err := blobtest.Get(t.Context(), s, "a/b", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// While somebody stores, no more moves than makes room: the machine is wanted for
// other work.
func TestABurstMovesNoMoreThanItMust(t *testing.T) {
	cfg := small
	cfg.Segments, cfg.Quiet = 8, time.Hour
	mem := durable.NewMem(0)
	data := blobtest.Content(1, 15<<10) // four in a segment
	grown := open(t, cfg, mem, "/data")
	peertest.Eventually(t, "there are all segments", func() bool {
		blobtest.Put(t, grown, "t/first", data)
		files, err := mem.ReadDir("/data/stage")
		return err == nil && len(files) == cfg.Segments
	})
	if err := grown.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := closing(t, open(t, cfg, mem, "/data"))
	for i := range 100 {
		blobtest.Put(t, s, fmt.Sprintf("t/%d", i), data)
	}
	// Five segments of eight need not move, and the active one cannot.
	const stay = 5 * 4
	staged := func() int { n, _ := s.Staged(); return n }
	peertest.Eventually(t, "room is made", func() bool { return staged() <= stay+4 })
	if n := staged(); n < stay {
		t.Errorf("%d objects are left in the log", n)
	}
}

func TestWithoutRoomForSegmentsObjectsGoToTheirFiles(t *testing.T) {
	s := closing(t, open(t, small, durable.NewMem(400<<10), "/data")) // less than 8 segments
	data := blobtest.Content(1, 10_000)
	blobtest.Put(t, s, "a/b", data)
	if n, _ := s.Staged(); n != 0 {
		t.Errorf("%d objects are staged", n)
	}
	if got, err := blobtest.Get(t.Context(), s, "a/b", 0, -1); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAFailedFlushIsFatalAndStays(t *testing.T) {
	faults := durable.NewFaults(durable.NewMem(0))
	cfg := small
	cfg.Quiet = time.Hour
	s := open(t, cfg, faults, "/data")
	faults.Inject(durable.Fault{Op: durable.OpSync, Path: "stage", Times: 1})
	for range 2 {
		if err := s.Put(t.Context(), "a/b", -1, blobtest.Write([]byte("x"))); !durable.IsFatal(err) {
			t.Errorf("put: %v", err)
		}
	}
	if err := s.Close(t.Context()); !durable.IsFatal(err) {
		t.Errorf("close: %v", err)
	}
}

// Power fails at a random moment of several writers, deleters and the mover.
// Whatever the disk kept of what was not synced: every Put that was acknowledged
// is there, every Delete that was is not undone, and nothing is half there; and
// again after the log was used some more.
func TestCrash(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mem := durable.NewMem(0)
		w := &world{tried: map[string][]byte{}, stored: map[string]bool{}, deleted: map[string]bool{}}
		for round := range 3 {
			faults := durable.NewFaults(mem)
			s := open(t, stage.Config{Segments: 2, SegmentSize: 32 << 10, MaxObject: 9000, Quiet: time.Millisecond}, faults, "/data")
			faults.Inject(durable.Fault{After: rng.IntN(120), Err: syscall.EIO})
			w.use(t, s, seed, round)
			_ = s.Close(t.Context()) // its disk is broken
			mem.Crash(rng)
			s = open(t, small, mem, "/data")
			w.check(t, s, fmt.Sprintf("seed %d, round %d", seed, round))
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// world is what the writers know of what they did.
type world struct {
	mu      sync.Mutex
	tried   map[string][]byte
	stored  map[string]bool
	deleted map[string]bool
}

func (w *world) use(t *testing.T, s *stage.Stage, seed uint64, round int) {
	var all sync.WaitGroup
	for writer := range 3 {
		all.Go(func() {
			for i := range 10 {
				name := fmt.Sprintf("t/%d/%d-%d", i%2, round*10+writer, i)
				data := blobtest.Content(seed+uint64(writer*10+i), 1100*i)
				w.mu.Lock()
				w.tried[name] = data
				w.mu.Unlock()
				if s.Put(t.Context(), name, -1, blobtest.Write(data)) != nil {
					return
				}
				w.mu.Lock()
				w.stored[name] = i%3 != 0 // what is deleted next may be gone
				w.mu.Unlock()
				if i%3 != 0 {
					continue
				}
				if s.Delete(t.Context(), name) != nil {
					return
				}
				w.mu.Lock()
				w.deleted[name] = true
				w.mu.Unlock()
			}
		})
	}
	all.Wait()
}

func (w *world) check(t *testing.T, s *stage.Stage, when string) {
	t.Helper()
	found := map[string]bool{}
	for _, name := range blobtest.Names(t, s, "") {
		found[name] = true
		got, err := blobtest.Get(t.Context(), s, name, 0, -1)
		if err != nil || !bytes.Equal(got, w.tried[name]) {
			t.Fatalf("%s: %s has %d bytes, %v", when, name, len(got), err)
		}
		if w.deleted[name] {
			t.Fatalf("%s: %s came back", when, name)
		}
	}
	for name, kept := range w.stored {
		if kept && !found[name] {
			t.Fatalf("%s: %s was acknowledged and is lost", when, name)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	data := blobtest.Content(1, 220_000)
	for _, writers := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := open(b, stage.Config{Segments: 1, SegmentSize: 512 << 20, Quiet: time.Hour}, durable.OS(), b.TempDir()) // one that does not fill
			b.SetBytes(int64(len(data)))
			var all sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				all.Go(func() {
					for i := w; i < b.N; i += writers {
						err := s.Put(b.Context(), fmt.Sprintf("t/%d/%d", w, i), int64(len(data)), func(dst io.Writer) error {
							_, err := dst.Write(data)
							return err
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}

// A record whose head or content is damaged is one record lost, whatever comes
// before and after it, and its segment is kept.
func TestDamageCostsOneRecord(t *testing.T) {
	const objects, size = 6, 1000
	for _, at := range []int64{5, 13, 16, 21, 30, 500} { // of the record: epoch, name's length, data's length, sum, name, data
		for broken := range objects - 1 { // the last may be torn
			if broken == 0 && at == 5 {
				continue // nothing tells the epoch of a segment but its first record
			}
			mem := durable.NewMem(0)
			cfg := stage.Config{Segments: 1, SegmentSize: 64 << 10, Quiet: time.Hour}
			s := open(t, cfg, mem, "/data")
			t.Cleanup(func() { s.Close(context.Background()) }) // on files that are another's by then
			for i := range objects {
				blobtest.Put(t, s, fmt.Sprintf("t/%d", i), blobtest.Content(uint64(i), size))
			}
			f, err := mem.OpenFile("/data/stage/0000.log", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			const record = (24 + 3 + size + 7) / 8 * 8
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, int64(broken)*record+at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x10
			if _, err := f.WriteAt(b, int64(broken)*record+at); err != nil {
				t.Fatal(err)
			}
			again := open(t, cfg, mem, "/data")
			check := func(blobs store.Blobs) {
				t.Helper()
				for i := range objects {
					got, err := blobtest.Get(t.Context(), blobs, fmt.Sprintf("t/%d", i), 0, -1)
					if ok := err == nil && bytes.Equal(got, blobtest.Content(uint64(i), size)); ok == (i == broken) {
						t.Errorf("byte %d of record %d: object %d: %d bytes, %v", at, broken, i, len(got), err)
					}
				}
			}
			check(again)
			if err := again.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			files, err := mem.ReadDir("/data/stage")
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, e := range files {
				if strings.Contains(e.Name(), "damaged") {
					kept++
				}
			}
			if kept != 1 {
				t.Errorf("byte %d of record %d: %d segments are kept aside", at, broken, kept)
			}
			check(closing(t, open(t, cfg, mem, "/data")))
		}
	}
}
