package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/blob/mem"
)

// watched are objects in memory whose writing fails, or panics, after a number
// of bytes. They notice a write after the end of Put.
type watched struct {
	mem.Blobs
	failAt, panicAt int
	late            atomic.Bool
}

var errDisk = errors.New("the disk is broken")

func (b *watched) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	var ended atomic.Bool
	defer ended.Store(true)
	return b.Blobs.Put(ctx, name, size, func(w io.Writer) error {
		n := 0
		return write(writerFunc(func(p []byte) (int, error) {
			if ended.Load() {
				b.late.Store(true)
			}
			n += len(p)
			switch {
			case b.failAt > 0 && n > b.failAt:
				return 0, errDisk
			case b.panicAt > 0 && n > b.panicAt:
				panic("the disk is on fire")
			}
			return w.Write(p)
		}))
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// large returns a data set of about size bytes that differ.
func large(t *testing.T, instance string, size int) []byte {
	value := make([]byte, size&^1)
	for i := range value {
		value[i] = byte(i>>16 ^ i>>8 ^ i)
	}
	return encode(t, still("1.1", "1.1.1", instance, func(d *dicom.DataSet) { d.SetBytes(dict.PixelData, dict.OW, value) }), explicitLE)
}

// A large data set is written by a goroutine of its own, in whole buffers: what
// begins or ends beside their borders must come out as it went in.
func TestLargeDataSetsAreKeptExactly(t *testing.T) {
	for _, size := range []int{1<<20 - 1000, 1 << 20, 1<<20 + 64<<10, 1<<20 + 128<<10, 3<<20 + 77<<10} {
		n := newNode(t)
		sent := large(t, "1.1.1.1", size)
		n.mustIngest(sent, store.Stored)
		if !bytes.Equal(n.stored("1.1"), sent) {
			t.Errorf("of %d bytes some differ", size)
		}
		n.sound()
	}
}

func TestLargeDataSetsManyAtOnce(t *testing.T) {
	n := newNode(t)
	errs := make(chan error)
	uids := []string{"1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7", "1.1.1.8"}
	for _, uid := range uids {
		sent := large(t, uid, 2<<20)
		go func() {
			_, err := n.ingest(explicitLE, sent)
			errs <- err
		}()
	}
	for range uids {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if report := n.sound(); report.Instances != len(uids) {
		t.Errorf("%d instances, want %d", report.Instances, len(uids))
	}
}

// What goes wrong beside the scan ends the ingest, which waits for it.
func TestLargeDataSetOnADiskThatFails(t *testing.T) {
	for _, at := range []int{1<<20 + 300<<10, 4<<20 - 100} { // under way, and when the last buffer is written
		blobs := &watched{failAt: at}
		n := newNode(t, func(cfg *store.Config) { cfg.Blobs = blobs })
		if _, err := n.ingest(explicitLE, large(t, "1.1.1.1", 4<<20)); !errors.Is(err, errDisk) {
			t.Errorf("failing at %d: error %v, want that of the disk", at, err)
		}
		if left := n.instanceBlobs(); len(left) > 0 || blobs.late.Load() {
			t.Errorf("failing at %d: %d blobs are left, written to after Put: %v", at, len(left), blobs.late.Load())
		}
		blobs.failAt = 0
		n.mustIngest(large(t, "1.1.1.1", 4<<20), store.Stored)
	}
}

// Invariant 10: a goroutine has no recover of an association above it, so the
// panic is handed to the one that has.
func TestLargeDataSetWhoseWriterPanics(t *testing.T) {
	blobs := &watched{panicAt: 2 << 20}
	n := newNode(t, func(cfg *store.Config) { cfg.Blobs = blobs })
	for range 20 { // each gives its place among the writers back
		func() {
			defer func() {
				if got := recover(); got != "the disk is on fire" {
					t.Errorf("recovered %v, want what the writer panicked with", got)
				}
			}()
			n.ingest(explicitLE, large(t, "1.1.1.1", 4<<20))
		}()
	}
}

// A sender that stops inside of a large data set leaves nothing.
func TestLargeDataSetThatIsCutOff(t *testing.T) {
	blobs := new(watched)
	n := newNode(t, func(cfg *store.Config) { cfg.Blobs = blobs })
	sent := large(t, "1.1.1.1", 4<<20)
	gone := errors.New("connection reset")
	for _, at := range []int{1<<20 + 100, 2<<20 + 128<<10, len(sent) - 1} {
		data := io.MultiReader(bytes.NewReader(sent[:at]), iotest.ErrReader(gone))
		if _, err := n.archive.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, data); !errors.Is(err, gone) {
			t.Errorf("cut at %d: error %v, want that of the connection", at, err)
		}
		if left := n.instanceBlobs(); len(left) > 0 || blobs.late.Load() {
			t.Errorf("cut at %d: %d blobs are left, written to after Put: %v", at, len(left), blobs.late.Load())
		}
	}
}
