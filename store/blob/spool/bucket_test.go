package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lumen/internal/durable"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/dir"
	"lumen/store/blob/s3"
	"lumen/store/blob/s3/s3test"
	"lumen/store/blob/spool"
	"lumen/store/seal"
)

// planted is what no byte of a bucket may show.
const planted = "PLANTED^PATIENT 1.2.3.4.5.6.7.8.9"

// bucket is a spool before a real server, with a proxy between them.
type bucket struct {
	server *s3test.Server
	proxy  *s3test.Proxy
	remote *s3.Blobs
	near   string
	spool  *spool.Spool
	ring   *seal.Keyring
	study  seal.Handle
	key    seal.Key
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{server: s3test.Start(t), near: t.TempDir()}
	b.proxy = s3test.NewProxy(t, b.server.Endpoint)
	var err error
	b.remote, err = s3.New(s3.Config{Endpoint: b.proxy.Endpoint, Region: s3test.Region, Bucket: s3test.Bucket,
		AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, PartSize: 5 << 20, Stall: 2 * time.Second, Retries: 3})
	if err != nil {
		t.Fatal(err)
	}
	b.openSpool(t)
	b.ring, err = seal.OpenKeyring(t.Context(), seal.KeyringConfig{
		Root: seal.FileRoot(durable.NewMem(0), "/keys/root"), Objects: b.spool, Tenant: "default", Create: true})
	if err != nil {
		t.Fatal(err)
	}
	b.study = seal.NewHandle()
	if b.key, err = b.ring.NewStudy(t.Context(), b.study, planted); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bucket) openSpool(t *testing.T) {
	t.Helper()
	near, err := dir.New(durable.OS(), b.near)
	if err != nil {
		t.Fatal(err)
	}
	b.spool = open(t, spool.Config{Local: near, Remote: b.remote, Grace: -1})
}

func (b *bucket) header(object seal.Handle) seal.Header {
	return seal.Header{Kind: seal.KindInstance, Tenant: b.ring.Tenant(), Study: b.study, Blob: object}
}

// store seals data as an archive does and returns the object's handle.
func (b *bucket) store(ctx context.Context, data []byte) (seal.Handle, error) {
	object := seal.NewHandle()
	name := seal.ObjectName(b.ring.Tenant(), b.study, object)
	err := b.spool.Put(ctx, name, seal.SealedSize(int64(len(data))), func(w io.Writer) error {
		s, err := seal.NewWriter(w, b.key, b.header(object))
		if err != nil {
			return err
		}
		_, err = s.Write(data)
		return errors.Join(err, s.Close())
	})
	return object, err
}

// load reads a range of what store has sealed.
func (b *bucket) load(ctx context.Context, object seal.Handle, size, off, n int64) ([]byte, error) {
	name := seal.ObjectName(b.ring.Tenant(), b.study, object)
	r, err := seal.NewReaderAt(func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		return b.spool.Open(ctx, name, off, n)
	}, seal.SealedSize(size), b.key, b.header(object))
	if err != nil {
		return nil, err
	}
	rc, err := r.OpenRange(ctx, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(rc)
	return data, errors.Join(err, rc.Close())
}

// content is data that contains what may not be shown.
func content(seed uint64, n int) []byte {
	data := blobtest.Content(seed, n)
	copy(data, planted)
	return data
}

// drained waits until nothing is left in the spool.
func (b *bucket) drained(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		left := 0
		err := filepath.WalkDir(b.near, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				left++
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d objects are still in the spool", left)
		}
		time.Sleep(20 * time.Millisecond) // real processes: there is nothing to wait on
	}
}

// The server is killed under ingest and comes back, and the node is restarted
// meanwhile: nothing is lost, nothing doubled, nothing readable in the bucket.
func TestServerStopsUnderIngest(t *testing.T) {
	b := newBucket(t)
	type stored struct {
		object seal.Handle
		data   []byte
	}
	var (
		mu   sync.Mutex
		all  []stored
		wg   sync.WaitGroup
		half = make(chan bool, 3)
	)
	ingest := func(writer int) {
		for i := range 20 {
			size := 40_000 * (1 + i%5)
			if i == 7 {
				size = 12 << 20 // in parts
			}
			data := content(uint64(writer*100+i), size)
			object, err := b.store(t.Context(), data)
			if err != nil {
				t.Errorf("store: %v", err)
				return
			}
			mu.Lock()
			all = append(all, stored{object, data})
			mu.Unlock()
			if i == 6 {
				half <- true
			}
		}
	}
	for w := range 3 {
		wg.Go(func() { ingest(w) })
	}
	<-half
	b.server.Stop(t)
	wg.Wait()
	closeSpool(t, b.spool)
	b.openSpool(t) // the server is still away
	for _, s := range all[len(all)-5:] {
		if got, err := b.load(t.Context(), s.object, int64(len(s.data)), 0, -1); err != nil || !bytes.Equal(got, s.data) {
			t.Errorf("while the server is away: %d bytes, %v", len(got), err)
		}
	}
	b.server.Restart(t)
	b.drained(t)
	names := map[string]int{}
	for info, err := range b.remote.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names[info.Name]++
	}
	if len(names) != 60+4 { // and the keys
		t.Errorf("the bucket holds %d objects", len(names))
	}
	for _, s := range all {
		if got, err := b.load(t.Context(), s.object, int64(len(s.data)), 0, -1); err != nil || !bytes.Equal(got, s.data) {
			t.Errorf("afterwards: %d bytes, %v", len(got), err)
		}
	}
	closeSpool(t, b.spool)
	scan(t, b.server.Dir)
}

// scan looks for what may not be shown, in names and bytes.
func scan(t *testing.T, folder string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(planted)) || bytes.Contains(data, []byte("PLANTED")) || bytes.Contains([]byte(path), []byte("1.2.3.4")) {
			t.Errorf("%s shows what it should hide", path)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("scan of %d files: %v", files, err)
	}
}

// A network that cuts, delays, refuses and changes bytes both ways: everything
// arrives, and what is read is right or an error, never wrong.
func TestBadNetwork(t *testing.T) {
	b := newBucket(t)
	rng := rand.New(rand.NewPCG(3, 4))
	b.proxy.Set(func(*http.Request) s3test.Fault { // called under a lock
		switch rng.IntN(16) {
		case 0:
			return s3test.Fault{Status: http.StatusInternalServerError}
		case 1:
			return s3test.Fault{CutRequest: true}
		case 2:
			return s3test.Fault{CutAnswer: true}
		case 3:
			return s3test.Fault{CutBody: 1 + rng.Int64N(50_000)}
		case 4:
			return s3test.Fault{FlipRequest: true}
		case 5:
			return s3test.Fault{FlipAnswer: true}
		case 6:
			return s3test.Fault{Delay: 50 * time.Millisecond}
		}
		return s3test.Fault{}
	})
	objects := map[seal.Handle][]byte{}
	for i := range 30 {
		data := content(uint64(i), 30_000*i)
		if i == 11 {
			data = content(11, 11<<20)
		}
		object, err := b.store(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		objects[object] = data
	}
	b.drained(t)
	wrong, refused := 0, 0
	for range 3 {
		for object, data := range objects {
			off := rand.Int64N(int64(len(data) + 1))
			got, err := b.load(t.Context(), object, int64(len(data)), off, -1)
			if !bytes.HasPrefix(data[off:], got) {
				wrong++
			}
			if err != nil {
				refused++
			} else if len(got) != len(data)-int(off) {
				t.Errorf("%d of %d bytes without an error", len(got), len(data)-int(off))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("wrong bytes were served %d times", wrong)
	}
	if refused == 0 {
		t.Error("the proxy changed no byte: the test shows nothing")
	}
	b.proxy.Set(nil)
	for object, data := range objects {
		if got, err := b.load(t.Context(), object, int64(len(data)), 0, -1); err != nil || !bytes.Equal(got, data) {
			t.Errorf("over a good network: %d bytes, %v", len(got), err)
		}
	}
	closeSpool(t, b.spool)
	scan(t, b.server.Dir)
}
