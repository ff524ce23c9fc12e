package storetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"lumen/store"
)

// Journal is a [store.Journal] in memory. The zero value is empty and works.
type Journal struct {
	Time time.Time // of every record

	mu      sync.Mutex
	events  []store.Event
	durable int // of events; posted ones become so with the next Append
	fail    error
	persist bool
	before  func(store.Event)
}

// Fail makes every Append and Err fail with an error that wraps
// [store.ErrJournal] and err; nil mends the journal. With persist the events
// are recorded all the same, as after a failed fsync whose bytes had reached
// the disk.
func (j *Journal) Fail(err error, persist bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail, j.persist = err, persist
}

// Before has f called for every event of an Append before it is recorded.
func (j *Journal) Before(f func(store.Event)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = f
}

// Append implements [store.Journal].
func (j *Journal) Append(ctx context.Context, events ...store.Event) (store.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrJournal, err)
	}
	j.mu.Lock()
	before := j.before
	j.mu.Unlock()
	if before != nil {
		for _, e := range events {
			before(e)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail == nil || j.persist {
		j.events = append(j.events, events...)
		j.durable = len(j.events)
	}
	if j.fail != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrJournal, j.fail)
	}
	return store.Position(len(j.events)), nil
}

// Post implements [store.Journal].
func (j *Journal) Post(e store.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// Err implements [store.Journal].
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return fmt.Errorf("%w: %w", store.ErrJournal, j.fail)
	}
	return nil
}

// Replay implements [store.Journal].
func (j *Journal) Replay(ctx context.Context, from store.Position) iter.Seq2[store.Recorded, error] {
	return func(yield func(store.Recorded, error) bool) {
		events := j.Events()
		for i := int(from); i < len(events); i++ {
			if err := ctx.Err(); err != nil {
				yield(store.Recorded{}, err)
				return
			}
			if !yield(store.Recorded{Position: store.Position(i), Time: j.Time, Event: events[i]}, nil) {
				return
			}
		}
	}
}

// Events returns what was recorded so far, what was only posted included.
func (j *Journal) Events() []store.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// Kinds returns the kinds of [Journal.Events].
func (j *Journal) Kinds() []store.EventKind {
	var kinds []store.EventKind
	for _, e := range j.Events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Crash returns the journal as it is found after a crash: what was posted and
// not followed by an Append is gone.
func (j *Journal) Crash() *Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Journal{Time: j.Time, events: slices.Clone(j.events[:j.durable]), durable: j.durable}
}
