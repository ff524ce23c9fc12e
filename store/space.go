package store

import (
	"fmt"
	"sync"
	"time"

	"lumen/internal/durable"
)

// Floor is how much space must remain free for anything to be taken in: the
// larger of the two. It is far above what the journal needs, so that a full
// disk stops ingest and never viewing. The zero value means [DefaultFloor].
type Floor struct {
	Bytes   int64
	Percent float64 // of the total, 0 to 100
}

// DefaultFloor is the floor of a node that is not told otherwise.
func DefaultFloor() Floor { return Floor{Bytes: 2 << 30, Percent: 5} }

// of is the floor for a volume of that size.
func (f Floor) of(total int64) int64 {
	return max(f.Bytes, int64(float64(total)*f.Percent/100))
}

// How long, and for how many written bytes, one look at the free space holds.
const (
	spaceAge   = time.Second
	spaceBytes = 64 << 20
)

// space watches the free space without asking the system for every instance.
type space struct {
	free  func() (free, total int64, err error) // nil: not watched
	floor Floor
	clock durable.Clock
	note  func(free int64) // metric

	mu      sync.Mutex
	asked   time.Time
	left    int64 // free bytes above the floor when asked
	written int64 // since then
}

// take announces n bytes about to be written. It returns [ErrNoSpace] when they
// would leave less than the floor.
func (s *space) take(n int64) error {
	if s.free == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if age := now.Sub(s.asked); age < 0 || age > spaceAge || s.written > spaceBytes || s.left-s.written < spaceBytes {
		free, total, err := s.free()
		if err != nil {
			return fmt.Errorf("ask for free space: %w", err)
		}
		s.asked, s.left, s.written = now, free-s.floor.of(total), 0
		s.note(free)
	}
	if s.left-s.written < n {
		return fmt.Errorf("%w: below the floor that keeps viewing and the journal alive", ErrNoSpace)
	}
	s.written += n
	return nil
}

// wrote announces n bytes that were written without having been announced.
func (s *space) wrote(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += n
}
