package store_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

func TestIngestLimitsTheSizeOfAnObject(t *testing.T) {
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	for _, c := range []struct {
		limit int64
		want  error
	}{{int64(len(sent)), nil}, {int64(len(sent)) - 1, store.ErrTooLarge}} {
		n := newNode(t, func(cfg *store.Config) { cfg.Limits.ObjectSize = c.limit })
		if _, err := n.ingest(explicitLE, sent); !errors.Is(err, c.want) {
			t.Errorf("limit %d: error = %v, want %v", c.limit, err, c.want)
		}
	}
}

func TestIngestStopsBelowTheFloor(t *testing.T) {
	free := int64(10 << 30)
	n := newNode(t, func(cfg *store.Config) {
		cfg.FreeSpace = func() (int64, int64, error) { return free, 20 << 30, nil }
	})
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)

	free = 2<<30 - 1
	n.clock.advance(2e9)
	next := encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE)
	if _, err := n.ingest(explicitLE, next); !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("error = %v", err)
	}
	if got := n.instanceBlobs(); len(got) != 1 {
		t.Errorf("%d blobs", len(got))
	}
	if len(n.stored("1.1")) == 0 { // viewing goes on
		t.Error("nothing to view")
	}
	free = 3 << 30
	n.mustIngest(next, store.Stored)
}

func TestIngestStopsALargeObjectAtTheFloor(t *testing.T) {
	const size = 100 << 20
	video := &pixels{left: size}
	n := newNode(t, func(cfg *store.Config) {
		cfg.MinFree = store.Floor{Bytes: 1 << 30}
		cfg.FreeSpace = func() (int64, int64, error) { return 1<<30 + 8<<20 - int64(size-video.left), 20 << 30, nil }
	})
	video.head = endless(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.Delete(dict.PixelData) }), explicitLE))
	_, err := n.archive.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, video)
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("error = %v", err)
	}
	if taken := size - video.left; taken > 16<<20 {
		t.Errorf("%d bytes were taken", taken)
	}
	n.holdsNothing()
}

// endless is a header followed by the head of a pixel data element of undefined
// length, with one huge fragment.
func endless(header []byte) []byte {
	b := bytes.Clone(header)
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
	return append(b, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0x40)
}

// pixels streams a head and then so many zeros, without holding them.
type pixels struct {
	head []byte
	left int
}

func (p *pixels) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	clear(b[:n])
	p.left -= n
	return n, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
