package audit

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The edge's roots are those of tlog, at every size.
func TestEdgeAgreesWithTlog(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = stored[index]
		}
		return out, nil
	})
	var e edge
	var kept [maxLevels][]tlog.Hash
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range int64(70000) {
		var leaf tlog.Hash
		for i := range leaf {
			leaf[i] = byte(rng.Uint32())
		}
		more, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		e.push(leaf, func(level int, h tlog.Hash) { kept[level] = append(kept[level], h) })
		if n < 600 || n > 65500 && n < 65600 || n == 69999 {
			want, err := tlog.TreeHash(n+1, reader)
			if err != nil || e.root() != want || e.size != uint64(n+1) || len(e.hashes) != onesCount(e.size) {
				t.Fatalf("size %d: root %v, want %v, %v", n+1, e.root(), want, err)
			}
		}
	}
	for level, hashes := range kept {
		for i, h := range hashes {
			if h != stored[tlog.StoredHashIndex(level*tileHeight, int64(i))] {
				t.Fatalf("hash %d of level %d is another", i, level*tileHeight)
			}
		}
	}
	if len(kept[1]) != 273 || len(kept[2]) != 1 {
		t.Errorf("%d and %d hashes of higher levels", len(kept[1]), len(kept[2]))
	}
}

func BenchmarkEdgePush(b *testing.B) {
	var e edge
	b.ReportAllocs()
	for b.Loop() {
		e.push(tlog.Hash{}, nil)
	}
}
