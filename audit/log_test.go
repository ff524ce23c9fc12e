package audit_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"lumen/audit"
	"lumen/internal/durable"
)

func TestRecordsComeBack(t *testing.T) {
	for _, tc := range []struct {
		name string
		home func(t *testing.T) home
	}{
		{"mem", func(t *testing.T) home { h, _ := memHome(t); return h }},
		{"os", func(t *testing.T) home { return newHome(t, durable.OS(), t.TempDir()) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := tc.home(t)
			l := h.open(t)
			checkFilled(t, l, 0, 0)
			const n = 700 // several segments
			fill(t, l, 0, n)
			for _, from := range []uint64{0, 1, 255, 256, n - 1, n, n + 5} {
				checkFilled(t, l, from, max(0, n-int(from)))
			}
			closeLog(t, l)
			l = h.open(t)
			if l.Size() != n || l.Recovery() != (audit.Recovery{Records: n}) {
				t.Errorf("reopened with %d records, %+v", l.Size(), l.Recovery())
			}
			checkFilled(t, l, 0, n)
			fill(t, l, n, n+10)
			checkFilled(t, l, 0, n+10)
			closeLog(t, l)
		})
	}
}

func TestManyCallersShareGroups(t *testing.T) {
	mem := durable.NewMem(0)
	faults := durable.NewFaults(mem)
	h := newHome(t, faults, "/a")
	l := h.open(t)
	const callers, each = 16, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			last := uint64(0)
			for i := range each {
				next, err := l.Append(t.Context(), record(c*each+i), record(c*each+i))
				if err != nil || next < last+2 {
					t.Errorf("append: %d after %d, %v", next, last, err)
				}
				last = next
			}
		})
	}
	wg.Wait()
	all := replayed(t, l, 0)
	if len(all) != 2*callers*each {
		t.Fatalf("%d records", len(all))
	}
	for i := 0; i < len(all); i += 2 {
		if string(all[i].Payload) != string(all[i+1].Payload) {
			t.Fatal("the records of one call are not adjacent")
		}
	}
	closeLog(t, l)
}

func TestPostPrecedesLaterAppend(t *testing.T) {
	h, mem := memHome(t)
	l := h.open(t)
	for i := range 200 {
		if i%10 == 9 {
			fill(t, l, i, i+1)
		} else {
			l.Post(record(i))
		}
	}
	checkFilled(t, l, 0, 200)
	mem.Crash(nil) // what was appended after a post made the post durable
	l.Close(context.Background())
	l = h.open(t)
	checkFilled(t, l, 0, 200)
	for i := 200; i < 300; i++ {
		l.Post(record(i))
	}
	closeLog(t, l) // and so does Close
	l = h.open(t)
	checkFilled(t, l, 0, 300)
	closeLog(t, l)
}

func TestOneProcessAppends(t *testing.T) {
	h := newHome(t, durable.OS(), t.TempDir())
	l := h.open(t)
	if _, err := audit.Open(t.Context(), h.config()); !errors.Is(err, audit.ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	closeLog(t, l)
	closeLog(t, h.open(t))
}

func TestClosedLogRefuses(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	closeLog(t, l)
	if _, err := l.Append(t.Context(), record(0)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("Append: %v", err)
	}
	l.Post(record(0))
	if err := l.Close(t.Context()); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

func TestRecordsThatDoNotFit(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	for name, r := range map[string]audit.Record{
		"no code":              {},
		"code with a dot":      {Code: "1.2.840"},
		"request with a dot":   {Code: audit.Query, Request: "1.2.3"},
		"object with a blank":  {Code: audit.Query, Object: "a b"},
		"negative count":       {Code: audit.Query, Bytes: -1},
		"payload of a segment": {Code: audit.Query, Payload: make([]byte, 64<<10)},
	} {
		if _, err := l.Append(t.Context(), record(0), r); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fill(t, l, 0, 1) // the log is well
	closeLog(t, l)
}

func TestCancelledAppendReturns(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, record(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append: %v", err)
	}
	closeLog(t, l)
}

func TestAnotherSigningKeyIsRefused(t *testing.T) {
	h, _ := memHome(t)
	closeLog(t, h.open(t))
	other, err := audit.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	h.key = other
	if _, err := audit.Open(t.Context(), h.config()); err == nil {
		t.Error("a journal was opened with another key")
	}
}

func TestSegmentSizeMayChange(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, 300)
	closeLog(t, l)
	cfg := h.config()
	cfg.SegmentSize = 128 << 10
	l, err := audit.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), audit.Record{Code: audit.Query, Payload: make([]byte, 100<<10)}); err != nil {
		t.Errorf("a payload that only the new size holds: %v", err)
	}
	closeLog(t, l)
}
