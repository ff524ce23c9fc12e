package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/dir"
	"lumen/store/blob/mem"
	"lumen/store/blob/spool"
)

var _ store.Blobs = (*spool.Spool)(nil)

// remote is a remote side that can be away, hold puts up, and counts them.
type remote struct {
	mem.Blobs
	mu   sync.Mutex
	away bool
	hold chan struct{} // puts wait until it is closed; nil does not
	puts map[string]int
}

var errAway = errors.New("the server is away")

func (r *remote) set(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *remote) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.puts[name]
}

func (r *remote) check(ctx context.Context) error {
	r.mu.Lock()
	away, hold := r.away, r.hold
	r.mu.Unlock()
	if away {
		return errAway
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *remote) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	err := r.Blobs.Put(ctx, name, size, write)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.puts == nil {
			r.puts = map[string]int{}
		}
		r.puts[name]++
	}
	return err
}

func (r *remote) Delete(ctx context.Context, name string) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	return r.Blobs.Delete(ctx, name)
}

// summing is a remote that knows checksums.
type summing struct{ *remote }

func (s summing) Sum(ctx context.Context, name string) (int64, uint32, bool, error) {
	data, err := blobtest.Get(ctx, &s.Blobs, name, 0, -1)
	return int64(len(data)), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)), true, err
}

func local(t testing.TB) spool.Blobs {
	t.Helper()
	d, err := dir.New(durable.NewMem(0), "/spool")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t testing.TB, cfg spool.Config) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeSpool(t testing.TB, s *spool.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	for name, change := range map[string]func(*spool.Config){
		"acknowledged locally":        func(*spool.Config) {},
		"acknowledged by the remote":  func(c *spool.Config) { c.Ack = spool.AckRemote },
		"copies are dropped at once":  func(c *spool.Config) { c.Grace = -1 },
		"dropped at once, all remote": func(c *spool.Config) { c.Grace, c.Ack = -1, spool.AckRemote },
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.TestBlobs(t, func(t *testing.T) store.Blobs {
				cfg := spool.Config{Local: local(t), Remote: &remote{}}
				change(&cfg)
				s := open(t, cfg)
				t.Cleanup(func() { closeSpool(t, s) })
				return s
			})
		})
	}
}

// held reads what a side holds, for comparing.
func held(t *testing.T, b interface {
	spool.Blobs
}) map[string]string {
	t.Helper()
	out := map[string]string{}
	for info, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := blobtest.Get(t.Context(), b, info.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		out[info.Name] = string(data)
	}
	return out
}

// The remote is away for a minute while objects come in: none is refused, all
// can be read, and when it is back each arrives once and leaves the spool.
func TestRemoteIsAwayForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near, registry := &remote{away: true}, local(t), prometheus.NewRegistry()
		s := open(t, spool.Config{Local: near, Remote: far, Grace: time.Hour, Registerer: registry})
		want := map[string]string{}
		for i := range 60 {
			name := fmt.Sprintf("t/s/%d", i)
			data := blobtest.Content(uint64(i), 1000*i)
			want[name] = string(data)
			blobtest.Put(t, s, name, data)
			time.Sleep(time.Second)
			if got, err := blobtest.Get(t.Context(), s, name, 0, -1); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s while away: %d bytes, %v", name, len(got), err)
			}
		}
		if n := gauge(t, registry, "lumen_spool_pending_objects"); n != 60 {
			t.Errorf("%v objects are pending", n)
		}
		if n := gauge(t, registry, "lumen_spool_oldest_pending_seconds"); n < 50 || n > 61 {
			t.Errorf("the oldest has waited %v s", n)
		}
		far.set(false)
		time.Sleep(2 * time.Minute)
		if n := gauge(t, registry, "lumen_spool_pending_bytes"); n != 0 {
			t.Errorf("%v bytes are pending", n)
		}
		for name, data := range want {
			if far.count(name) != 1 {
				t.Errorf("%s was put %d times", name, far.count(name))
			}
			if held(t, far)[name] != data {
				t.Errorf("%s differs", name)
			}
		}
		if n := len(held(t, near)); n != 60 {
			t.Errorf("%d copies within the grace", n)
		}
		time.Sleep(time.Hour + time.Minute)
		if n := len(held(t, near)); n != 0 {
			t.Errorf("%d copies after the grace", n)
		}
		if n := len(held(t, s)); n != 60 {
			t.Errorf("%d objects are found", n)
		}
		if n := gauge(t, registry, "lumen_spool_copies_bytes"); n != 0 {
			t.Errorf("%v bytes of copies", n)
		}
		closeSpool(t, s)
	})
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestHighWater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := &remote{away: true}, local(t)
		s := open(t, spool.Config{Local: near, Remote: far, HighWater: 3 << 20})
		blobtest.Put(t, s, "a/1", make([]byte, 2<<20))
		for _, size := range []int64{-1, 2 << 20} {
			err := s.Put(t.Context(), "a/2", size, blobtest.Write(make([]byte, 2<<20)))
			if !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("past the mark, size %d: %v", size, err)
			}
		}
		blobtest.Put(t, s, "a/3", make([]byte, 1000))
		if got := blobtest.Names(t, s, ""); len(got) != 2 {
			t.Errorf("List = %q", got)
		}
		far.set(false)
		time.Sleep(2 * time.Minute)
		// Now copies fill the spool: they make room before their grace ends.
		for i := range 5 {
			blobtest.Put(t, s, fmt.Sprintf("b/%d", i), make([]byte, 2<<20))
			time.Sleep(time.Second)
		}
		size := 0
		for _, data := range held(t, near) {
			size += len(data)
		}
		if size > 3<<20 {
			t.Errorf("the spool holds %d bytes", size)
		}
		if n := len(held(t, s)); n != 7 {
			t.Errorf("%d objects", n)
		}
		closeSpool(t, s)
	})
}

func TestRestart(t *testing.T) {
	for name, knows := range map[string]bool{"remote with checksums": true, "remote without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far, near := &remote{}, local(t)
				var side spool.Blobs = far
				if knows {
					side = summing{far}
				}
				s := open(t, spool.Config{Local: near, Remote: side})
				blobtest.Put(t, s, "a/uploaded", []byte("one"))
				time.Sleep(time.Second)
				far.set(true)
				blobtest.Put(t, s, "a/waiting", []byte("two"))
				blobtest.Put(t, s, "a/damaged", []byte("three"))
				time.Sleep(time.Second)
				closeSpool(t, s)
				if err := s.Put(t.Context(), "a/late", -1, blobtest.Write(nil)); err == nil {
					t.Error("Put after Close")
				}
				blobtest.Put(t, &far.Blobs, "a/damaged", []byte("other"))
				far.set(false)
				s = open(t, spool.Config{Local: near, Remote: side})
				time.Sleep(time.Minute)
				want := map[string]string{"a/uploaded": "one", "a/waiting": "two", "a/damaged": "three"}
				for name, data := range want {
					if got := held(t, far)[name]; got != data {
						t.Errorf("%s is %q in the remote", name, got)
					}
				}
				if n := far.count("a/uploaded"); knows && n != 1 {
					t.Errorf("what the remote had was put %d times", n)
				}
				closeSpool(t, s)
			})
		})
	}
}

func TestAckRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &remote{away: true}
		s := open(t, spool.Config{Local: local(t), Remote: far, Ack: spool.AckRemote})
		start := time.Now()
		done := make(chan error)
		go func() { done <- s.Put(context.Background(), "a/b", -1, blobtest.Write([]byte("x"))) }()
		time.Sleep(10 * time.Second)
		far.set(false)
		if err := <-done; err != nil || time.Since(start) < 10*time.Second || far.count("a/b") != 1 {
			t.Errorf("Put = %v after %v, %d puts", err, time.Since(start), far.count("a/b"))
		}
		far.set(true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Put(ctx, "a/c", -1, blobtest.Write([]byte("x"))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put that was given up: %v", err)
		}
		far.set(false)
		time.Sleep(2 * time.Minute)
		if got := held(t, s); len(got) != 1 || far.count("a/c") != 0 {
			t.Errorf("what was given up is there: %v", got)
		}
		far.set(true)
		go func() { done <- s.Put(context.Background(), "a/d", -1, blobtest.Write([]byte("x"))) }()
		time.Sleep(time.Second)
		closeSpool(t, s)
		if err := <-done; err == nil {
			t.Error("Put was acknowledged by a spool that was closed")
		}
	})
}

func TestReplaceAndDeleteWhileUploading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &remote{hold: make(chan struct{})}
		s := open(t, spool.Config{Local: local(t), Remote: far, Grace: -1})
		blobtest.Put(t, s, "a/replaced", []byte("old"))
		blobtest.Put(t, s, "a/deleted", []byte("x"))
		synctest.Wait() // both are being uploaded
		blobtest.Put(t, s, "a/replaced", []byte("the new one"))
		deleted := make(chan error)
		go func() { deleted <- s.Delete(context.Background(), "a/deleted") }()
		synctest.Wait()
		close(far.hold)
		if err := <-deleted; err != nil {
			t.Errorf("Delete = %v", err)
		}
		time.Sleep(time.Minute)
		got := held(t, far)
		if len(got) != 1 || got["a/replaced"] != "the new one" {
			t.Errorf("the remote holds %v", got)
		}
		closeSpool(t, s)
	})
}

// A Delete that the remote did not see can be repeated; until then the object may
// be there.
func TestDeleteNeedsTheRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &remote{}
		s := open(t, spool.Config{Local: local(t), Remote: far})
		blobtest.Put(t, s, "a/b", []byte("x"))
		time.Sleep(time.Second)
		far.set(true)
		if err := s.Delete(t.Context(), "a/b"); !errors.Is(err, errAway) {
			t.Errorf("Delete = %v", err)
		}
		far.set(false)
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Errorf("Delete = %v", err)
		}
		if got := held(t, s); len(got) != 0 {
			t.Errorf("%v is left", got)
		}
		closeSpool(t, s)
	})
}

// One object that cannot be uploaded holds up no other.
func TestPoisonedObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &poisoned{}
		s := open(t, spool.Config{Local: local(t), Remote: far, Workers: 1})
		blobtest.Put(t, s, "a/poison", []byte("x"))
		for i := range 10 {
			blobtest.Put(t, s, fmt.Sprintf("a/%d", i), []byte("x"))
		}
		time.Sleep(5 * time.Minute)
		if n := len(held(t, &far.Blobs)); n != 10 {
			t.Errorf("%d objects arrived", n)
		}
		closeSpool(t, s)
	})
}

type poisoned struct{ mem.Blobs }

func (p *poisoned) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if name == "a/poison" {
		return errAway
	}
	return p.Blobs.Put(ctx, name, size, write)
}

// A failed sync in the background reaches whoever can end the process.
func TestFatalErrorsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := durable.NewFaults(durable.NewMem(0))
		near, err := dir.New(faults, "/spool")
		if err != nil {
			t.Fatal(err)
		}
		fatal := make(chan error, 10)
		s := open(t, spool.Config{Local: near, Remote: &remote{}, Grace: time.Minute, Fatal: func(err error) { fatal <- err }})
		blobtest.Put(t, s, "a/b", []byte("x"))
		faults.Inject(durable.Fault{Op: durable.OpSyncDir, Times: 1})
		if err := <-fatal; !durable.IsFatal(err) {
			t.Errorf("reported %v", err)
		}
		closeSpool(t, s)
	})
}

func TestMetricsAreWellFormed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := open(t, spool.Config{Local: &mem.Blobs{}, Remote: &mem.Blobs{}, Registerer: registry})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if _, err := spool.Open(t.Context(), spool.Config{Local: &mem.Blobs{}, Remote: &mem.Blobs{}, Registerer: registry}); err == nil {
		t.Error("two spools in one registry")
	}
	closeSpool(t, s)
	if n, err := testutil.GatherAndCount(registry); n != 0 || err != nil {
		t.Errorf("%d metrics are left, %v", n, err)
	}
}

var _ spool.Summer = summing{}
