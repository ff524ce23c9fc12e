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

// pageRows is how many rows are read in one transaction and held in memory
// between two yields.
const pageRows = 256

// keptRows is how many rows of a series are kept in memory while it is put in
// order; those of a larger one are read a second time.
const keptRows = 1024

// Locate finds the row of an instance; see [store.Index].
func (db *DB) Locate(ctx context.Context, sopInstanceUID string) (store.Row, bool, error) {
	t := db.token(kindInstance, sopInstanceUID)
	if p, ok := db.queue.pendingRow(t); ok {
		if p.removed {
			return store.Row{}, false, nil
		}
		return *p.row, true, nil
	}
	var row store.Row
	found := false
	err := db.view(func(tx *bolt.Tx) error {
		r := db.reader(tx)
		p, ok, err := r.locate(t)
		if !ok || err != nil {
			return err
		}
		row, found, err = r.row(p.key())
		return err
	})
	return row, found && err == nil, err
}

// StudyHandle finds the handle of the key that seals a study; see [store.Index].
func (db *DB) StudyHandle(ctx context.Context, studyInstanceUID string) ([16]byte, bool, error) {
	t := db.token(kindStudy, studyInstanceUID)
	if h, ok := db.queue.pendingHandle(t); ok {
		return h, true, nil
	}
	var study *studyRecord
	err := db.view(func(tx *bolt.Tx) (err error) {
		study, err = db.reader(tx).study(t)
		return err
	})
	if study == nil || err != nil {
		return [16]byte{}, false, err
	}
	return study.handle, true, nil
}

// reader opens values within one read transaction.
type reader struct {
	db      *DB
	tx      *bolt.Tx
	scratch []byte
	opened  int // values
}

func (db *DB) reader(tx *bolt.Tx) *reader { return &reader{db: db, tx: tx} }

// get returns the plaintext at key, nil when there is none.
func (r *reader) get(bucket, key []byte) ([]byte, error) {
	return r.plain(bucket, key, r.tx.Bucket(bucket).Get(key))
}

func (r *reader) plain(bucket, key, value []byte) (plain []byte, err error) {
	if value == nil {
		return nil, nil
	}
	r.opened++
	plain, r.scratch, err = r.db.seal.open(nil, r.scratch, bucket, key, value)
	return plain, err
}

func (r *reader) study(t token) (*studyRecord, error) {
	plain, err := r.get(bucketStudy, t[:])
	if plain == nil || err != nil {
		return nil, err
	}
	s := new(studyRecord)
	return s, s.parse(plain)
}

func (r *reader) locate(instance token) (path, bool, error) {
	at := r.tx.Bucket(bucketLocation).Get(instance[:])
	switch len(at) {
	case 0:
		return path{}, false, nil
	case 32:
		return path{token(at[:16]), token(at[16:]), instance}, true, nil
	}
	return path{}, false, errShort
}

func (r *reader) row(key []byte) (store.Row, bool, error) {
	plain, err := r.get(bucketInstance, key)
	if plain == nil || err != nil {
		return store.Row{}, false, err
	}
	row, err := parseRow(plain)
	return row, err == nil, err
}

// seriesEntry is one series of a study.
type seriesEntry struct {
	token  token
	entity *store.Entity
}

// series returns the series of a study that pass, by series number.
func (r *reader) series(study token, pass func(token, *store.Entity) bool) ([]seriesEntry, error) {
	var list []seriesEntry
	c := r.tx.Bucket(bucketSeries).Cursor()
	for k, v := c.Seek(study[:]); bytes.HasPrefix(k, study[:]); k, v = c.Next() {
		if len(k) != 32 {
			return nil, errShort
		}
		plain, err := r.plain(bucketSeries, k, v)
		if err != nil {
			return nil, err
		}
		var s seriesRecord
		if err := s.parse(plain); err != nil {
			return nil, err
		}
		e, err := s.entity()
		if err != nil {
			return nil, err
		}
		if t := token(k[16:]); pass(t, e) {
			list = append(list, seriesEntry{t, e})
		}
	}
	slices.SortStableFunc(list, func(a, b seriesEntry) int {
		return cmp.Compare(orderNumber(a.entity, dict.SeriesNumber), orderNumber(b.entity, dict.SeriesNumber))
	})
	return list, nil
}

// orderNumber is the number that an entity stands by; without one it comes last.
func orderNumber(e *store.Entity, tag dict.Tag) int {
	if n, ok := e.Attributes.Int(tag); ok {
		return n
	}
	return math.MaxInt
}

// instanceEntity returns the instance as searches see it.
func instanceEntity(r *store.Row) *store.Entity {
	return &store.Entity{Level: store.InstanceLevel, UID: r.SOPInstanceUID, Attributes: r.Attributes, TransferSyntax: r.TransferSyntaxUID}
}

// numbered is a row's place in its series.
type numbered struct {
	number int
	key    []byte
	row    *store.Row // nil: to be read again
}

// rows yields the rows of a series that pass, by instance number. opened counts
// what was read.
func (db *DB) rows(ctx context.Context, study, series token, opened *int, pass func(*store.Row) bool) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		var list []numbered
		prefix := append(study[:], series[:]...)
		err := db.view(func(tx *bolt.Tx) error {
			r := db.reader(tx)
			defer func() { *opened += r.opened }()
			c := tx.Bucket(bucketInstance).Cursor()
			for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
				if len(list)%pageRows == 0 && ctx.Err() != nil {
					return context.Cause(ctx)
				}
				plain, err := r.plain(bucketInstance, k, v)
				if err != nil {
					return err
				}
				row, err := parseRow(plain)
				if err != nil {
					return err
				}
				if !pass(&row) {
					continue
				}
				n := numbered{number: orderNumber(instanceEntity(&row), dict.InstanceNumber), key: bytes.Clone(k)}
				if len(list) < keptRows {
					n.row = &row
				}
				list = append(list, n)
			}
			return nil
		})
		if err != nil {
			yield(store.Row{}, err)
			return
		}
		db.yieldRows(ctx, byNumber(list), yield)
	}
}

func byNumber(list []numbered) []numbered {
	slices.SortFunc(list, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.number, b.number), bytes.Compare(a.key, b.key))
	})
	return list
}

// rowsAt is rows for the given instances only.
func (db *DB) rowsAt(ctx context.Context, instances []path, study, series token, pass func(*store.Row) bool) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		var list []numbered
		err := db.view(func(tx *bolt.Tx) error {
			r := db.reader(tx)
			for _, p := range instances {
				if p.study != study || p.series != series {
					continue
				}
				row, ok, err := r.row(p.key())
				if err != nil {
					return err
				}
				if !ok || !pass(&row) {
					continue
				}
				n := numbered{number: orderNumber(instanceEntity(&row), dict.InstanceNumber), key: p.key()}
				if len(list) < keptRows {
					n.row = &row
				}
				list = append(list, n)
			}
			return nil
		})
		if err != nil {
			yield(store.Row{}, err)
			return
		}
		db.yieldRows(ctx, byNumber(list), yield)
	}
}

// yieldRows yields the rows of a list, reading those that are not in memory
// page by page. It reports whether to go on.
func (db *DB) yieldRows(ctx context.Context, list []numbered, yield func(store.Row, error) bool) bool {
	for len(list) > 0 {
		if ctx.Err() != nil {
			yield(store.Row{}, context.Cause(ctx))
			return false
		}
		page := list[:min(pageRows, len(list))]
		list = list[len(page):]
		err := db.view(func(tx *bolt.Tx) error {
			r := db.reader(tx)
			for i := range page {
				if page[i].row != nil {
					continue
				}
				row, ok, err := r.row(page[i].key)
				if err != nil {
					return err
				}
				if ok { // else it was removed meanwhile
					page[i].row = &row
				}
			}
			return nil
		})
		if err != nil {
			yield(store.Row{}, err)
			return false
		}
		for i := range page {
			row := page[i].row
			page[i].row = nil
			if row != nil && !yield(*row, nil) {
				return false
			}
		}
	}
	return true
}
