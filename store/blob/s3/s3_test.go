package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"lumen/store"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/s3"
	"lumen/store/blob/s3/s3test"
	"lumen/store/seal"
)

var _ store.Blobs = (*s3.Blobs)(nil)

func config(endpoint string) s3.Config {
	return s3.Config{Endpoint: endpoint, Region: s3test.Region, Bucket: s3test.Bucket,
		AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, PartSize: 5 << 20}
}

func open(t testing.TB, cfg s3.Config) *s3.Blobs {
	t.Helper()
	b, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every subtest has a prefix of its own in one bucket.
func TestConformance(t *testing.T) {
	server := s3test.Start(t)
	var n atomic.Int32
	blobtest.TestBlobs(t, func(t *testing.T) store.Blobs {
		cfg := config(server.Endpoint)
		cfg.Prefix = fmt.Sprintf("p%d/", n.Add(1))
		return open(t, cfg)
	})
}

// The suite again, with a network that drops, delays and refuses every few
// requests, also where the server has done its work already.
func TestConformanceOverABadNetwork(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	rng := rand.New(rand.NewPCG(1, 2))
	proxy.Set(func(r *http.Request) s3test.Fault { // called under a lock
		switch rng.IntN(20) {
		case 0:
			return s3test.Fault{Status: http.StatusServiceUnavailable}
		case 1:
			return s3test.Fault{CutRequest: true}
		case 2:
			return s3test.Fault{CutAnswer: true}
		case 3:
			return s3test.Fault{CutBody: 1 + rng.Int64N(100_000)}
		case 4:
			return s3test.Fault{Delay: 30 * time.Millisecond}
		case 5:
			return s3test.Fault{FlipRequest: r.Method == http.MethodPut}
		}
		return s3test.Fault{}
	})
	var n atomic.Int32
	blobtest.TestBlobs(t, func(t *testing.T) store.Blobs {
		cfg := config(proxy.Endpoint)
		cfg.Prefix = fmt.Sprintf("p%d/", n.Add(1))
		cfg.Retries = 12
		return open(t, cfg)
	})
}

func TestRequestsOfAPut(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	b := open(t, config(proxy.Endpoint))
	for _, tc := range []struct {
		name string
		size int
		want string
	}{
		{"small", 220_000, "PUT"},
		{"one part exactly", 5 << 20, "PUT"},
		{"two parts", 5<<20 + 1, "POST uploads=|PUT partNumber=1|PUT partNumber=2|POST uploadId="},
	} {
		proxy.Set(nil)
		blobtest.Put(t, b, "a/b", blobtest.Content(1, tc.size))
		var got []string
		for _, r := range proxy.Requests() {
			got = append(got, regexp.MustCompile(`&?uploadId=[^&]+&?`).ReplaceAllStringFunc(r, func(id string) string {
				if strings.Contains(r, "partNumber") {
					return ""
				}
				return "uploadId="
			}))
		}
		if strings.Join(got, "|") != tc.want {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}

func uploads(t *testing.T, b *s3.Blobs) int {
	t.Helper()
	n, err := b.AbortUploads(t.Context(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFailedUploadsAreAborted(t *testing.T) {
	server := s3test.Start(t)
	b := open(t, config(server.Endpoint))
	broken := errors.New("the source ended")
	half := func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 12<<20)); err != nil {
			return err
		}
		return broken
	}
	if err := b.Put(t.Context(), "a/b", -1, half); !errors.Is(err, broken) {
		t.Errorf("Put = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := b.Put(ctx, "a/b", -1, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 12<<20))
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Put = %v", err)
	}
	if n := uploads(t, b); n != 0 {
		t.Errorf("%d uploads remain", n)
	}

	// A process that dies, or a network that is gone, leaves one.
	proxy := s3test.NewProxy(t, server.Endpoint)
	proxy.Set(func(r *http.Request) s3test.Fault {
		return s3test.Fault{CutRequest: r.Method != http.MethodPost}
	})
	cfg := config(proxy.Endpoint)
	cfg.Retries = 2
	if err := open(t, cfg).Put(t.Context(), "a/b", -1, half); err == nil {
		t.Error("Put without a network")
	}
	if n, err := b.AbortUploads(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("young uploads: %d, %v", n, err)
	}
	if n := uploads(t, b); n != 1 {
		t.Errorf("%d uploads were found", n)
	}
	if n := uploads(t, b); n != 0 {
		t.Errorf("%d uploads remain", n)
	}
}

// A server that reports no checksum is asked for the bytes, and what is wrong
// does not stay.
func TestObjectsAreReadBackWhereThereIsNoChecksum(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	b := open(t, config(proxy.Endpoint))
	for _, size := range []int{0, 1000, 6 << 20} {
		proxy.Set(func(*http.Request) s3test.Fault { return s3test.Fault{HideChecksum: true} })
		blobtest.Put(t, b, "a/b", blobtest.Content(1, size))
		if r := proxy.Requests(); r[len(r)-1] != "GET" && size > 0 {
			t.Errorf("%d bytes: not read back: %q", size, r)
		}
		if size == 0 {
			continue
		}
		proxy.Set(func(r *http.Request) s3test.Fault {
			if r.Method == http.MethodGet && r.URL.RawQuery == "" {
				return s3test.Fault{FlipAnswer: true}
			}
			return s3test.Fault{HideChecksum: true}
		})
		if err := b.Put(t.Context(), "a/c", int64(size), blobtest.Write(blobtest.Content(1, size))); err == nil {
			t.Errorf("%d bytes: wrong bytes were taken", size)
		}
		proxy.Set(nil)
		if _, err := b.Stat(t.Context(), "a/c"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%d bytes: wrong bytes remain: %v", size, err)
		}
	}
}

func TestReadsGoOnAfterACut(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	cfg := config(proxy.Endpoint)
	cfg.Stall = time.Second
	b := open(t, cfg)
	data := blobtest.Content(1, 1<<20)
	blobtest.Put(t, b, "a/b", data)
	for name, fault := range map[string]s3test.Fault{
		"cut":   {CutBody: 100_000},
		"stall": {Stall: true},
	} {
		faults := 3
		proxy.Set(func(*http.Request) s3test.Fault {
			if faults--; faults >= 0 {
				return fault
			}
			return s3test.Fault{}
		})
		got, err := blobtest.Get(t.Context(), b, "a/b", 1000, 900_000)
		if err != nil || !bytes.Equal(got, data[1000:901_000]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if n := len(proxy.Requests()); n < 4 { // more where the machine is slow
			t.Errorf("%s: %d requests", name, n)
		}
		proxy.Set(func(*http.Request) s3test.Fault {
			if name == "cut" {
				return s3test.Fault{CutRequest: true}
			}
			return fault
		})
		if got, err := blobtest.Get(t.Context(), b, "a/b", 0, -1); err == nil {
			t.Errorf("%s for ever: %d bytes without an error", name, len(got))
		}
	}
}

func TestDeleteTakesAllVersions(t *testing.T) {
	server := s3test.StartVersioned(t)
	client, err := minio.New(strings.TrimPrefix(server.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""), Region: s3test.Region})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.EnableVersioning(t.Context(), s3test.Bucket); err != nil {
		t.Fatal(err)
	}
	b := open(t, config(server.Endpoint))
	for i := range 3 {
		blobtest.Put(t, b, "a/b", blobtest.Content(uint64(i), 1000))
	}
	blobtest.Put(t, b, "a/b2", []byte("another"))
	if err := b.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	for o := range client.ListObjectsIter(t.Context(), s3test.Bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		if o.Key != "a/b2" {
			t.Errorf("%q has version %q left, %v", o.Key, o.VersionID, o.Err)
		}
	}
}

// A viewer that jumps into a long video, asks for all the rest and leaves after
// 1 MiB has caused less than 3 MiB to be read from the bucket.
func TestOpenEndedRangeReadsLittle(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	b := open(t, config(proxy.Endpoint))
	plain := blobtest.Content(5, 40<<20)
	key, header := seal.GenerateKey(), seal.Header{Kind: seal.KindInstance, Blob: seal.NewHandle()}
	size := seal.SealedSize(int64(len(plain)))
	err := b.Put(t.Context(), "a/video", size, func(w io.Writer) error {
		s, err := seal.NewWriter(w, key, header)
		if err != nil {
			return err
		}
		_, err = s.Write(plain)
		return errors.Join(err, s.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	before := proxy.Answered()
	r, err := seal.NewReaderAt(func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		return b.Open(ctx, "a/video", off, n)
	}, size, key, header)
	if err != nil {
		t.Fatal(err)
	}
	off := int64(len(plain)) * 9 / 10
	rc, err := r.OpenRange(t.Context(), off, -1)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1<<20)
	if _, err := io.ReadFull(rc, got); err != nil || !bytes.Equal(got, plain[off:off+1<<20]) {
		t.Errorf("the range: %v", err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	if n := proxy.Answered() - before; n > 3<<20 {
		t.Errorf("%d bytes were read from the bucket", n)
	} else {
		t.Logf("%d bytes were read from the bucket", n)
	}
}

// Memory does not grow with the object.
func TestPutHoldsTwoParts(t *testing.T) {
	server := s3test.Start(t)
	b := open(t, config(server.Endpoint))
	const size = 150 << 20
	piece := blobtest.Content(1, 1<<20)
	peak := uint64(0)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	err := b.Put(t.Context(), "large/object", -1, func(w io.Writer) error {
		for i := range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			if i%8 == 0 {
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if peak > 40<<20 {
		t.Errorf("the heap grew by %d MiB", peak>>20)
	}
	if info, err := b.Stat(t.Context(), "large/object"); info.Size != size || err != nil {
		t.Errorf("Stat = %+v, %v", info, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*s3.Config){
		"no scheme":    func(c *s3.Config) { c.Endpoint = "localhost:9000" },
		"other scheme": func(c *s3.Config) { c.Endpoint = "ftp://localhost" },
		"path":         func(c *s3.Config) { c.Endpoint += "/bucket" },
		"no bucket":    func(c *s3.Config) { c.Bucket = "" },
		"prefix":       func(c *s3.Config) { c.Prefix = "a" },
		"small parts":  func(c *s3.Config) { c.PartSize = 1000 },
	} {
		cfg := config("http://127.0.0.1:9000")
		spoil(&cfg)
		if _, err := s3.New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
