package index

import (
	"bytes"
	"context"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"lumen/store"
)

// FillStudies puts n studies into the index, without series and instances and in
// the order of their keys: what the study table is read from, many times faster
// than Put, which writes each page of a large file over and over.
func FillStudies(tb testing.TB, config Config, n int, make func(i int) store.Row) {
	tb.Helper()
	db, err := Open(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	type entry struct{ key, value []byte }
	entries := []entry{}
	s := *db.state.Load()
	for i := range n {
		r := make(i)
		t := db.token(kindStudy, r.StudyInstanceUID)
		study := studyRecord{series: 1, modalities: tally{{r.Attributes.String(0x00080060), 1}}}
		study.uid, study.first, study.handle = r.StudyInstanceUID, r.Received, r.Blob.Study
		if err := study.merge(r.Attributes, store.StudyLevel); err != nil {
			tb.Fatal(err)
		}
		study.count(&r, 1)
		value, err := db.seal.seal(bucketStudy, t[:], study.append(nil), 1)
		if err != nil {
			tb.Fatal(err)
		}
		entries = append(entries, entry{bytes.Clone(t[:]), value})
		s.Studies++
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	for page := range slices.Chunk(entries, 50_000) {
		if err := db.bolt.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketStudy)
			b.FillPercent = 0.9
			for _, e := range page {
				if err := b.Put(e.key, e.value); err != nil {
					return err
				}
			}
			return db.saveState(tx, &s)
		}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}

// SetBudget sets how many records a search may open.
func (db *DB) SetBudget(n int) { db.budget = n }

// SpendRecordKey makes the index believe that the record key has sealed all but
// n of what it may.
func (db *DB) SpendRecordKey(n uint64) {
	s := *db.state.Load()
	s.Seals = maxSeals - n
	db.state.Store(&s)
}
