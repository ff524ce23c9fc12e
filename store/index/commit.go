package index

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"lumen/internal/durable"
	"lumen/store"
)

// Put queues rows; see [store.Index].
func (db *DB) Put(ctx context.Context, rows []store.Row, covered store.Position) error {
	return db.enqueue(ctx, rows, covered, false)
}

// Remove queues the removal of rows; see [store.Index].
func (db *DB) Remove(ctx context.Context, rows []store.Row, covered store.Position) error {
	return db.enqueue(ctx, rows, covered, true)
}

func (db *DB) enqueue(ctx context.Context, rows []store.Row, covered store.Position, removed bool) error {
	j := job{covered: covered, rows: make([]pending, len(rows))}
	for i := range rows {
		row := rows[i]
		j.rows[i] = pending{row: &row, removed: removed, tokens: path{
			study:    db.token(kindStudy, row.StudyInstanceUID),
			series:   db.token(kindSeries, row.SeriesInstanceUID),
			instance: db.token(kindInstance, row.SOPInstanceUID),
		}}
	}
	return db.queue.add(ctx, j)
}

// Sync returns when everything that was put before is durable.
func (db *DB) Sync(ctx context.Context) error { return db.queue.wait(ctx) }

// commitAll is the committer: one transaction after the other, each with all
// that was queued while the last was written and, as long as nobody waits for
// it, a moment after that. So whoever waits waits for at most two transactions.
func (db *DB) commitAll() {
	defer close(db.done)
	for range db.queue.wake {
		for {
			db.queue.linger()
			jobs, closed := db.queue.take()
			if len(jobs) == 0 {
				if closed {
					return
				}
				break
			}
			err := db.commit(jobs)
			if db.config.Fatal != nil && durable.IsFatal(err) {
				db.config.Fatal(err) // nobody may be waiting who would hear of it
			}
			db.queue.finish(len(jobs), err)
			if err != nil {
				if closed {
					return
				}
				break // until somebody puts or waits again
			}
		}
	}
}

// commit writes the jobs in one transaction and publishes the study table.
func (db *DB) commit(jobs []job) error {
	s := *db.state.Load()
	w := writer{db: db, state: &s}
	err := db.guard(func() error {
		return db.bolt.Update(func(tx *bolt.Tx) error {
			w.begin(tx)
			for _, j := range jobs {
				for i := range j.rows {
					if err := w.apply(&j.rows[i]); err != nil {
						return err
					}
				}
				s.Covered = max(s.Covered, j.covered)
			}
			if err := w.flush(); err != nil {
				return err
			}
			return db.saveState(tx, &s)
		})
	})
	if err != nil {
		return writeError(err)
	}
	if len(w.changes) > 0 {
		db.table.Store(db.table.Load().apply(w.changes))
	}
	db.state.Store(&s)
	return nil
}

// writeError tells a full disk, which may pass, from a disk that fails.
func writeError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("write the index: %w: %w", store.ErrNoSpace, err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("write the index: %w: %w", durable.ErrSync, err)
	}
	return fmt.Errorf("write the index: %w", err)
}
