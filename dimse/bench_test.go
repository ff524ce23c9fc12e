package dimse_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// BenchmarkStore is one client and one association, a handler that keeps
// nothing: what the protocol itself costs.
func BenchmarkStore(b *testing.B) {
	for _, size := range []int{1 << 10, 220 << 10, 16 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			addr := serve(b, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
				Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
					_, err := io.Copy(io.Discard, data)
					return err
				}}}})
			c := dial(b, addr, propose(dict.UIDVerification, ctClass)...)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				status, err := c.Store(b.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2.3",
					TransferSyntax: explicit}, bytes.NewReader(data))
				if err != nil || status != dimse.StatusSuccess {
					b.Fatal(status, err)
				}
			}
		})
	}
}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return "16MiB"
	case n >= 100<<10:
		return "220KiB"
	}
	return "1KiB"
}

// BenchmarkFind is a query with 1 000 small matches.
func BenchmarkFind(b *testing.B) {
	ar := archive{matches: 1000}
	addr := serve(b, ar.server())
	c := dial(b, addr, propose(findClass)...)
	var id dicom.DataSet
	id.SetString(dict.QueryRetrieveLevel, "STUDY")
	for b.Loop() {
		n := 0
		for _, err := range c.Find(b.Context(), findClass, &id) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != ar.matches {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(ar.matches*b.N)/b.Elapsed().Seconds(), "matches/s")
}
