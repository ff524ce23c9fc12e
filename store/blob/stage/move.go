package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"lumen/store/blob"
)

const (
	// movers is how many objects move at the same time: they share the
	// transactions of the file system.
	movers = 4
	// retryPause is how long the mover waits after it could not move or grow.
	retryPause = 5 * time.Second
)

// move is the one goroutine that empties segments: when most of them are full,
// and when nobody has put anything for a while. It makes new ones too.
func (s *Stage) move() {
	defer s.stopped.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-s.closing; cancel() }()
	tick := time.NewTicker(s.cfg.Quiet)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.wake:
		case <-tick.C:
		}
		if err := s.work(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the write log cannot be emptied or extended: objects go to their files directly", "error", err.Error())
			select {
			case <-s.closing:
				return
			case <-time.After(retryPause):
			}
		}
	}
}

// work does what is due.
func (s *Stage) work(ctx context.Context) error {
	s.mu.Lock()
	grow := len(s.free) == 0 && s.allocated < s.cfg.Segments
	idle := s.quiet() && s.active != nil && len(s.active.entries) > 0
	s.mu.Unlock()
	if grow {
		if err := s.grow(); err != nil {
			return err
		}
	}
	if idle {
		s.retire(ctx)
	}
	return s.drain(ctx, func() bool { return s.quiet() || s.pressed() })
}

// quiet reports whether nobody has put anything for a while. s.mu is held.
func (s *Stage) quiet() bool { return s.cfg.Clock.Now().Sub(s.last) >= s.cfg.Quiet }

// pressed reports whether segments are about to run out. s.mu is held.
func (s *Stage) pressed() bool {
	return 4*len(s.full) >= 3*s.cfg.Segments || len(s.free) == 0 && s.allocated == s.cfg.Segments
}

// retire asks the committer, the only one who touches it, to end the active
// segment.
func (s *Stage) retire(ctx context.Context) {
	r := &request{retire: true, done: make(chan error, 1)}
	select {
	case s.requests <- r:
		<-r.done
	case <-ctx.Done():
	}
}

// drain moves full segments out, the oldest first, as long as due says so: all of
// them when it is quiet, and no more than have to while somebody wants the
// machine for storing. Due is called with s.mu held.
func (s *Stage) drain(ctx context.Context, due func() bool) error {
	for {
		s.mu.Lock()
		if len(s.full) == 0 || !due() {
			s.mu.Unlock()
			return nil
		}
		seg := s.full[0]
		s.mu.Unlock()
		if err := s.empty(ctx, seg); err != nil {
			return err
		}
	}
}

// empty moves what is in seg and frees it.
func (s *Stage) empty(ctx context.Context, seg *segment) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(movers)
	for _, e := range seg.entries {
		group.Go(func() error { return s.moveOne(ctx, e) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// First the segment stops to count, then its entries go: a delete that comes
	// between finds the entry and marks a record that is not needed.
	if seg.damaged {
		if err := seg.keepAside(s.cfg.FS); err != nil {
			return err
		}
	} else if err := seg.release(); err != nil {
		return err
	}
	s.mu.Lock()
	for _, e := range seg.entries {
		e.released = true
		if s.entries[e.name] == e {
			delete(s.entries, e.name)
		}
	}
	s.full = s.full[1:]
	s.mu.Unlock()
	seg.readers.Lock() // nobody reads it any more, and nobody new will
	seg.entries = nil
	seg.readers.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	if seg.damaged {
		return seg.file.Close()
	}
	s.free = append(s.free, seg)
	return nil
}

// moveOne puts an object into Next, unless it was deleted or replaced meanwhile.
func (s *Stage) moveOne(ctx context.Context, e *entry) error {
	s.mu.Lock()
	if s.entries[e.name] != e || e.moved || e.gone {
		s.mu.Unlock()
		return nil
	}
	e.moving = true
	s.mu.Unlock()
	err := s.next.Put(ctx, e.name, int64(e.size), func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(e.seg.file, e.off, int64(e.size)))
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	e.moving = false
	e.moved = err == nil
	s.changed.Broadcast()
	switch {
	case errors.Is(err, blob.ErrNoSpace):
		return fmt.Errorf("move an object out of the write log: %w", blob.ErrNoSpace)
	case err != nil:
		return fmt.Errorf("move an object out of the write log: %w", err)
	}
	return nil
}
