package audit_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"lumen/audit"
	"lumen/internal/durable"
)

// BenchmarkDatasync is what the disk gives: the yardstick for one caller.
func BenchmarkDatasync(b *testing.B) {
	fsys := durable.OS()
	name := b.TempDir() + "/f"
	if err := durable.WriteFile(fsys, name, make([]byte, 16<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 800)
	for i := range b.N {
		if _, err := f.WriteAt(block, int64(i*len(block))%(15<<20)); err != nil {
			b.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "syncs/s")
}

// BenchmarkAppend appends records with payloads of 400 bytes.
func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 400)
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			h := newHome(b, durable.OS(), b.TempDir())
			cfg := h.config()
			cfg.SegmentSize = 16 << 20
			l, err := audit.Open(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := c; i < b.N; i += callers {
						if _, err := l.Append(b.Context(), audit.Record{Code: audit.Stored, Actor: "TOWER", Patient: "P", Study: "1.2.3", Payload: payload}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.StopTimer()
			closeLog(b, l)
		})
	}
}

// BenchmarkRecord is what a record costs apart from the disk: sealing, tokens,
// hashes, tree, frame.
func BenchmarkRecord(b *testing.B) {
	h, _ := memHome(b)
	cfg := h.config()
	cfg.SegmentSize = 16 << 20
	l, err := audit.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 400)
	batch := make([]audit.Record, 1000)
	for i := range batch {
		batch[i] = audit.Record{Code: audit.Stored, Actor: "TOWER", Patient: "P", Study: "1.2.3", Payload: payload}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/record")
	closeLog(b, l)
}
