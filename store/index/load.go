package index

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
)

// loadBatch is how many studies a worker opens at a time.
const loadBatch = 4096

// sealedStudy is one entry of the bucket "study", in mapped memory.
type sealedStudy struct{ key, value []byte }

// load opens all study records, on all processors, and builds the study table.
func (db *DB) load(ctx context.Context) error {
	var parts [][]columns
	err := db.bolt.View(func(tx *bolt.Tx) error {
		group, working := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		var batch []sealedStudy
		send := func() {
			if len(batch) == 0 {
				return
			}
			out := make([]columns, len(batch))
			parts = append(parts, out)
			sealed := batch
			batch = nil
			group.Go(func() error { return guard(func() error { return db.openColumns(out, sealed) }) })
		}
		c := tx.Bucket(bucketStudy).Cursor()
		for k, v := c.First(); k != nil && working.Err() == nil; k, v = c.Next() {
			if batch == nil {
				batch = make([]sealedStudy, 0, loadBatch)
			}
			if batch = append(batch, sealedStudy{k, v}); len(batch) == loadBatch {
				send()
			}
		}
		send()
		if err := group.Wait(); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return err
	}
	db.table.Store(newTable(parts))
	return nil
}

// openColumns opens study records.
func (db *DB) openColumns(out []columns, sealed []sealedStudy) error {
	x := extractor{sets: &db.sets}
	var plain, scratch []byte
	var err error
	for i, s := range sealed {
		plain, scratch, err = db.seal.open(plain[:0], scratch, bucketStudy, s.key, s.value)
		if err != nil {
			return err
		}
		var r studyRecord
		if len(s.key) != len(token{}) {
			return errShort
		}
		if err := r.parse(plain); err != nil {
			return err
		}
		if out[i], err = x.columns(token(s.key), &r); err != nil {
			return err
		}
	}
	return nil
}

// newTable builds a table of the studies in parts.
func newTable(parts [][]columns) *table {
	type place struct {
		newest uint64 // larger is earlier in the table
		at     *columns
	}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	order := make([]place, 0, n)
	for _, p := range parts {
		for i := range p {
			c := &p[i]
			order = append(order, place{uint64(c.key.date)<<32 | uint64(c.key.time), c})
		}
	}
	slices.SortFunc(order, func(a, b place) int {
		if c := cmp.Compare(b.newest, a.newest); c != 0 {
			return c
		}
		return a.at.key.compare(&b.at.key)
	})
	const fill = blockRows * 7 / 8 // room for what comes
	t := &table{studies: n, blocks: make([]*block, (n+fill-1)/fill)}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range t.blocks {
		group.Go(func() error {
			rows := order[i*fill : min(n, (i+1)*fill)]
			var size [textColumns]int
			for _, p := range rows {
				for c := range size {
					size[c] += len(p.at.text(c))
				}
			}
			b := newBlock(len(rows), size)
			for _, p := range rows {
				b.add(p.at)
			}
			t.blocks[i] = b
			return nil
		})
	}
	_ = group.Wait() // none fails
	return t
}
