package store_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/storetest"
)

// facts counts how objects are looked for.
type facts struct {
	store.Blobs
	listed, opened int
	away           bool // facts cannot be had now
}

func (f *facts) List(ctx context.Context, prefix string) iter.Seq2[store.BlobInfo, error] {
	f.listed++
	return f.Blobs.List(ctx, prefix)
}

func (f *facts) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasSuffix(name, "-quarantine") {
		f.opened++
		if f.away {
			return nil, store.ErrAway
		}
	}
	return f.Blobs.Open(ctx, name, off, n)
}

// Invariant 8: a sender that makes many versions of one instance must not make
// each of them dearer than the last.
func TestAConflictCostsTheSameHoweverManyThereWere(t *testing.T) {
	const versions = 30
	blobs := &facts{Blobs: new(mem.Blobs)}
	n := newNode(t)
	n.archive.Close()
	n.blobs, n.keys = blobs, keyring(t, blobs)
	n.start()
	version := func(i int) []byte {
		return encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, fmt.Sprint("P-", i)) }), explicitLE)
	}
	n.mustIngest(version(0), store.Stored)
	costs := func(when string, i, listed, opened int) {
		t.Helper()
		blobs.listed, blobs.opened = 0, 0
		n.mustIngest(version(i), store.Quarantined)
		if blobs.listed != listed || blobs.opened != opened {
			t.Errorf("%s: %d listings and %d facts read, want %d and %d", when, blobs.listed, blobs.opened, listed, opened)
		}
	}
	again := func(when string, i int) {
		t.Helper()
		n.mustIngest(version(i), store.Quarantined)
		e := n.events(store.EventQuarantined)
		if last := e[len(e)-1]; last.Blob != e[i-1].Blob {
			t.Errorf("%s: version %d is kept twice", when, i)
		}
	}
	costs("the first", 1, 1, 0)
	for i := 2; i <= versions; i++ {
		costs(fmt.Sprint("version ", i), i, 0, 0)
	}
	again("at once", 7)

	n.crash()
	costs("the first after a start", versions+1, 1, versions)
	costs("the second after a start", versions+2, 0, 0)

	n.archive.Close()
	n.index = new(storetest.Index)
	report, err := store.Rebuild(t.Context(), store.Config{Blobs: n.blobs, Index: n.index, Journal: n.journal, Keys: n.keys})
	if err != nil || report.Quarantined != versions+2 {
		t.Fatalf("rebuild = %+v, %v", report, err)
	}
	n.start()
	again("after a rebuild", 9)
	if got := n.instanceBlobs(); len(got) != 1+versions+2 {
		t.Errorf("%d blobs, want %d", len(got), 1+versions+2)
	}
	n.sound()

	// What cannot be had for a while is not forgotten for good.
	n.crash()
	blobs.away = true
	n.mustIngest(version(versions+3), store.Quarantined)
	blobs.away = false
	again("when facts can be had again", 11)
}
