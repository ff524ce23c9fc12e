package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var surnames = []string{"muller", "schmidt", "garcia", "nguyen", "smith", "johnson", "brown", "ivanova", "rossi", "kowalska", "tanaka", "silva"}

func syntheticStudy(r *rand.Rand, i int) *columns {
	c := &columns{}
	binary.BigEndian.PutUint64(c.key.token[:], r.Uint64())
	day := r.IntN(20 * 360)
	c.key.date = int32(20060101 + day/360*10000 + day%360/30*100 + day%30)
	c.key.time = int32(r.IntN(86400))
	c.numbers = [numberColumns]int32{c.key.date, 19500101 + int32(r.IntN(50))*10000, c.key.time}
	for column, text := range [textColumns]string{
		columnName:        fmt.Sprintf("%s%x^%s", surnames[r.IntN(len(surnames))], r.IntN(5000), surnames[r.IntN(len(surnames))]),
		columnPatientID:   fmt.Sprintf("PID%07d", i/2),
		columnAccession:   fmt.Sprintf("A%08d", i),
		columnDescription: "Coloscopy with biopsy",
		columnReferring:   surnames[r.IntN(len(surnames))] + "^doctor",
		columnStudyID:     fmt.Sprintf("%d", i),
		columnSex:         "F",
	} {
		c.texts += text
		c.ends[column] = uint32(len(c.texts))
	}
	return c
}

func buildTable(n int) *table {
	r := rand.New(rand.NewPCG(1, 2))
	t := &table{}
	for n > 0 {
		var changes []change
		for range min(n, 100_000) {
			changes = append(changes, change{new: syntheticStudy(r, n)})
			n--
		}
		t = t.apply(changes)
	}
	return t
}

func scan(t *table, all []predicate, limit int) int {
	var rows []int
	found := 0
	for _, b := range t.blocks {
		rows, _ = candidates(rows[:0], b, 0, b.len(), all, limit-found)
		if found += len(rows); found >= limit {
			break
		}
	}
	return found
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		t := buildTable(n)
		runtime.GC()
		runtime.ReadMemStats(&after)
		for name, p := range map[string]predicate{
			"infix":      textHolds{columnName, newPattern("*ullerx*")},
			"infixhit":   textHolds{columnName, newPattern("*uller13*")},
			"prefix":     textHolds{columnName, newPattern("kowalska138*")},
			"prefixmiss": textHolds{columnName, newPattern("uller*")},
			"hash":       hashIs{0, []uint32{hashText("PID0000000")}},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				for b.Loop() {
					scan(t, []predicate{p}, 100)
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/study")
			})
		}
		runtime.KeepAlive(t)
	}
}

func TestTableAgreesWithSortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 7))
		tab := &table{}
		var model []*columns
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			var changes []change
			known := len(model)
			for range rapid.IntRange(0, 1500).Draw(t, "new") {
				s := syntheticStudy(r, r.IntN(1000))
				changes = append(changes, change{new: s})
				model = append(model, s)
			}
			edited := map[token]bool{}
			for range rapid.IntRange(0, 50).Draw(t, "edits") {
				i := r.IntN(len(model) + 1)
				if i >= known || edited[model[i].key.token] {
					continue
				}
				old := model[i].key
				edited[old.token] = true
				s := syntheticStudy(r, 5)
				s.key.token = old.token
				if r.IntN(2) == 0 {
					s.key = old
				}
				changes = append(changes, change{old: &old, new: s})
				model[i] = s
			}
			tab = tab.apply(changes)
			sorted := slices.SortedFunc(slices.Values(model), func(a, b *columns) int { return a.key.compare(&b.key) })
			i := 0
			for _, b := range tab.blocks {
				if b.len() == 0 || b.len() > blockRows {
					t.Fatalf("block of %d rows", b.len())
				}
				for row := range b.len() {
					if b.keys[row] != sorted[i].key {
						t.Fatalf("row %d differs", i)
					}
					for c := range textColumns {
						if string(b.texts[c].row(row)) != sorted[i].text(c) {
							t.Fatalf("row %d column %d: %q, want %q", i, c, b.texts[c].row(row), sorted[i].text(c))
						}
					}
					i++
				}
			}
			if i != len(model) || tab.studies != i {
				t.Fatalf("%d rows, want %d", i, len(model))
			}
		}
	})
}
