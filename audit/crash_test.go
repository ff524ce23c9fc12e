package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lumen/audit"
	"lumen/internal/durable"
)

// trial appends until the first error and says how many were acknowledged.
func trial(ctx context.Context, h home, n int) (acknowledged int, err error) {
	cfg := h.config()
	cfg.SegmentSize = 32 << 10
	cfg.Reserve = 1
	l, err := audit.Open(ctx, cfg)
	if err != nil {
		return 0, err
	}
	from := int(l.Size())
	for i := from; i < from+n && err == nil; i++ {
		if _, err = l.Append(ctx, record(i)); err == nil {
			acknowledged = i + 1
		}
	}
	return acknowledged, errors.Join(err, l.Close(ctx))
}

// The process dies at any operation on files, with or without the operation's
// effect, and the disk keeps any part of what was not synced.
func TestCrashAtEveryOperation(t *testing.T) {
	const n = 45 // two segments
	count := durable.NewFaults(durable.NewMem(0))
	if _, err := trial(t.Context(), newHome(t, count, "/audit"), n); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []durable.Fault{{}, {Persists: true}, {Short: 700, Err: syscall.ENOSPC}} {
		t.Run(fmt.Sprintf("persists=%v,short=%d", fault.Persists, fault.Short), func(t *testing.T) {
			total := count.Count("")
			for at := 0; at < total; at++ {
				mem := durable.NewMem(0)
				h := newHome(t, mem, "/audit")
				faults := durable.NewFaults(mem)
				fault.After, fault.Times = at, 0
				faults.Inject(fault)
				broken := h
				broken.fsys = faults
				acknowledged, _ := trial(t.Context(), broken, n)
				rng := rand.New(rand.NewPCG(uint64(at), 7))
				if at%3 == 0 {
					rng = nil
				}
				mem.Crash(rng)
				checkAfterCrash(t, h, acknowledged, n, at)
			}
		})
	}
}

// A longer journal trusts its hash files up to a segment and reads no further
// back; some of the same crashes try that.
func TestCrashOfALongerJournal(t *testing.T) {
	const n = 170 // six segments
	count := durable.NewFaults(durable.NewMem(0))
	if _, err := trial(t.Context(), newHome(t, count, "/audit"), n); err != nil {
		t.Fatal(err)
	}
	for at := 11; at < count.Count(""); at += 23 {
		mem := durable.NewMem(0)
		h := newHome(t, mem, "/audit")
		faults := durable.NewFaults(mem)
		faults.Inject(durable.Fault{After: at, Persists: at%2 == 0})
		broken := h
		broken.fsys = faults
		acknowledged, _ := trial(t.Context(), broken, n)
		mem.Crash(rand.New(rand.NewPCG(uint64(at), 8)))
		checkAfterCrash(t, h, acknowledged, n, at)
	}
}

func TestOpenReadsOnlyTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, mem := memHome(t)
		l := h.open(t)
		for i := range 400 {
			fill(t, l, i, i+1)
			synctest.Wait() // the upkeep keeps up, as it does when segments take minutes
		}
		closeLog(t, l)
		segments := wantClean(t, h, 400).Segments
		if segments < 4 {
			t.Fatalf("%d segments", segments)
		}
		faults := durable.NewFaults(mem)
		for i := range segments - 2 { // only their headers can be read
			faults.Inject(durable.Fault{Op: durable.OpRead, Path: fmt.Sprintf("%08d.seg", i), After: 1})
		}
		h.fsys = faults
		closeLog(t, h.open(t))
	})
}

func checkAfterCrash(t *testing.T, h home, acknowledged, n, at int) {
	t.Helper()
	l, err := audit.Open(t.Context(), h.config())
	if err != nil {
		t.Fatalf("crash at operation %d: %v", at, err)
	}
	found := int(l.Recovery().Records)
	if found < acknowledged || found > n {
		t.Fatalf("crash at operation %d: %d records, %d were acknowledged", at, found, acknowledged)
	}
	for e, err := range l.Replay(t.Context(), 0) {
		if err != nil {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
		if e.Index < uint64(found) && string(e.Payload) != string(record(int(e.Index)).Payload) {
			t.Fatalf("crash at operation %d: record %d is another", at, e.Index)
		}
	}
	for i := range 3 {
		if _, err := l.Append(t.Context(), record(i)); err != nil {
			t.Fatalf("crash at operation %d: append afterwards: %v", at, err)
		}
	}
	closeLog(t, l)
	if r, err := h.verify(t); err != nil || r.Tail != 0 {
		t.Fatalf("crash at operation %d: %v\n%s", at, err, r.String())
	}
}

// A fault that passes: one operation fails, the log says so or goes on, and
// what it acknowledged is there.
func TestEveryOperationFailsOnce(t *testing.T) {
	const n = 45
	count := durable.NewFaults(durable.NewMem(0))
	if _, err := trial(t.Context(), newHome(t, count, "/audit"), n); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < count.Count(""); at++ {
		mem := durable.NewMem(0)
		h := newHome(t, mem, "/audit")
		faults := durable.NewFaults(mem)
		faults.Inject(durable.Fault{After: at, Times: 1, Short: 300})
		broken := h
		broken.fsys = faults
		first, err := trial(t.Context(), broken, n)
		second := 0
		if err != nil && !durable.IsFatal(err) {
			if second, err = trial(t.Context(), broken, 5); err != nil {
				t.Fatalf("operation %d failed once: opened again: %v", at, err)
			}
		}
		checkAfterCrash(t, h, max(first, second), 2*n, at)
	}
}

func TestFailedSyncIsFatalAndSticky(t *testing.T) {
	for _, persists := range []bool{false, true} {
		mem := durable.NewMem(0)
		h := newHome(t, mem, "/audit")
		faults := durable.NewFaults(mem)
		broken := h
		broken.fsys = faults
		l := broken.open(t)
		fill(t, l, 0, 5)
		faults.Inject(durable.Fault{Op: durable.OpSync, Path: "segments", Times: 1, Persists: persists})
		for range 3 {
			if _, err := l.Append(t.Context(), record(5)); !durable.IsFatal(err) {
				t.Errorf("append: %v", err)
			}
			if !durable.IsFatal(l.Err()) {
				t.Errorf("Err: %v", l.Err())
			}
		}
		if l.Size() != 5 {
			t.Errorf("size %d", l.Size())
		}
		l.Post(record(6))
		if err := l.Close(t.Context()); !durable.IsFatal(err) {
			t.Errorf("Close: %v", err)
		}
		mem.Crash(nil)
		checkAfterCrash(t, h, 5, 6, -1)
	}
}

func TestFullDiskStopsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := durable.NewMem(4 << 20)
		h := newHome(t, mem, "/audit")
		l := h.open(t)
		hog, err := mem.OpenFile("/hog", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the reserve is there
		free, _, _ := mem.Free("/")
		if _, err := hog.Write(make([]byte, free)); err != nil {
			t.Fatal(err)
		}
		i := 0
		for ; ; i++ {
			if _, err = l.Append(t.Context(), record(i)); err != nil {
				break
			}
		}
		if !errors.Is(err, audit.ErrFull) || durable.IsFatal(err) || !errors.Is(l.Err(), audit.ErrFull) || i < 200 {
			t.Errorf("after %d records in three segments: %v, Err %v", i, err, l.Err())
		}
		checkFilled(t, l, 0, i) // reading goes on
		l.Post(record(i))
		if _, err = l.Append(t.Context(), record(0)); !errors.Is(err, audit.ErrFull) {
			t.Errorf("still full: %v", err)
		}
		time.Sleep(3 * time.Second)
		if l.Err() == nil {
			t.Error("Err is nil while the disk is full")
		}
		if err := hog.Truncate(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // nobody calls: the log finds out by itself
		if l.Err() != nil {
			t.Errorf("after making room: %v", l.Err())
		}
		fill(t, l, i+1, i+50)
		checkFilled(t, l, 0, i+50) // the posted one is before them
		closeLog(t, l)
		wantClean(t, h, uint64(i+50))
	})
}

func TestLostPostsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := durable.NewMem(0)
		faults := durable.NewFaults(mem)
		h := newHome(t, faults, "/audit")
		l := h.open(t)
		fill(t, l, 0, 1)
		synctest.Wait()
		faults.Inject(durable.Fault{Op: durable.OpWrite, Path: "segments", Err: syscall.ENOSPC})
		const posted = 20000
		for range posted {
			l.Post(audit.Record{Code: audit.AssociationRejected})
		}
		synctest.Wait()
		faults.Clear()
		time.Sleep(3 * time.Second)
		if l.Err() != nil {
			t.Fatal(l.Err())
		}
		kept, lost := 0, int64(0)
		for _, e := range replayed(t, l, 1) {
			switch e.Leaf.Code {
			case audit.AssociationRejected:
				kept++
			case audit.JournalRecordsLost:
				lost += e.Leaf.Instances
			}
		}
		if kept == 0 || lost == 0 || int64(kept)+lost != posted {
			t.Errorf("%d kept and %d said to be lost, of %d", kept, lost, posted)
		}
		closeLog(t, l)
		wantClean(t, h, l.Size())
	})
}

func TestCheckpointEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := memHome(t)
		l := h.open(t)
		for i := range 20 {
			fill(t, l, i, i+1)
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			signed := string(h.read(t, "checkpoint"))
			if !strings.HasPrefix(signed, fmt.Sprintf("%s\n%d\n", origin, i+1)) || signed != string(l.Checkpoint()) {
				t.Fatalf("after record %d:\n%s", i, signed)
			}
			if r, err := h.verify(t); err != nil || r.Unsigned != 0 {
				t.Fatalf("while it runs: %v\n%s", err, r.String())
			}
		}
		frames, _ := parseFrames(h.read(t, segmentFile(0)))
		time.Sleep(time.Hour) // idle: nothing is signed again
		after, _ := parseFrames(h.read(t, segmentFile(0)))
		if len(frames) != len(after) {
			t.Errorf("%d frames became %d while nothing happened", len(frames), len(after))
		}
		closeLog(t, l)
	})
}

func TestTornTailIsCutAndReported(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, 30)
	closeLog(t, l)
	frames, offsets := parseFrames(h.read(t, segmentFile(0)))
	last := len(frames) - 1
	end := offsets[last] + (32+len(frames[last].body)+7)&^7
	h.edit(t, segmentFile(0), func(b []byte) []byte { // the beginning of a record behind the last
		copy(b[end:], b[offsets[3]:offsets[3]+50])
		return b
	})
	if r, err := h.verify(t); err != nil || r.Tail == 0 {
		t.Errorf("verify: %v\n%s", err, r.String())
	}
	l = h.open(t)
	r := l.Recovery()
	if r.Records != 30 || r.Segment != "00000000.seg" || r.Offset != int64(end) || r.Discarded == 0 {
		t.Errorf("recovery %+v, want offset %d", r, end)
	}
	fill(t, l, 31, 32)
	all := replayed(t, l, 30)
	if len(all) != 2 || all[0].Leaf.Code != audit.JournalTailDiscarded || all[0].Leaf.Bytes != r.Discarded {
		t.Errorf("the journal says %+v", all[0].Leaf)
	}
	closeLog(t, l)
	wantClean(t, h, 32)
}

// What contradicts a signed checkpoint is not repaired, it is refused.
func TestOpenRefusesWhatContradictsItsCheckpoint(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, h home)
		want   string
	}{
		{"records cut", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte {
				frames, offsets := parseFrames(b)
				clear(b[offsets[locate(frames, 25)]:])
				return b
			})
		}, "the checkpoint of 30 records was signed, but the journal ends at record 25"},
		{"record altered", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { f[locate(f, 20)].body[2+140] ^= 1; return f })
		}, "checkpoint"},
		{"record damaged", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte {
				frames, offsets := parseFrames(b)
				b[offsets[locate(frames, 20)]+90] ^= 1
				return b
			})
		}, "record 20, offset"},
		{"segments gone", func(t *testing.T, h home) {
			for i := range 3 {
				remove(t, h, segmentFile(i))
			}
		}, "there are no segments"},
		{"checkpoint gone", func(t *testing.T, h home) { remove(t, h, "checkpoint") }, "the checkpoint file is missing"},
		{"checkpoint altered", func(t *testing.T, h home) { h.edit(t, "checkpoint", flip(30)) }, "the checkpoint file"},
		{"header damaged", func(t *testing.T, h home) { h.edit(t, segmentFile(0), flip(30)) }, "segment 0 has records"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, _ := memHome(t)
			l := h.open(t)
			fill(t, l, 0, 30)
			closeLog(t, l)
			tc.tamper(t, h)
			_, err := audit.Open(t.Context(), h.config())
			if !errors.Is(err, audit.ErrTampered) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestHashFilesAreMadeAgain(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, 700)
	closeLog(t, l)
	want := h.read(t, "hashes/0")
	remove(t, h, "hashes/0")
	remove(t, h, "hashes/1")
	closeLog(t, h.open(t))
	if string(h.read(t, "hashes/0")) != string(want) || len(want) != 700*32 {
		t.Error("the hash file is another")
	}
	wantClean(t, h, 700)
}

// While the disk is full the checkpoint file may fall behind the segments by
// far: the hash files have the tree that it signs.
func TestOldCheckpointFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := memHome(t)
		l := h.open(t)
		fill(t, l, 0, 30)
		closeLog(t, l)
		old := h.read(t, "checkpoint")
		l = h.open(t)
		for i := 30; i < 400; i++ {
			fill(t, l, i, i+1)
			synctest.Wait()
		}
		closeLog(t, l)
		h.write(t, "checkpoint", old)
		if r, err := h.verify(t); err != nil || r.Unsigned != 370 {
			t.Errorf("verify: %v\n%s", err, r.String())
		}
		l = h.open(t)
		checkFilled(t, l, 0, 400)
		time.Sleep(2 * time.Second)
		closeLog(t, l)
		wantClean(t, h, 400)

		h.write(t, "checkpoint", old)
		h.edit(t, "hashes/0", flip(32*7))
		if _, err := audit.Open(t.Context(), h.config()); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("with other hashes: %v", err)
		}
	})
}

func TestReserveIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := memHome(t)
		cfg := h.config()
		cfg.Reserve = 3
		l, err := audit.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			fill(t, l, i, i+1)
			synctest.Wait()
			if l.Reserve() != 3 {
				t.Fatalf("%d segments in reserve after record %d", l.Reserve(), i)
			}
		}
		closeLog(t, l)
	})
}
