// Package blobtest is the conformance suite of store.Blobs: every
// implementation runs it. The comments of the interface are the contract, each
// subtest holds one sentence of it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/store"
	"lumen/store/blob"
)

// TestBlobs runs the suite. New returns an empty store.Blobs for each subtest.
func TestBlobs(t *testing.T, open func(t *testing.T) store.Blobs) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b store.Blobs)
	}{
		{"what is put can be read, in any range", putAndOpen},
		{"a large object streams", large},
		{"a second put replaces the first", replace},
		{"a put that fails leaves nothing", failedPut},
		{"a put that fails leaves the old object", failedReplace},
		{"another size than announced is an error", wrongSize},
		{"a put that panics leaves nothing", panickingPut},
		{"a cancelled put leaves nothing", cancelledPut},
		{"what is not there is not found", notFound},
		{"malformed names are refused", malformedNames},
		{"list yields what has the prefix", list},
		{"list ends when told to", listEnds},
		{"delete removes, and again is no error", remove},
		{"many may put, list, open and delete at once", concurrent},
		{"errors hold no names", errorsHoldNoNames},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Content is n bytes that depend on seed.
func Content(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	src.Read(b)
	return b
}

// Write returns what Put wants, for data, in pieces of a size that is odd.
func Write(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		for piece := range slices.Chunk(data, 99_991) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}
}

// Put stores data or ends the test.
func Put(t testing.TB, b store.Blobs, name string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), name, int64(len(data)), Write(data)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// Get reads a range.
func Get(ctx context.Context, b store.Blobs, name string, off, n int64) ([]byte, error) {
	rc, err := b.Open(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(rc)
	return data, errors.Join(err, rc.Close())
}

func mustEqual(t *testing.T, b store.Blobs, name string, want []byte) {
	t.Helper()
	got, err := Get(t.Context(), b, name, 0, -1)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, not the %d that were put", len(got), len(want))
	}
}

func mustBeAbsent(t *testing.T, b store.Blobs, name string) {
	t.Helper()
	if _, err := b.Stat(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat = %v, want ErrNotFound", err)
	}
	if names := Names(t, b, ""); slices.Contains(names, name) {
		t.Errorf("listed as %q", names)
	}
}

// Names lists, sorted.
func Names(t testing.TB, b store.Blobs, prefix string) []string {
	t.Helper()
	var names []string
	for info, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

func putAndOpen(t *testing.T, b store.Blobs) {
	before := time.Now().Add(-time.Minute)
	for i, size := range []int{0, 1, 1000, 300_000} {
		name := fmt.Sprintf("tenant/study/%d", i)
		data := Content(uint64(i), size)
		announced := int64(size)
		if i%2 == 1 {
			announced = -1
		}
		if err := b.Put(t.Context(), name, announced, Write(data)); err != nil {
			t.Fatalf("Put of %d bytes: %v", size, err)
		}
		mustEqual(t, b, name, data)
		info, err := b.Stat(t.Context(), name)
		if err != nil || info.Name != name || info.Size != int64(size) || info.ModTime.Before(before) || info.ModTime.After(time.Now().Add(time.Minute)) {
			t.Errorf("Stat = %+v, %v", info, err)
		}
		for _, r := range [][2]int64{{0, 0}, {0, 1}, {0, -1}, {10, 20}, {990, 20}, {999, 1}, {999, -1}, {1000, 5}, {1000, -1}, {5000, 5}, {5000, -1}, {100, 250_000}} {
			off, n := r[0], r[1]
			want := data[min(off, int64(size)):]
			if n >= 0 {
				want = want[:min(n, int64(len(want)))]
			}
			got, err := Get(t.Context(), b, name, off, n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("range %d+%d of %d: %d bytes, %v", off, n, size, len(got), err)
			}
		}
	}
}

func large(t *testing.T, b store.Blobs) {
	data := Content(7, 11<<20+12345)
	for i, size := range []int64{int64(len(data)), -1} {
		name := fmt.Sprintf("large/%d", i)
		if err := b.Put(t.Context(), name, size, Write(data)); err != nil {
			t.Fatalf("Put with size %d: %v", size, err)
		}
		mustEqual(t, b, name, data)
		got, err := Get(t.Context(), b, name, 7<<20, 1<<20)
		if err != nil || !bytes.Equal(got, data[7<<20:8<<20]) {
			t.Errorf("range: %d bytes, %v", len(got), err)
		}
		// A reader that leaves early is no problem.
		rc, err := b.Open(t.Context(), name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, rc, 1000); err != nil {
			t.Error(err)
		}
		if err := rc.Close(); err != nil {
			t.Errorf("Close after some bytes: %v", err)
		}
	}
}

func replace(t *testing.T, b store.Blobs) {
	Put(t, b, "a/b", Content(1, 5000))
	Put(t, b, "a/b", Content(2, 100))
	mustEqual(t, b, "a/b", Content(2, 100))
	if names := Names(t, b, ""); len(names) != 1 {
		t.Errorf("List = %q", names)
	}
}

var errWrite = errors.New("the source ended")

// halfway writes some of size bytes and then fails.
func halfway(size int) func(io.Writer) error {
	return func(w io.Writer) error {
		if err := Write(Content(3, size))(w); err != nil {
			return err
		}
		return errWrite
	}
}

func failedPut(t *testing.T, b store.Blobs) {
	for _, size := range []int{0, 10, 11 << 20} {
		for _, announced := range []int64{-1, int64(2*size + 10)} {
			if err := b.Put(t.Context(), "a/b", announced, halfway(size)); !errors.Is(err, errWrite) {
				t.Errorf("after %d of %d bytes: %v", size, announced, err)
			}
			mustBeAbsent(t, b, "a/b")
		}
	}
	Put(t, b, "a/b", []byte("works again"))
}

func failedReplace(t *testing.T, b store.Blobs) {
	Put(t, b, "a/b", []byte("old"))
	if err := b.Put(t.Context(), "a/b", -1, halfway(100_000)); !errors.Is(err, errWrite) {
		t.Errorf("error %v", err)
	}
	mustEqual(t, b, "a/b", []byte("old"))
}

func wrongSize(t *testing.T, b store.Blobs) {
	for _, announced := range []int64{0, 99, 101, 12 << 20} {
		if err := b.Put(t.Context(), "a/b", announced, Write(make([]byte, 100))); err == nil {
			t.Errorf("100 bytes announced as %d were taken", announced)
		}
		mustBeAbsent(t, b, "a/b")
	}
}

func panickingPut(t *testing.T, b store.Blobs) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = b.Put(t.Context(), "a/b", -1, func(w io.Writer) error {
			_, _ = w.Write([]byte("x"))
			panic("in write")
		})
	}()
	mustBeAbsent(t, b, "a/b")
	Put(t, b, "a/b", []byte("works again"))
}

func cancelledPut(t *testing.T, b store.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	err := b.Put(ctx, "a/b", -1, func(w io.Writer) error {
		if err := Write(make([]byte, 200_000))(w); err != nil {
			return err
		}
		cancel()
		return Write(make([]byte, 200_000))(w)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled within: %v", err)
	}
	mustBeAbsent(t, b, "a/b")
	called := false
	err = b.Put(ctx, "a/b", -1, func(io.Writer) error { called = true; return nil })
	if !errors.Is(err, context.Canceled) || called {
		t.Errorf("cancelled before: %v, write called: %v", err, called)
	}
	mustBeAbsent(t, b, "a/b")
	for what, err := range map[string]error{
		"Open":   second(b.Open(ctx, "a/b", 0, -1)),
		"Stat":   second(b.Stat(ctx, "a/b")),
		"Delete": b.Delete(ctx, "a/b"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func notFound(t *testing.T, b store.Blobs) {
	Put(t, b, "a/b/c", []byte("x"))
	for _, name := range []string{"a/b/d", "a/b", "a", "x/y/z"} {
		if _, err := Get(t.Context(), b, name, 0, -1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Open(%q) = %v", name, err)
		}
		if _, err := Get(t.Context(), b, name, 5, 10); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Open(%q) of a range = %v", name, err)
		}
		mustBeAbsent(t, b, name)
		if err := b.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%q) = %v", name, err)
		}
	}
	mustEqual(t, b, "a/b/c", []byte("x"))
}

func malformedNames(t *testing.T, b store.Blobs) {
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", ".tmp/x", "A", "a b", "a\\b", "a\x00", strings.Repeat("a", 65)} {
		for what, err := range map[string]error{
			"Put":    b.Put(t.Context(), name, 0, Write(nil)),
			"Open":   second(b.Open(t.Context(), name, 0, -1)),
			"Stat":   second(b.Stat(t.Context(), name)),
			"Delete": b.Delete(t.Context(), name),
		} {
			if !errors.Is(err, blob.ErrName) {
				t.Errorf("%s(%q) = %v", what, name, err)
			}
		}
	}
	for _, prefix := range []string{"a", "/", "../", "a//", "A/"} {
		for _, err := range b.List(t.Context(), prefix) {
			if !errors.Is(err, blob.ErrName) {
				t.Errorf("List(%q) = %v", prefix, err)
			}
		}
	}
}

func list(t *testing.T, b store.Blobs) {
	if names := Names(t, b, ""); len(names) != 0 {
		t.Fatalf("it was not empty: %q", names)
	}
	all := []string{"a/1", "a/2/3", "a-b/1", "ab/1", "z"}
	for i, name := range all {
		Put(t, b, name, make([]byte, i+1))
	}
	for _, tc := range []struct {
		prefix string
		want   []string
	}{
		{"", []string{"a-b/1", "a/1", "a/2/3", "ab/1", "z"}},
		{"a/", []string{"a/1", "a/2/3"}},
		{"a/2/", []string{"a/2/3"}},
		{"a/1/", nil},
		{"b/", nil},
		{"z/", nil},
	} {
		if got := Names(t, b, tc.prefix); !slices.Equal(got, tc.want) {
			t.Errorf("List(%q) = %q, want %q", tc.prefix, got, tc.want)
		}
	}
	for info := range b.List(t.Context(), "") {
		if want := int64(slices.Index(all, info.Name) + 1); info.Size != want || time.Since(info.ModTime) > time.Hour {
			t.Errorf("List yields %+v, want %d bytes", info, want)
		}
	}
}

func listEnds(t *testing.T, b store.Blobs) {
	for i := range 20 {
		Put(t, b, fmt.Sprintf("a/%d", i), nil)
	}
	count := 0
	for range b.List(t.Context(), "") {
		if count++; count == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range b.List(ctx, "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List with a cancelled context: %v", last)
	}
}

func remove(t *testing.T, b store.Blobs) {
	Put(t, b, "a/b/1", []byte("1"))
	Put(t, b, "a/b/2", []byte("2"))
	for range 2 {
		if err := b.Delete(t.Context(), "a/b/1"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		mustBeAbsent(t, b, "a/b/1")
	}
	mustEqual(t, b, "a/b/2", []byte("2"))
	if err := b.Delete(t.Context(), "a/b/2"); err != nil {
		t.Fatal(err)
	}
	Put(t, b, "a/b/1", []byte("again"))
	mustEqual(t, b, "a/b/1", []byte("again"))
}

func concurrent(t *testing.T, b store.Blobs) {
	const workers, rounds = 8, 6
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				// Two workers share a folder, which comes and goes.
				name := fmt.Sprintf("t/%d/%d-%d", w/2, w, r)
				data := Content(uint64(w*100+r), 10_000*r+w)
				if err := b.Put(t.Context(), name, int64(len(data)), Write(data)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if err := b.Put(t.Context(), "t/shared", -1, Write(Content(9, 5000))); err != nil {
					t.Errorf("Put of one name by all: %v", err)
				}
				if got, err := Get(t.Context(), b, name, 0, -1); err != nil || !bytes.Equal(got, data) {
					t.Errorf("Open: %d bytes, %v", len(got), err)
				}
				if got, err := Get(t.Context(), b, "t/shared", 0, -1); err != nil || !bytes.Equal(got, Content(9, 5000)) {
					t.Errorf("Open of what all put: %d bytes, %v", len(got), err)
				}
				for _, err := range b.List(t.Context(), "t/") {
					if err != nil {
						t.Errorf("List: %v", err)
					}
				}
				if r%2 == 0 {
					if err := b.Delete(t.Context(), name); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(Names(t, b, "")), workers*rounds/2+1; got != want {
		t.Errorf("%d objects, want %d", got, want)
	}
}

func errorsHoldNoNames(t *testing.T, b store.Blobs) {
	const name = "hidden/in/errors"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Put(t, b, "hidden/in/errors/folder", nil)
	for what, err := range map[string]error{
		"Open":      second(b.Open(t.Context(), name, 0, -1)),
		"Stat":      second(b.Stat(t.Context(), name)),
		"Put":       b.Put(t.Context(), name+"2", 5, Write(nil)),
		"cancelled": second(b.Open(ctx, name, 0, -1)),
	} {
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
