package wado_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/storetest"
	"lumen/wado"

	"bytes"
)

// benchServer holds a series of instances of size bytes of JPEG each, on disk.
func benchServer(b *testing.B, instances, size int) string {
	blobs, err := dir.New(durable.OS(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	archive := newArchive(b, new(storetest.Journal), blobs)
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	for n := range instances {
		d := still("1.1", "1.1.1", "1.1.1."+strconv.Itoa(n+1), dict.PatientName, "Müller^Anna", dict.InstanceNumber, strconv.Itoa(n))
		d.SetBytes(dict.PixelData, dict.OB, bytes.Repeat([]byte{byte(n)}, size))
		data, err := d.Encode(ts)
		if err != nil {
			b.Fatal(err)
		}
		_, err = archive.Ingest(b.Context(), access.System(access.DefaultTenant, "bench"), store.Request{}, store.Incoming{TransferSyntax: ts}, bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
	}
	handler, err := wado.New(wado.Config{Archive: archive, Principal: func(r *http.Request) (access.Principal, error) {
		return access.Policy{}.ForHTTP(netip.MustParseAddr("127.0.0.1"))
	}})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(handler)
	b.Cleanup(server.Close)
	return server.URL + wado.Prefix
}

func fetch(b *testing.B, url string) int64 {
	response, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err != nil || response.StatusCode != 200 {
		b.Fatal(response.Status, err)
	}
	return n
}

func BenchmarkRetrieve(b *testing.B) {
	base := benchServer(b, 500, 220<<10)
	for _, c := range []struct{ name, path string }{
		{"series", "/studies/1.1/series/1.1.1"},
		{"metadata", "/studies/1.1/series/1.1.1/metadata"},
		{"instances", "/studies/1.1/series/1.1.1/instances"},
		{"instance", "/studies/1.1/series/1.1.1/instances/1.1.1.7"},
		{"frame", "/studies/1.1/series/1.1.1/instances/1.1.1.7/frames/1"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(fetch(b, base+c.path))
			}
		})
	}
}
