package audit_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/audit"
	"lumen/internal/durable"
)

func openReader(t testing.TB, h home) *audit.Reader {
	t.Helper()
	r, err := audit.OpenReader(t.Context(), h.fsys, h.dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInclusionProofs(t *testing.T) {
	for _, n := range []int{1, 2, 3, 255, 256, 257, 700} {
		h, _ := memHome(t)
		l := h.open(t)
		fill(t, l, 0, n)
		closeLog(t, l)
		r := openReader(t, h)
		for _, i := range []int{0, 1, n / 2, n - 1} {
			if i >= n {
				continue
			}
			p, err := r.Prove(t.Context(), uint64(i))
			if err != nil {
				t.Fatalf("prove %d of %d: %v", i, n, err)
			}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			back, err := audit.ParseProof(b)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := back.Verify(h.key.Public())
			if err != nil || leaf.Object != record(i).Object {
				t.Errorf("proof of %d of %d: %v, %+v", i, n, err, leaf)
			}
			back.Leaf[100] ^= 1
			if _, err := back.Verify(h.key.Public()); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("proof of an altered leaf %d of %d: %v", i, n, err)
			}
			other, err := audit.GenerateKey(origin)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Verify(other.Public()); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("proof under a foreign key: %v", err)
			}
		}
		if _, err := r.Prove(t.Context(), uint64(n)); err == nil {
			t.Error("a record that is not there was proved")
		}
	}
}

// tileHashes serves tlog from the tiles that Reader offers: what a client of
// C2SP tlog-tiles would do.
func tileHashes(t *testing.T, r *audit.Reader) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		_, c := r.Checkpoint()
		for _, index := range indexes {
			tile := tlog.TileForIndex(8, index)
			tile.W = int(min(256, c.Size>>(8*tile.L)-uint64(tile.N)*256))
			b, err := r.Tile(t.Context(), audit.TilePath(tile.L, uint64(tile.N), tile.W))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", audit.TilePath(tile.L, uint64(tile.N), tile.W), err)
			}
			h, err := tlog.HashFromTile(tile, b, index)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
		return out, nil
	}
}

func TestTilesAndEntryBundles(t *testing.T) {
	const n = 700
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, n)
	closeLog(t, l)
	r := openReader(t, h)
	if r.Size() != n {
		t.Errorf("size %d", r.Size())
	}
	_, c := r.Checkpoint()
	root, err := tlog.TreeHash(n, tileHashes(t, r))
	if err != nil || root != c.Root {
		t.Errorf("root from tiles %v, %v, want %v", root, err, c.Root)
	}
	var leaves []tlog.Hash
	for _, path := range []string{"tile/entries/000", "tile/entries/001", "tile/entries/002.p/188"} {
		b, err := r.Tile(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for len(b) > 0 {
			size := int(binary.BigEndian.Uint16(b))
			leaves = append(leaves, tlog.RecordHash(b[2:2+size]))
			b = b[2+size:]
		}
	}
	if len(leaves) != n {
		t.Fatalf("%d leaves in the bundles", len(leaves))
	}
	b, err := r.Tile(t.Context(), "tile/0/001")
	if err != nil || len(b) != 256*32 || tlog.Hash(b[:32]) != leaves[256] {
		t.Errorf("tile/0/001: %d bytes, %v", len(b), err)
	}
	for _, path := range []string{"", "tile", "tile/0", "tile/0/", "tile/0/003", "tile/0/002", "tile/0/002.p/189", "tile/0/002.p/0",
		"tile/0/002.p/256", "tile/0/x000/000", "tile/0/1", "tile/00/000", "tile/9/000", "tile/1/000", "tile/-1/000", "tile/data/000",
		"tile/0/x001/x001/x001/x001/x001/x001/001", "tile/0/x999/x999/x999/x999/x999/999", "../checkpoint", "tile/0/000/000"} {
		if _, err := r.Tile(t.Context(), path); !errors.Is(err, audit.ErrNoTile) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if got, err := r.Tile(t.Context(), "checkpoint"); err != nil || string(got) != string(h.read(t, "checkpoint")) {
		t.Errorf("checkpoint: %v", err)
	}
	for n, want := range map[uint64]string{0: "tile/0/000", 67: "tile/0/067", 1234067: "tile/0/x001/x234/067"} {
		if got := audit.TilePath(0, n, 256); got != want {
			t.Errorf("tile %d is %s, want %s", n, got, want)
		}
	}
}

func TestFindShowsAllOfOnePatient(t *testing.T) {
	const n = 100
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, n)
	closeLog(t, l)
	patient := token("patient", "P1")
	found, report, err := audit.Find(t.Context(), h.fsys, h.dir, h.key.Public(), func(leaf audit.Leaf) bool { return leaf.Patient == patient })
	if err != nil || report.Records != n || len(found) != 33 {
		t.Fatalf("%d found: %v", len(found), err)
	}
	for i, e := range found {
		if e.Index != uint64(3*i+1) || sha256.Sum256(e.Sealed) != e.Leaf.Payload {
			t.Errorf("found %d is record %d", i, e.Index)
		}
		plain, err := openPayload(audit.Month(e.Leaf.Time), e.Sealed)
		if err != nil || string(plain) != string(record(int(e.Index)).Payload) {
			t.Errorf("payload of %d: %v", e.Index, err)
		}
	}
	h.rewrite(t, 0, func(f []rawFrame) []rawFrame { i := locate(f, 4); return renumber(append(f[:i:i], f[i+1:]...)) })
	if _, _, err := audit.Find(t.Context(), h.fsys, h.dir, h.key.Public(), func(leaf audit.Leaf) bool { return leaf.Patient == patient }); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("with one withheld: %v", err)
	}
}

func TestVerifyAndReadWhileItRuns(t *testing.T) {
	h := newHome(t, durable.OS(), t.TempDir())
	l := h.open(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := l.Append(t.Context(), record(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	last := uint64(0)
	for range 12 {
		r, err := audit.Verify(t.Context(), h.fsys, h.dir, h.key.Public(), l.Checkpoint())
		if err != nil || r.Records < last {
			t.Fatalf("verify: %v\n%s", err, r.String())
		}
		last = r.Records
		if n := openReader(t, h).Size(); n < last {
			t.Errorf("a reader saw %d records after %d", n, last)
		}
	}
	stop()
	wg.Wait()
	n := l.Size()
	closeLog(t, l)
	wantClean(t, h, n)
}

func TestNoJournal(t *testing.T) {
	mem := durable.NewMem(0)
	if _, err := audit.OpenReader(t.Context(), mem, "/none"); err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Errorf("OpenReader: %v", err)
	}
	if _, err := audit.Verify(t.Context(), mem, "/none", ""); err == nil || errors.Is(err, audit.ErrTampered) {
		t.Errorf("Verify: %v", err)
	}
	if _, err := audit.Verify(t.Context(), mem, "/none", "no key"); err == nil {
		t.Error("a key that is none was taken")
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	fsys := durable.OS()
	key, created, err := audit.LoadOrGenerateKey(fsys, dir+"/sign", origin)
	if err != nil || !created || key.Origin() != origin {
		t.Fatal(err)
	}
	again, created, err := audit.LoadOrGenerateKey(fsys, dir+"/sign", "another")
	if err != nil || created || again.Public() != key.Public() {
		t.Errorf("loaded %v, created %v, %v", again, created, err)
	}
	secret, err := durable.ReadFile(fsys, dir+"/sign", 4096)
	if err != nil {
		t.Fatal(err)
	}
	seed := strings.TrimSpace(string(secret))[len(secret)-20:]
	if s := fmt.Sprintf("%v %+v %#v %s", key, key, key, key.LogValue()); strings.Contains(s, seed) || !strings.Contains(s, origin) {
		t.Errorf("printed as %s", s)
	}
	if err := durable.WriteFile(fsys, dir+"/open", secret, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.LoadKey(fsys, dir+"/open"); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that others can read: %v", err)
	}
	for _, bad := range []string{"", "x", "PRIVATE+KEY+a+b", "PRIVATE+KEY+a+00000000+AAAA"} {
		if err := durable.WriteFile(fsys, dir+"/bad", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.LoadKey(fsys, dir+"/bad"); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	for _, bad := range []string{"", "a b", "a+b", "ä", strings.Repeat("a", 256)} {
		if _, err := audit.GenerateKey(bad); err == nil {
			t.Errorf("%q is an origin", bad)
		}
	}
}
