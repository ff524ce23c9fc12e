package store_test

import (
	"io"
	"path/filepath"
	"runtime"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
)

// Invariant 5: what a large object takes in memory, coming in and going out, is
// what a small one takes.
func TestMemoryDoesNotGrowWithTheObject(t *testing.T) {
	blobs, err := dir.New(durable.OS(), filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, func(cfg *store.Config) { cfg.Blobs = blobs })
	n.blobs = blobs
	n.keys = keyring(t, blobs)
	n.archive.Close()
	n.config = nil
	n.start()

	move := func(uid string, size int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		head := encode(t, still("1.1", "1.1.1", uid, func(d *dicom.DataSet) { d.Delete(dict.PixelData) }), explicitLE)
		in := store.Incoming{TransferSyntax: syntax(dicom.MPEG4HP41)}
		if _, err := n.archive.Ingest(t.Context(), tower, request, in, fragments(head, size)); err != nil {
			t.Fatal(err)
		}
		r := n.open(store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{uid}})
		defer r.Close(nil)
		data, err := r.Instances()[0].DataSet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sent, err := io.Copy(io.Discard, data)
		if err != nil || sent < int64(size) {
			t.Fatalf("%d bytes, %v", sent, err)
		}
		if err := data.Close(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	move("1.1.1.1", 1<<20) // buffers that are kept
	small, large := move("1.1.1.2", 1<<20), move("1.1.1.3", 128<<20)
	t.Logf("allocated for 1 MiB: %d KiB, for 128 MiB: %d KiB", small>>10, large>>10)
	if large > small+(1<<20) {
		t.Errorf("128 MiB took %d KiB, 1 MiB took %d KiB", large>>10, small>>10)
	}
}

// fragments streams a header and size bytes of pixel data in one fragment.
func fragments(head []byte, size int) io.Reader {
	b := append(head, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
	b = append(b, 0xFE, 0xFF, 0x00, 0xE0, byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	end := &pixels{head: []byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0}}
	return io.MultiReader(&pixels{head: b, left: size}, end)
}
