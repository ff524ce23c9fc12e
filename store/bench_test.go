package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/storetest"
)

// BenchmarkIngest takes in stills of 220 KB, durable on the disk that holds the
// temporary folder, with journal and index in memory: the archive's own share.
func BenchmarkIngest(b *testing.B) {
	for _, senders := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) { benchmarkIngest(b, senders) })
	}
}

func benchmarkIngest(b *testing.B, senders int) {
	blobs, err := dir.New(durable.OS(), filepath.Join(b.TempDir(), "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	a, err := store.Open(b.Context(), store.Config{Blobs: blobs, Index: &storetest.Index{Lag: true}, Journal: new(storetest.Journal),
		Keys: keyring(b, blobs), NoSweep: true})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	const marker = "1.2.3.00000000"
	image := encode(b, still("1.2", "1.2.3", marker, func(d *dicom.DataSet) {
		d.SetBytes(dict.PixelData, dict.OB, bytes.Repeat([]byte{1, 2, 3, 4, 5}, 44_000))
	}), explicitLE)
	at := bytes.Index(image, []byte(marker))
	var next atomic.Int64
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			data := bytes.Clone(image)
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				copy(data[at:], fmt.Sprintf("1.2.3.%08d", i))
				in := store.Incoming{TransferSyntax: explicitLE, Source: store.SourceDIMSE}
				if _, err := a.Ingest(b.Context(), tower, request, in, bytes.NewReader(data)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
}

// BenchmarkIngestVideo takes in one video of 512 MiB after the other, without the
// network.
func BenchmarkIngestVideo(b *testing.B) {
	blobs, err := dir.New(durable.OS(), filepath.Join(b.TempDir(), "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	a, err := store.Open(b.Context(), store.Config{Blobs: blobs, Index: &storetest.Index{Lag: true}, Journal: new(storetest.Journal),
		Keys: keyring(b, blobs), NoSweep: true})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	const size = 512 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		uid := fmt.Sprintf("1.2.3.%08d", i)
		head := encode(b, still("1.2", "1.2.3", uid, func(d *dicom.DataSet) { d.Delete(dict.PixelData) }), explicitLE)
		in := store.Incoming{TransferSyntax: syntax(dicom.MPEG4HP41), Source: store.SourceDIMSE}
		if _, err := a.Ingest(b.Context(), tower, request, in, fragments(head, size)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFrame opens a retrieval and reads one frame of 220 KB, as a viewer
// does for each frame.
func BenchmarkFrame(b *testing.B) {
	blobs, err := dir.New(durable.OS(), filepath.Join(b.TempDir(), "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	a, err := store.Open(b.Context(), store.Config{Blobs: blobs, Index: new(storetest.Index), Journal: new(storetest.Journal),
		Keys: keyring(b, blobs), NoSweep: true})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	const frames, size = 50, 220_000
	fragments, first := make([][]byte, frames), make([]int, frames)
	for i := range fragments {
		fragments[i], first[i] = bytes.Repeat([]byte{byte(i)}, size), i
	}
	in := store.Incoming{TransferSyntax: syntax(dicom.JPEGBaseline8Bit)}
	if _, err := a.Ingest(b.Context(), tower, request, in, bytes.NewReader(encapsulated(b, frames, first, fragments...))); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r, err := a.Open(b.Context(), tower, viewing, store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.1.1.1"}})
		if err != nil {
			b.Fatal(err)
		}
		frame, _, err := r.Instances()[0].Frame(b.Context(), i%frames+1)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, frame); err != nil || n != size {
			b.Fatal(n, err)
		}
		if err := errors.Join(frame.Close(), r.Close(nil)); err != nil {
			b.Fatal(err)
		}
	}
}
