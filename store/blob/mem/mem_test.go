package mem_test

import (
	"errors"
	"testing"

	"lumen/store"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/mem"
)

func TestConformance(t *testing.T) {
	blobtest.TestBlobs(t, func(*testing.T) store.Blobs { return &mem.Blobs{} })
}

func TestCapacity(t *testing.T) {
	b := &mem.Blobs{Capacity: 100}
	blobtest.Put(t, b, "a", make([]byte, 60))
	if err := b.Put(t.Context(), "b", 41, blobtest.Write(make([]byte, 41))); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Put = %v", err)
	}
	blobtest.Put(t, b, "a", make([]byte, 100))
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, b, "b", make([]byte, 100))
}
