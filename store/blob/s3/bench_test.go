package s3_test

import (
	"fmt"
	"sync"
	"testing"

	"lumen/store/blob/blobtest"
	"lumen/store/blob/s3/s3test"
)

func BenchmarkPut(b *testing.B) {
	server := s3test.Start(b)
	blobs := open(b, config(server.Endpoint))
	data := blobtest.Content(1, 220_000)
	for _, writers := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						if err := blobs.Put(b.Context(), fmt.Sprintf("t/%d/%d", w, i), int64(len(data)), blobtest.Write(data)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
