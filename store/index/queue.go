package index

import (
	"context"
	"sync"
	"time"

	"lumen/store"
)

// queueRows is how many rows may wait for the committer: then Put waits. It is
// what a disk writes in a second or so.
const queueRows = 8192

// batchRows is how many rows one transaction takes at most.
const batchRows = 2048

// lingerTime is how long a transaction may gather rows while nobody waits for
// it. With the transaction itself it stays below the 50 ms within which the
// index follows the journal. An ingest never waits for the index, but its
// flushes of the disk are shared with it: few large transactions leave more of
// them to the blobs and the journal.
const lingerTime = 30 * time.Millisecond

// pending is a row that is queued, or in the transaction that is being written.
type pending struct {
	row     *store.Row
	tokens  path
	removed bool
}

// path is where an instance is: the key of the bucket "instance", in parts.
type path struct{ study, series, instance token }

// job is what one call of Put or Remove queued.
type job struct {
	rows    []pending
	covered store.Position
}

// queue holds what was put and is not durable yet. Locate and StudyHandle look
// here first.
type queue struct {
	mu      sync.Mutex
	jobs    []job
	rows    int // in jobs and in the transaction that is being written
	put     uint64
	durable uint64 // calls of Put and Remove: so many came, so many are durable
	err     error  // of the last transaction
	waiting int    // calls of wait
	closed  bool

	latest  map[token]*pending      // the last of each instance
	handles map[token]pendingHandle // of studies

	wake     chan struct{} // has room for one: there is work
	hurry    chan struct{} // has room for one: do not linger
	progress chan struct{} // closed, and made anew, after every transaction
}

// pendingHandle is the handle of a study and how many pending rows say so.
type pendingHandle struct {
	handle [16]byte
	rows   int
}

func (q *queue) init() {
	q.latest = make(map[token]*pending)
	q.handles = make(map[token]pendingHandle)
	q.wake = make(chan struct{}, 1)
	q.hurry = make(chan struct{}, 1)
	q.progress = make(chan struct{})
}

// add queues a job. It waits for room.
func (q *queue) add(ctx context.Context, j job) error {
	q.mu.Lock()
	for {
		if q.closed {
			q.mu.Unlock()
			return store.ErrClosed
		}
		if q.rows == 0 || q.rows+len(j.rows) <= queueRows {
			break
		}
		if q.err != nil {
			err := q.err
			q.mu.Unlock()
			signal(q.wake) // perhaps there is space again
			return err
		}
		progress := q.progress
		q.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		q.mu.Lock()
	}
	q.put++
	q.jobs = append(q.jobs, j)
	q.rows += len(j.rows)
	for i := range j.rows {
		p := &j.rows[i]
		q.latest[p.tokens.instance] = p
		if !p.removed {
			q.handles[p.tokens.study] = pendingHandle{p.row.Blob.Study, q.handles[p.tokens.study].rows + 1}
		}
	}
	full := q.rows >= batchRows
	q.mu.Unlock()
	signal(q.wake)
	if full {
		signal(q.hurry)
	}
	return nil
}

// signal wakes the committer; one that is pending already is enough.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// linger returns when the next transaction should begin: at once when somebody
// waits for it, it is full or the last one failed, else after lingerTime.
func (q *queue) linger() {
	q.mu.Lock()
	calm := len(q.jobs) > 0 && q.waiting == 0 && q.rows < batchRows && q.err == nil && !q.closed
	q.mu.Unlock()
	if !calm {
		return
	}
	t := time.NewTimer(lingerTime)
	defer t.Stop()
	select {
	case <-q.hurry:
	case <-t.C:
	}
}

// take returns the jobs for one transaction, the oldest first, without taking
// them off.
func (q *queue) take() (jobs []job, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, rows := 0, 0
	for ; n < len(q.jobs) && (n == 0 || rows+len(q.jobs[n].rows) <= batchRows); n++ {
		rows += len(q.jobs[n].rows)
	}
	return q.jobs[:n:n], q.closed
}

// finish takes off the first n jobs, which are durable; or notes why they are not.
func (q *queue) finish(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	if err == nil {
		for _, j := range q.jobs[:n] {
			q.rows -= len(j.rows)
			for i := range j.rows {
				q.forget(&j.rows[i])
			}
		}
		q.jobs = append([]job(nil), q.jobs[n:]...)
		q.durable += uint64(n)
	}
	close(q.progress)
	q.progress = make(chan struct{})
}

func (q *queue) forget(p *pending) {
	if q.latest[p.tokens.instance] == p {
		delete(q.latest, p.tokens.instance)
	}
	if p.removed {
		return
	}
	h := q.handles[p.tokens.study]
	if h.rows--; h.rows == 0 {
		delete(q.handles, p.tokens.study)
		return
	}
	q.handles[p.tokens.study] = h
}

// wait returns when everything that was put before is durable.
func (q *queue) wait(ctx context.Context) error {
	q.mu.Lock()
	q.waiting++
	defer func() { q.waiting--; q.mu.Unlock() }()
	target, tried := q.put, false
	for q.durable < target {
		if q.err != nil && tried {
			return q.err
		}
		tried = true
		progress := q.progress
		q.mu.Unlock()
		signal(q.wake) // after an error: once more
		signal(q.hurry)
		select {
		case <-progress:
		case <-ctx.Done():
			q.mu.Lock()
			return context.Cause(ctx)
		}
		q.mu.Lock()
	}
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.wake)
	signal(q.hurry)
}

func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// pendingRow returns the last that was put of an instance.
func (q *queue) pendingRow(t token) (*pending, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, ok := q.latest[t]
	return p, ok
}

func (q *queue) pendingHandle(t token) ([16]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok := q.handles[t]
	return h.handle, ok
}
