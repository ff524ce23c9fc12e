package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lumen/store"
	"lumen/store/blob"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/spool"
)

func isKey(name string) bool { return strings.HasPrefix(name, "keys/") }

// unreachable is a remote that is away for everything.
type unreachable struct{ *remote }

func (unreachable) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, errAway
}

func (unreachable) Stat(context.Context, string) (blob.Info, error) { return blob.Info{}, errAway }

func (unreachable) Sum(context.Context, string) (int64, uint32, bool, error) {
	return 0, 0, false, errAway
}

func TestWhatIsKeptNeedsNoRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := &remote{}, local(t)
		blobtest.Put(t, &far.Blobs, "keys/old", []byte("from another machine"))
		blobtest.Put(t, &far.Blobs, "data/1", []byte("x"))
		s := open(t, spool.Config{Local: near, Remote: summing{far}, Keep: isKey, Grace: -1})
		if s.Fetched() {
			t.Error("fetched before Fetch")
		}
		blobtest.Put(t, s, "keys/early", []byte("early"))
		if err := s.Fetch(t.Context(), "keys/"); err != nil {
			t.Fatal(err)
		}
		blobtest.Put(t, s, "keys/new", []byte("new"))
		blobtest.Put(t, s, "data/2", []byte("y"))
		time.Sleep(time.Hour)
		if n := len(held(t, far)); n != 5 {
			t.Errorf("the remote holds %d objects", n)
		}
		if got := strings.Join(blobtest.Names(t, s, ""), " "); got != "data/1 data/2 keys/early keys/new keys/old" {
			t.Errorf("List = %s", got)
		}
		closeSpool(t, s)

		far.set(true)
		s = open(t, spool.Config{Local: near, Remote: unreachable{far}, Keep: isKey, Grace: -1})
		if !s.Fetched() {
			t.Error("a restart has forgotten that everything was fetched")
		}
		for name, want := range map[string]string{"keys/old": "from another machine", "keys/early": "early", "keys/new": "new"} {
			if got, err := blobtest.Get(t.Context(), s, name, 0, -1); err != nil || string(got) != want {
				t.Errorf("%s = %q, %v", name, got, err)
			}
		}
		if got := strings.Join(blobtest.Names(t, s, "keys/"), " "); got != "keys/early keys/new keys/old" {
			t.Errorf("List = %s", got)
		}
		if _, err := s.Stat(t.Context(), "keys/none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Stat of what is nowhere = %v", err)
		}
		if _, err := s.Open(t.Context(), "keys/none", 0, -1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Open of what is nowhere = %v", err)
		}
		if _, err := s.Open(t.Context(), "data/1", 0, -1); !errors.Is(err, errAway) {
			t.Errorf("Open of what the remote has = %v", err)
		}
		closeSpool(t, s)
	})
}

// flipping returns another byte at its first Open.
type flipping struct {
	*remote
	opened *int
}

func (f flipping) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	rc, err := f.remote.Open(ctx, name, off, n)
	*f.opened++
	if err != nil || *f.opened > 1 {
		return rc, err
	}
	data, err := io.ReadAll(rc)
	data[0] ^= 1
	return io.NopCloser(bytes.NewReader(data)), errors.Join(err, rc.Close())
}

// flippingSum is one that knows the checksum of what it holds.
type flippingSum struct{ flipping }

func (f flippingSum) Sum(ctx context.Context, name string) (int64, uint32, bool, error) {
	return summing{f.remote}.Sum(ctx, name)
}

// Wrong bytes would stay for good.
func TestFetchBelievesNoWrongBytes(t *testing.T) {
	for name, wrap := range map[string]func(flipping) spool.Blobs{
		"remote with checksums": func(f flipping) spool.Blobs { return flippingSum{f} },
		"remote without":        func(f flipping) spool.Blobs { return f },
	} {
		t.Run(name, func(t *testing.T) {
			far := &remote{}
			blobtest.Put(t, &far.Blobs, "keys/a", []byte("right"))
			s := open(t, spool.Config{Local: local(t), Remote: wrap(flipping{far, new(int)}), Keep: isKey})
			defer closeSpool(t, s)
			if err := s.Fetch(t.Context(), "keys/"); err == nil || s.Fetched() {
				t.Errorf("Fetch = %v", err)
			}
			if err := s.Fetch(t.Context(), "keys/"); err != nil || !s.Fetched() {
				t.Errorf("Fetch again = %v", err)
			}
			if got, err := blobtest.Get(t.Context(), s, "keys/a", 0, -1); err != nil || string(got) != "right" {
				t.Errorf("Open = %q, %v", got, err)
			}
		})
	}
}
