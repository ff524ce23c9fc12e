package index

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"lumen/dicom/dict"
	"lumen/store"
)

// Instances yields the selected rows; see [store.Index].
func (db *DB) Instances(ctx context.Context, sel store.Selection) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if err := db.Sync(ctx); err != nil {
			yield(store.Row{}, err)
			return
		}
		switch {
		case len(sel.SOPInstanceUIDs) > 0:
			db.listed(ctx, sel, yield)
		case sel.StudyInstanceUID != "":
			db.below(ctx, sel, db.token(kindStudy, sel.StudyInstanceUID), yield)
		case sel.SeriesInstanceUID != "":
			studies, err := db.parents(db.token(kindSeries, sel.SeriesInstanceUID))
			if err != nil {
				yield(store.Row{}, err)
				return
			}
			for _, t := range studies {
				if !db.below(ctx, sel, t, yield) {
					return
				}
			}
		default:
			db.everything(ctx, yield)
		}
	}
}

// parents returns the studies that have the series: one, unless a peer breaks
// the rules.
func (db *DB) parents(series token) (studies []token, err error) {
	err = db.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketParent).Cursor()
		for k, _ := c.Seek(series[:]); bytes.HasPrefix(k, series[:]); k, _ = c.Next() {
			if len(k) != 32 {
				return errShort
			}
			studies = append(studies, token(k[16:]))
		}
		return nil
	})
	return studies, err
}

// below yields the rows of a study, or of the selected series of it.
func (db *DB) below(ctx context.Context, sel store.Selection, study token, yield func(store.Row, error) bool) bool {
	var series []seriesEntry
	err := db.view(func(tx *bolt.Tx) (err error) {
		series, err = db.reader(tx).series(study, func(_ token, e *store.Entity) bool {
			return sel.SeriesInstanceUID == "" || e.UID == sel.SeriesInstanceUID
		})
		return err
	})
	if err != nil {
		yield(store.Row{}, err)
		return false
	}
	opened := 0
	for _, s := range series {
		for row, err := range db.rows(ctx, study, s.token, &opened, func(*store.Row) bool { return true }) {
			if !yield(row, err) || err != nil {
				return false
			}
		}
	}
	return true
}

// listed yields the rows of the selection's SOP Instance UIDs that are where
// the selection says.
func (db *DB) listed(ctx context.Context, sel store.Selection, yield func(store.Row, error) bool) {
	type place struct {
		series, instance int
		key              []byte
	}
	var places []place
	seen := make(map[token]bool, len(sel.SOPInstanceUIDs))
	numbers := make(map[[32]byte]int)
	err := db.view(func(tx *bolt.Tx) error {
		r := db.reader(tx)
		for _, uid := range sel.SOPInstanceUIDs {
			t := db.token(kindInstance, uid)
			p, ok, err := r.locate(t)
			if err != nil {
				return err
			}
			if !ok || seen[t] {
				continue
			}
			seen[t] = true
			key := p.key()
			row, ok, err := r.row(key)
			if err != nil {
				return err
			}
			if !ok || sel.StudyInstanceUID != "" && row.StudyInstanceUID != sel.StudyInstanceUID ||
				sel.SeriesInstanceUID != "" && row.SeriesInstanceUID != sel.SeriesInstanceUID {
				continue
			}
			number, ok := numbers[[32]byte(key)]
			if !ok {
				if number, err = r.seriesNumber(key[:32]); err != nil {
					return err
				}
				numbers[[32]byte(key)] = number
			}
			places = append(places, place{number, orderNumber(instanceEntity(&row), dict.InstanceNumber), key})
		}
		return nil
	})
	if err != nil {
		yield(store.Row{}, err)
		return
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.series, b.series), bytes.Compare(a.key[:32], b.key[:32]),
			cmp.Compare(a.instance, b.instance), bytes.Compare(a.key, b.key))
	})
	list := make([]numbered, len(places))
	for i, p := range places {
		list[i].key = p.key
	}
	db.yieldRows(ctx, list, yield)
}

func (r *reader) seriesNumber(key []byte) (int, error) {
	plain, err := r.get(bucketSeries, key)
	if plain == nil || err != nil {
		return math.MaxInt, err
	}
	var s seriesRecord
	if err := s.parse(plain); err != nil {
		return 0, err
	}
	e, err := s.entity()
	if err != nil {
		return 0, err
	}
	return orderNumber(e, dict.SeriesNumber), nil
}

// everything yields every row, in the order of their keys.
func (db *DB) everything(ctx context.Context, yield func(store.Row, error) bool) {
	var after []byte
	for {
		var list []numbered
		err := db.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketInstance).Cursor()
			k, _ := c.Seek(after)
			if after != nil && bytes.Equal(k, after) {
				k, _ = c.Next()
			}
			for ; k != nil && len(list) < pageRows; k, _ = c.Next() {
				list = append(list, numbered{key: bytes.Clone(k)})
			}
			return nil
		})
		if err != nil {
			yield(store.Row{}, err)
			return
		}
		if len(list) == 0 {
			return
		}
		after = list[len(list)-1].key
		if !db.yieldRows(ctx, list, yield) {
			return
		}
	}
}
