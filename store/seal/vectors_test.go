package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"lumen/store/seal"
)

var update = flag.Bool("update", false, "write testdata/vectors.txt again")

// The vectors are frozen with the format: key 00..1f, salt 20..37, handles
// a0.., b0.., c0.., plaintext from pattern. Short objects stand there whole, longer
// ones by their SHA-256. testdata/README.md says how another implementation
// made the same bytes.
func TestVectors(t *testing.T) {
	var out strings.Builder
	for _, size := range []int{0, 1, 16, 100, chunk - 1, chunk, chunk + 1, 40 * chunk} {
		var b bytes.Buffer
		w, err := seal.NewWriterWithSalt(&b, vectorKey(t), vectorHeader(), [24]byte(count(0x20, 24)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if size <= 100 {
			fmt.Fprintf(&out, "%d hex %s\n", size, hex.EncodeToString(b.Bytes()))
		}
		fmt.Fprintf(&out, "%d sha256 %x\n", size, sha256.Sum256(b.Bytes()))
		got, err := openStream(b.Bytes(), vectorKey(t), vectorHeader())
		if err != nil || !bytes.Equal(got, pattern(size)) {
			t.Errorf("%d bytes do not open: %v", size, err)
		}
	}
	const name = "testdata/vectors.txt"
	if *update {
		if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("sealed bytes differ from %s: the format has changed", name)
	}
}

func vectorKey(t *testing.T) seal.Key {
	t.Helper()
	k, err := seal.NewKey(count(0, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func vectorHeader() seal.Header {
	return seal.Header{Kind: seal.KindInstance, Tenant: seal.Handle(count(0xa0, 16)),
		Study: seal.Handle(count(0xb0, 16)), Blob: seal.Handle(count(0xc0, 16))}
}

// count is n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}
