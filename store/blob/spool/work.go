package spool

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"time"

	"lumen/internal/durable"
	"lumen/store/blob"
)

const (
	firstPause = 500 * time.Millisecond
	longPause  = time.Minute
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// work uploads one object after the other.
func (s *Spool) work(ctx context.Context) {
	for {
		o, upload, version := s.take(ctx)
		if o == nil {
			return
		}
		start := time.Now()
		err := s.upload(upload, o.name, o.size, o.found)
		s.finish(o, version, err, time.Since(start))
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.log.Warn("upload failed, it will be tried again", "error", err, "size", o.size)
		s.rest(ctx)
	}
}

// job is what a worker needs to know of an object.
type job struct {
	*object
	name  string
	size  int64
	found bool
}

// take waits for an object and marks it as being uploaded; nil means the end.
func (s *Spool) take(ctx context.Context) (*job, context.Context, int) {
	for {
		s.mu.Lock()
		if ctx.Err() != nil {
			s.mu.Unlock()
			return nil, nil, 0
		}
		if first := s.queue.Front(); first != nil {
			o := s.queue.Remove(first).(*object)
			upload, cancel := context.WithCancel(ctx)
			o.state, o.cancel = uploading, cancel
			j := &job{o, o.info.Name, o.info.Size, o.found}
			version := o.version
			s.mu.Unlock()
			return j, upload, version
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// upload copies one object to the remote, unless that has it already.
func (s *Spool) upload(ctx context.Context, name string, size int64, found bool) error {
	if found {
		same, err := s.same(ctx, name, size)
		if same || err != nil {
			return err
		}
	}
	return s.cfg.Remote.Put(ctx, name, size, func(w io.Writer) error {
		rc, err := s.cfg.Local.Open(ctx, name, 0, -1)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, rc)
		return errors.Join(err, rc.Close())
	})
}

// same compares an object that was in the spool at start with the remote's.
func (s *Spool) same(ctx context.Context, name string, size int64) (bool, error) {
	remote, ok := s.cfg.Remote.(Summer)
	if !ok {
		return false, nil
	}
	remoteSize, sum, known, err := remote.Sum(ctx, name)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil || !known || remoteSize != size {
		return false, err
	}
	rc, err := s.cfg.Local.Open(ctx, name, 0, -1)
	if err != nil {
		return false, err
	}
	hash := crc32.New(castagnoli)
	_, err = io.Copy(hash, rc)
	return hash.Sum32() == sum, errors.Join(err, rc.Close())
}

// finish puts the outcome into the books.
func (s *Spool) finish(o *job, version int, err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.cancel()
	o.cancel = nil
	o.state = waiting
	switch {
	case o.doomed:
		o.place = s.queue.PushBack(o.object)
		s.drop(o.object)
		return
	case err != nil || o.version != version:
		// Last in the queue: one object that cannot be uploaded holds up no other.
		o.place = s.queue.PushBack(o.object)
	default:
		o.state, o.found, o.since = uploaded, false, s.cfg.Clock.Now()
		o.place = s.done.PushBack(o.object)
		s.pending -= o.info.Size
		s.kept += o.info.Size
		close(o.uploaded)
	}
	if err != nil {
		s.failed++
		s.metrics.failures.Inc()
	} else {
		s.failed = 0
		s.metrics.uploads.Observe(took.Seconds())
		s.metrics.bytes.Add(float64(o.size))
	}
	s.broadcast()
}

// rest waits after a failure: longer the more there were in a row, at random, so
// that workers and nodes do not come back all at once.
func (s *Spool) rest(ctx context.Context) {
	s.mu.Lock()
	pause := min(firstPause<<min(s.failed, 10), longPause)
	s.mu.Unlock()
	timer := time.NewTimer(pause/2 + rand.N(pause/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sweep drops copies that the remote has, after their grace or when room is short.
func (s *Spool) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		o, wait, wake := s.expired()
		if o != nil {
			s.dropCopy(ctx, o)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// expired returns a copy to be dropped, whose name it has locked, or how long
// there will be none.
func (s *Spool) expired() (o *object, wait time.Duration, wake <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, grace := s.cfg.Clock.Now(), max(s.cfg.Grace, 0)
	short := s.pending+s.kept > s.cfg.HighWater
	for e := s.done.Front(); e != nil; e = e.Next() {
		o := e.Value.(*object)
		if s.cfg.Keep(o.info.Name) {
			continue
		}
		if wait := o.since.Add(grace).Sub(now); wait > 0 && !short {
			return nil, wait, s.wake
		}
		if !s.locked[o.info.Name] {
			s.locked[o.info.Name] = true
			return o, 0, nil
		}
	}
	return nil, longPause, s.wake
}

func (s *Spool) dropCopy(ctx context.Context, o *object) {
	name := o.info.Name // it cannot change while it is locked
	defer s.unlock(name)
	err := s.cfg.Local.Delete(ctx, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.drop(o)
		return
	}
	// Later again; it does no harm until then.
	s.done.MoveToBack(o.place)
	o.since = s.cfg.Clock.Now()
	if ctx.Err() != nil {
		return
	}
	s.log.Error("drop an uploaded copy from the spool", "error", err)
	if durable.IsFatal(err) && s.cfg.Fatal != nil {
		s.cfg.Fatal(err)
	}
}
