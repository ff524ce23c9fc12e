package storetest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// Index is a [store.Index] in memory, naive throughout: a model to hold the
// real one against. The zero value is empty and works.
type Index struct {
	// Lag keeps what was put from becoming durable until Sync or Close, so that
	// Crash forgets it.
	Lag bool

	mu        sync.Mutex
	rows      map[string]store.Row // by SOP Instance UID, pending ones included
	covered   store.Position       // pending included
	durable   map[string]store.Row
	committed store.Position
	fail      error
}

// Fail makes every Put and Remove fail; nil mends the index.
func (x *Index) Fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = err
}

// Put implements [store.Index].
func (x *Index) Put(ctx context.Context, rows []store.Row, covered store.Position) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return x.change(covered, func() {
		for _, r := range rows {
			x.rows[r.SOPInstanceUID] = r
		}
	})
}

// Remove implements [store.Index].
func (x *Index) Remove(_ context.Context, rows []store.Row, covered store.Position) error {
	return x.change(covered, func() {
		for _, r := range rows {
			delete(x.rows, r.SOPInstanceUID)
		}
	})
}

func (x *Index) change(covered store.Position, change func()) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return x.fail
	}
	if x.rows == nil {
		x.rows = make(map[string]store.Row)
	}
	change()
	x.covered = max(x.covered, covered)
	if !x.Lag {
		x.commit()
	}
	return nil
}

func (x *Index) commit() { x.durable, x.committed = maps.Clone(x.rows), x.covered }

// Locate implements [store.Index].
func (x *Index) Locate(_ context.Context, sopInstanceUID string) (store.Row, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, ok := x.rows[sopInstanceUID]
	return r, ok, nil
}

// StudyHandle implements [store.Index].
func (x *Index) StudyHandle(_ context.Context, studyInstanceUID string) ([16]byte, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.rows {
		if r.StudyInstanceUID == studyInstanceUID {
			return r.Blob.Study, true, nil
		}
	}
	return [16]byte{}, false, nil
}

// Covered implements [store.Index].
func (x *Index) Covered() store.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.committed
}

// Sync implements [store.Index].
func (x *Index) Sync(context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.commit()
	return nil
}

// Close implements [store.Index].
func (x *Index) Close() error { return x.Sync(context.Background()) }

// Crash returns the index as it is found after a crash.
func (x *Index) Crash() *Index {
	x.mu.Lock()
	defer x.mu.Unlock()
	return &Index{
		Lag:  x.Lag,
		rows: maps.Clone(x.durable), durable: maps.Clone(x.durable),
		covered: x.committed, committed: x.committed,
	}
}

// Instances implements [store.Index].
func (x *Index) Instances(_ context.Context, sel store.Selection) iter.Seq2[store.Row, error] {
	x.mu.Lock()
	defer x.mu.Unlock()
	var rows []store.Row
	for _, r := range x.rows {
		if (sel.StudyInstanceUID == "" || r.StudyInstanceUID == sel.StudyInstanceUID) &&
			(sel.SeriesInstanceUID == "" || r.SeriesInstanceUID == sel.SeriesInstanceUID) &&
			(sel.SOPInstanceUIDs == nil || slices.Contains(sel.SOPInstanceUIDs, r.SOPInstanceUID)) {
			rows = append(rows, r)
		}
	}
	number := func(r store.Row, t dicom.Tag) int { n, _ := r.Attributes.Int(t); return n }
	slices.SortFunc(rows, func(a, b store.Row) int {
		return cmp.Or(
			cmp.Compare(number(a, dict.SeriesNumber), number(b, dict.SeriesNumber)),
			cmp.Compare(a.SeriesInstanceUID, b.SeriesInstanceUID),
			cmp.Compare(number(a, dict.InstanceNumber), number(b, dict.InstanceNumber)),
			cmp.Compare(a.SOPInstanceUID, b.SOPInstanceUID))
	})
	return func(yield func(store.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Search implements [store.Index]: studies, their series and instances in the
// order in which they came in. Of attributes that differ, the first received
// wins.
func (x *Index) Search(ctx context.Context, q *store.Query) iter.Seq2[store.Match, error] {
	rows := slices.SortedFunc(maps.Values(x.snapshot()), func(a, b store.Row) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	return func(yield func(store.Match, error) bool) {
		skip, left := q.Offset, q.Limit
		assembly := q.Assembly()
		for _, path := range paths(rows, q.Level) {
			if !matchesAll(q, path) {
				continue
			}
			if skip--; skip >= 0 {
				continue
			}
			if !yield(assembly.Match(path...), nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

func (x *Index) snapshot() map[string]store.Row {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.rows)
}

func matchesAll(q *store.Query, path []*store.Entity) bool {
	for _, e := range path {
		if !q.Matches(e) {
			return false
		}
	}
	return true
}

// paths lists the entities of a level, each after those it belongs to.
func paths(rows []store.Row, level store.Level) [][]*store.Entity {
	var list [][]*store.Entity
	known := make(map[string]*store.Entity)
	for _, r := range rows {
		var path []*store.Entity
		fresh := false
		for l, uid := range []string{r.StudyInstanceUID, r.SeriesInstanceUID, r.SOPInstanceUID}[:level+1] {
			key := string(rune('0'+l)) + uid
			e := known[key]
			if fresh = e == nil; fresh {
				e = &store.Entity{Level: store.Level(l), UID: uid, Attributes: r.Attributes, TransferSyntax: r.TransferSyntaxUID}
				known[key] = e
			}
			path = append(path, e)
		}
		if fresh {
			list = append(list, path)
		}
	}
	count(rows, known)
	return list
}

// count fills in what is counted below studies and series.
func count(rows []store.Row, known map[string]*store.Entity) {
	series := make(map[string]bool)
	add := func(list []string, v string) []string {
		if v == "" || slices.Contains(list, v) {
			return list
		}
		list = append(list, v)
		slices.Sort(list)
		return list
	}
	for _, r := range rows {
		study := known["0"+r.StudyInstanceUID]
		study.Instances++
		study.Modalities = add(study.Modalities, r.Attributes.String(dict.Modality))
		study.SOPClasses = add(study.SOPClasses, r.SOPClassUID)
		if !series[r.SeriesInstanceUID] {
			series[r.SeriesInstanceUID] = true
			study.Series++
		}
		if s := known["1"+r.SeriesInstanceUID]; s != nil {
			s.Instances++
		}
	}
}

// ErrInjected is what tests make things fail with.
var ErrInjected = errors.New("injected failure")
