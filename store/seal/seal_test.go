package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"pgregory.net/rapid"

	"lumen/store/seal"
)

const (
	chunk  = seal.ChunkSize
	sealed = chunk + 16
)

var (
	testKey    = mustKey(0x42)
	otherKey   = mustKey(0x43)
	testHeader = seal.Header{Kind: seal.KindInstance, Tenant: seal.Handle{1}, Study: seal.Handle{2}, Blob: seal.Handle{3}}
)

func mustKey(fill byte) seal.Key {
	k, err := seal.NewKey(bytes.Repeat([]byte{fill}, seal.KeySize))
	if err != nil {
		panic(err)
	}
	return k
}

// pattern is n bytes in which no chunk looks like another.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*3 ^ byte(i>>16)*7
	}
	return b
}

func sealBytes(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seal.NewWriter(&out, testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// openStream opens with a Reader, openRandom with a ReaderAt.
func openStream(b []byte, key seal.Key, h seal.Header) ([]byte, error) {
	r, err := seal.NewReader(bytes.NewReader(b), key, h)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func openRandom(b []byte, key seal.Key, h seal.Header) ([]byte, error) {
	r, err := seal.NewReaderAt(ranges(b, nil), int64(len(b)), key, h)
	if err != nil {
		return nil, err
	}
	rc, err := r.OpenRange(context.Background(), 0, -1)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

var openers = map[string]func([]byte, seal.Key, seal.Header) ([]byte, error){"stream": openStream, "random": openRandom}

// ranges serves b, and tells asked how much is asked for and how much is read.
func ranges(b []byte, asked func(off, n int64)) seal.RangeOpener {
	return func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		if asked != nil {
			asked(off, n)
		}
		return io.NopCloser(io.NewSectionReader(bytes.NewReader(b), off, n)), nil
	}
}

var sizes = []int{0, 1, 15, 16, chunk - 1, chunk, chunk + 1, 2 * chunk, 8*chunk - 1, 8 * chunk, 8*chunk + 1, 64 * chunk, 200*chunk + 77}

func TestRoundTrip(t *testing.T) {
	for _, size := range sizes {
		plain := pattern(size)
		b := sealBytes(t, plain)
		if int64(len(b)) != seal.SealedSize(int64(size)) {
			t.Errorf("%d bytes: SealedSize is wrong", size)
		}
		if n, err := seal.PlainSize(int64(len(b))); n != int64(size) || err != nil {
			t.Errorf("%d bytes: PlainSize = %d, %v", size, n, err)
		}
		if h, err := seal.ParseHeader(b); h.Blob != testHeader.Blob || h.Kind != testHeader.Kind || err != nil {
			t.Errorf("%d bytes: ParseHeader = %v, %v", size, h, err)
		}
		for name, open := range openers {
			got, err := open(b, testKey, testHeader)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(got), err)
			}
		}
	}
}

func TestWriteToEqualsRead(t *testing.T) {
	plain := pattern(20*chunk + 5)
	b := sealBytes(t, plain)
	r, err := seal.NewReader(bytes.NewReader(b), testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	at, err := seal.NewReaderAt(ranges(b, nil), int64(len(b)), testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := at.OpenRange(t.Context(), 100, -1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		src  io.WriterTo
		want []byte
	}{{r, plain}, {rc.(io.WriterTo), plain[100:]}} {
		var got bytes.Buffer
		if n, err := tc.src.WriteTo(&got); n != int64(len(tc.want)) || err != nil || !bytes.Equal(got.Bytes(), tc.want) {
			t.Errorf("WriteTo = %d, %v, want %d bytes", n, err, len(tc.want))
		}
	}
}

// Whatever is done to a sealed object, it is noticed, and what has been handed
// out before is a beginning of the plaintext.
func TestTampering(t *testing.T) {
	const n = 3
	plain := pattern(n*chunk + 100)
	b := sealBytes(t, plain)
	body := func(i int) int { return seal.PrefixSize + i*sealed }
	swap := func(i, j int) []byte {
		c := bytes.Clone(b)
		copy(c[body(i):body(i+1)], b[body(j):body(j+1)])
		copy(c[body(j):body(j+1)], b[body(i):body(i+1)])
		return c
	}
	type tamper struct {
		name string
		b    []byte
		want []error // one of them
	}
	cases := []tamper{
		{"chunks swapped", swap(0, 2), []error{seal.ErrCorrupt}},
		{"chunk repeated", append(bytes.Clone(b[:body(1)]), b[body(0):]...), []error{seal.ErrCorrupt}},
		{"chunk left out", append(bytes.Clone(b[:body(1)]), b[body(2):]...), []error{seal.ErrCorrupt}},
		{"byte added", append(bytes.Clone(b), 0), []error{seal.ErrCorrupt}},
		{"empty chunk added", append(bytes.Clone(b), make([]byte, 16)...), []error{seal.ErrCorrupt}},
		{"last chunk grown to a full one", append(bytes.Clone(b), make([]byte, sealed-116)...), []error{seal.ErrCorrupt, seal.ErrTruncated}},
	}
	for cut := range len(b) {
		if cut > seal.PrefixSize+20 && cut < len(b)-150 && cut%sealed != seal.PrefixSize && cut%1009 != 0 {
			continue
		}
		cases = append(cases, tamper{fmt.Sprintf("cut at %d", cut), b[:cut], []error{seal.ErrTruncated, seal.ErrCorrupt}})
	}
	for at := range len(b) {
		if at > seal.PrefixSize && at%1511 != 0 {
			continue
		}
		c := bytes.Clone(b)
		c[at] ^= 0x10
		cases = append(cases, tamper{fmt.Sprintf("byte %d flipped", at), c,
			[]error{seal.ErrFormat, seal.ErrHeader, seal.ErrKey, seal.ErrCorrupt}})
	}
	for _, tc := range cases {
		for name, open := range openers {
			got, err := open(tc.b, testKey, testHeader)
			known := false
			for _, want := range tc.want {
				known = known || errors.Is(err, want)
			}
			if !known {
				t.Errorf("%s, %s: error %v", tc.name, name, err)
			}
			if !bytes.HasPrefix(plain, got) {
				t.Errorf("%s, %s: %d bytes that were never sealed", tc.name, name, len(got))
			}
		}
	}
}

func TestWrongKeyAndWrongObject(t *testing.T) {
	b := sealBytes(t, pattern(100))
	for _, tc := range []struct {
		name   string
		key    seal.Key
		header func(*seal.Header)
		want   error
	}{
		{"other key", otherKey, func(*seal.Header) {}, seal.ErrKey},
		{"other kind", testKey, func(h *seal.Header) { h.Kind = seal.KindKey }, seal.ErrHeader},
		{"other tenant", testKey, func(h *seal.Header) { h.Tenant[0]++ }, seal.ErrHeader},
		{"other study", testKey, func(h *seal.Header) { h.Study[15]++ }, seal.ErrHeader},
		{"other blob", testKey, func(h *seal.Header) { h.Blob[7]++ }, seal.ErrHeader},
		{"no key", seal.Key{}, func(*seal.Header) {}, nil},
	} {
		h := testHeader
		tc.header(&h)
		for name, open := range openers {
			if _, err := open(b, tc.key, h); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("%s, %s: error %v", tc.name, name, err)
			}
		}
	}
	if _, err := openStream([]byte("DICM is something else, and long enough to be a header of an object"), testKey, testHeader); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("not an object: %v", err)
	}
	newer := bytes.Clone(b)
	newer[7] = 200
	if _, err := openStream(newer, testKey, testHeader); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("newer version: %v", err)
	}
	if _, err := seal.NewWriter(io.Discard, testKey, seal.Header{Version: 9}); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("sealed a version that it does not know: %v", err)
	}
}

// Two objects sealed alike share nothing.
func TestSaltIsFresh(t *testing.T) {
	a, b := sealBytes(t, pattern(100)), sealBytes(t, pattern(100))
	if bytes.Equal(a[seal.HeaderSize:seal.PrefixSize], b[seal.HeaderSize:seal.PrefixSize]) || bytes.Equal(a[seal.PrefixSize:], b[seal.PrefixSize:]) {
		t.Error("two objects are sealed alike")
	}
}

func TestReadAtAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := pattern(rapid.OneOf(rapid.SampledFrom(sizes), rapid.IntRange(0, 70*chunk)).Draw(t, "size"))
		var out bytes.Buffer
		w, err := seal.NewWriter(&out, testKey, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		for rest := plain; len(rest) > 0; {
			n := min(rapid.IntRange(1, 3*chunk).Draw(t, "write"), len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b := out.Bytes()
		largest, last := int64(0), int64(0)
		r, err := seal.NewReaderAt(ranges(b, func(off, n int64) {
			largest, last = max(largest, n), max(last, off+n)
		}), int64(len(b)), testKey, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		model := bytes.NewReader(plain)
		for range rapid.IntRange(1, 8).Draw(t, "reads") {
			off := rapid.Int64Range(0, int64(len(plain))+chunk).Draw(t, "off")
			p := make([]byte, rapid.IntRange(1, 70*chunk).Draw(t, "n"))
			q := make([]byte, len(p))
			n, err := r.ReadAt(p, off)
			wantN, wantErr := model.ReadAt(q, off)
			if n != wantN || err != wantErr || !bytes.Equal(p[:n], q[:n]) {
				t.Fatalf("ReadAt(%d bytes, %d) = %d, %v; want %d, %v", len(p), off, n, err, wantN, wantErr)
			}
		}
		if largest > 1<<20 || last > int64(len(b)) {
			t.Fatalf("asked for %d bytes at once, up to %d of %d", largest, last, len(b))
		}
	})
}

// A reader that leaves after the first bytes of an open-ended range has caused
// one ranged read, and a short range wastes at most two chunks.
func TestRangesAreReadWhenConsumed(t *testing.T) {
	plain := pattern(300 * chunk)
	b := sealBytes(t, plain)
	asked := int64(0)
	r, err := seal.NewReaderAt(ranges(b, func(_, n int64) { asked += n }), int64(len(b)), testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := r.OpenRange(t.Context(), 200*chunk+5, -1)
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(io.Discard, rc, 1000)
	rc.Close()
	if asked > 1<<20 {
		t.Errorf("an open-ended range read %d bytes ahead", asked)
	}
	asked = 0
	if _, err := r.ReadAt(make([]byte, 1000), 100*chunk+500); err != nil || asked != sealed {
		t.Errorf("1000 bytes inside a chunk: asked for %d, %v", asked, err)
	}
	asked = 0
	if _, err := r.ReadAt(make([]byte, chunk), 100*chunk+500); err != nil || asked != 2*sealed {
		t.Errorf("a range over a border: asked for %d, %v", asked, err)
	}
}

func TestRangeEndsWithItsContext(t *testing.T) {
	b := sealBytes(t, pattern(100*chunk))
	r, err := seal.NewReaderAt(ranges(b, nil), int64(len(b)), testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rc, err := r.OpenRange(ctx, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(rc); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	if _, err := rc.Read(make([]byte, 1)); err == nil {
		t.Error("read after Close")
	}
}

type failingWriter struct{ room int }

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.room < len(p) {
		return f.room, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

var errFull = errors.New("full")

func TestWriterErrorsStick(t *testing.T) {
	w, err := seal.NewWriter(&failingWriter{room: 200_000}, testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		w.Write(make([]byte, 10_000))
	}
	if _, err := w.Write([]byte{1}); !errors.Is(err, errFull) {
		t.Errorf("Write = %v", err)
	}
	for range 2 {
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("Close = %v", err)
		}
	}

	var out bytes.Buffer
	if w, err = seal.NewWriter(&out, testKey, testHeader); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	w.Abort()
	if err := w.Close(); err == nil {
		t.Error("Close after Abort says that the object is complete")
	}
	if out.Len() > 0 {
		t.Error("Abort wrote")
	}
}

// The hot paths allocate nothing that grows with the object.
func TestAllocations(t *testing.T) {
	plain := pattern(64 * chunk)
	b := sealBytes(t, plain)
	measure := func(name string, want float64, do func()) {
		t.Helper()
		if n := testing.AllocsPerRun(10, do); n > want {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
	w, err := seal.NewWriter(io.Discard, testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	measure("write", 0, func() { w.Write(plain) })
	r, err := seal.NewReaderAt(ranges(b, nil), int64(len(b)), testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	measure("range", 30, func() {
		rc, err := r.OpenRange(context.Background(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, rc); n != int64(len(plain)) || err != nil {
			t.Fatal(n, err)
		}
		rc.Close()
	})
}

// FuzzOpen: no input that was not sealed opens, and none makes a reader panic.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, []byte{})
	for _, n := range []int{0, 100, chunk, 2*chunk + 9} {
		b := sealBytes(f, pattern(n))
		f.Add(b, []byte{})
		f.Add(b, b[seal.PrefixSize:min(len(b), seal.PrefixSize+sealed)])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		in := append(bytes.Clone(a), b...)
		for name, open := range openers {
			got, err := open(in, testKey, testHeader)
			if err == nil && !bytes.Equal(got, pattern(len(got))) {
				t.Errorf("%s: opened what was never sealed", name)
			}
		}
		if h, err := seal.ParseHeader(in); err == nil {
			if _, err := seal.NewWriter(io.Discard, testKey, h); err != nil {
				t.Errorf("a header that was read cannot be written: %v", err)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	plain := pattern(220_000)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		w, _ := seal.NewWriter(io.Discard, testKey, testHeader)
		w.Write(plain)
		w.Close()
	}
}

func BenchmarkRange(b *testing.B) {
	plain := pattern(220_000)
	s := sealBytes(b, plain)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		r, _ := seal.NewReaderAt(ranges(s, nil), int64(len(s)), testKey, testHeader)
		rc, _ := r.OpenRange(b.Context(), 0, -1)
		io.Copy(io.Discard, rc)
		rc.Close()
	}
}
