package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"lumen/internal/durable"
)

// source reads entries from segments: of an open log, or of one at rest.
type source struct {
	fsys   durable.FS
	dir    string
	firsts []uint64 // first leaf of each used segment
	size   uint64   // leaves to be read
}

// entries yields the entries from a position on, opened where open is given.
func (s source) entries(ctx context.Context, from uint64, open func(month string, sealed []byte) ([]byte, error), yield func(Entry, error) bool) {
	stopped := errors.New("stopped")
	err := s.frames(ctx, from, func(f frame) error {
		e, err := parseEntry(f.index, f.body)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrTampered, f.index, err)
		}
		if open != nil && len(e.Sealed) > 0 {
			if e.Payload, err = open(Month(e.Leaf.Time), e.Sealed); err != nil {
				return fmt.Errorf("open payload of record %d: %w", f.index, err)
			}
		}
		if !yield(e, nil) {
			return stopped
		}
		return nil
	})
	if err != nil && !errors.Is(err, stopped) {
		yield(Entry{}, fmt.Errorf("read journal: %w", err))
	}
}

// frames calls fn for the entry frames of the leaves [from, size).
func (s source) frames(ctx context.Context, from uint64, fn func(frame) error) error {
	if from >= s.size {
		return nil
	}
	at := sort.Search(len(s.firsts), func(i int) bool { return s.firsts[i] > from }) - 1
	if at < 0 {
		return fmt.Errorf("%w: record %d is before the first segment", ErrTampered, from)
	}
	next := s.firsts[at]
	for ; at < len(s.firsts) && next < s.size; at++ {
		if s.firsts[at] != next {
			return fmt.Errorf("%w: segment %d begins with record %d, not %d", ErrTampered, at, s.firsts[at], next)
		}
		var err error
		if next, err = s.segment(ctx, uint32(at), next, from, fn); err != nil {
			return fmt.Errorf("segment %d: %w", at, err)
		}
	}
	if next < s.size {
		return fmt.Errorf("%w: it ends at record %d of %d", ErrTampered, next, s.size)
	}
	return nil
}

func (s source) segment(ctx context.Context, number uint32, next, from uint64, fn func(frame) error) (uint64, error) {
	f, err := s.fsys.OpenFile(segmentName(s.dir, number), os.O_RDONLY, 0)
	if err != nil {
		return next, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return next, err
	}
	r := newFrames(f, number, info.Size(), segmentHeader)
	for next < s.size {
		fr, err := r.next()
		if err == io.EOF {
			return next, nil
		}
		if err != nil {
			return next, fmt.Errorf("record %d: %w", next, tamperedIfDamage(err))
		}
		if fr.index != next {
			return next, fmt.Errorf("%w: record %d is where record %d should be", ErrTampered, fr.index, next)
		}
		if fr.kind != frameEntry {
			continue
		}
		next++
		if fr.index < from {
			continue
		}
		if err := ctx.Err(); err != nil {
			return next, err
		}
		if err := fn(fr); err != nil {
			return next, err
		}
	}
	return next, nil
}

func tamperedIfDamage(err error) error {
	var d *damage
	if errors.As(err, &d) {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return err
}
