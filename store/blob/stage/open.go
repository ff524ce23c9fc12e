package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lumen/internal/durable"
)

const (
	defaultSegments    = 8
	defaultSegmentSize = 32 << 20
	defaultMaxObject   = 1 << 20
	defaultMemory      = 32 << 20
	defaultQuiet       = 2 * time.Second
)

// Open opens or makes the log in cfg.Dir and finds what a crash left in it. The
// caller calls Close.
func Open(cfg Config) (*Stage, error) {
	or(&cfg.Segments, defaultSegments)
	or(&cfg.SegmentSize, defaultSegmentSize)
	or(&cfg.MaxObject, defaultMaxObject)
	or(&cfg.Memory, defaultMemory)
	or(&cfg.Quiet, defaultQuiet)
	if cfg.Clock == nil {
		cfg.Clock = durable.SystemClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Stage{
		cfg: cfg, next: cfg.Next, log: cfg.Logger,
		memory:   make(chan struct{}, max(cfg.Memory/int64(cfg.MaxObject), 1)),
		requests: make(chan *request),
		wake:     make(chan struct{}, 1),
		closing:  make(chan struct{}),
		entries:  map[string]*entry{},
	}
	s.changed.L = &s.mu
	s.buffers.New = func() any { b := make([]byte, room, room+64<<10); return &b }
	if err := s.recover(); err != nil {
		return nil, err
	}
	if s.allocated == 0 {
		if err := s.grow(); err != nil && !durable.IsNoSpace(err) {
			return nil, err // without a segment every object goes to Next directly
		}
	}
	s.stopped.Add(2)
	go s.commit()
	go s.move()
	return s, nil
}

func or[T comparable](v *T, value T) {
	if *v == *new(T) {
		*v = value
	}
}

// recover opens the segments that are there. Those with records are full: what
// is in them moves first.
func (s *Stage) recover() error {
	fsys := s.cfg.FS
	if err := fsys.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of segments: %w", err)
	}
	files, err := fsys.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list the segments: %w", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Name(), durable.TempSuffix) {
			if err := fsys.Remove(s.cfg.Dir + "/" + file.Name()); err != nil {
				return fmt.Errorf("remove a segment that was not completed: %w", err)
			}
			continue
		}
		digits, ok := strings.CutSuffix(file.Name(), ".log")
		number, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		if err := s.recoverSegment(number); err != nil {
			return fmt.Errorf("segment %d: %w", number, err)
		}
		s.allocated = max(s.allocated, number+1)
	}
	slices.SortFunc(s.full, func(a, b *segment) int { return cmp.Compare(a.epoch, b.epoch) })
	for _, seg := range s.full {
		for _, e := range seg.entries {
			e.older = s.entries[e.name]
			s.entries[e.name] = e
			if e.gone {
				delete(s.entries, e.name)
			}
		}
	}
	if n := len(s.entries); n > 0 {
		s.log.Info("objects were left in the write log", "objects", n, "segments", len(s.full))
	}
	return nil
}

func (s *Stage) recoverSegment(number int) error {
	f, err := s.cfg.FS.OpenFile(segmentName(s.cfg.Dir, number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	seg := &segment{file: f, name: segmentName(s.cfg.Dir, number), size: info.Size()}
	c, err := scan(f, seg.size)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if c.damaged > 0 {
		s.log.Error("records of the write log are damaged: the segment is kept aside, run lumen check", "segment", number, "places", c.damaged)
	}
	s.epoch = max(s.epoch, c.epoch)
	seg.epoch, seg.used, seg.damaged = c.epoch, c.used, c.damaged > 0
	if c.used == 0 && !seg.damaged {
		s.free = append(s.free, seg)
		return nil
	}
	for _, r := range c.records {
		seg.entries = append(seg.entries, &entry{name: r.name, seg: seg, head: r.head, off: r.off, size: r.size,
			modTime: info.ModTime(), gone: r.dead})
	}
	s.full = append(s.full, seg)
	return nil
}

// grow allocates one more segment, unless the disk is short.
func (s *Stage) grow() error {
	free, _, err := s.cfg.FS.Free(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free < 8*s.cfg.SegmentSize {
		return nil
	}
	s.mu.Lock()
	number := s.allocated
	s.mu.Unlock()
	seg, err := allocate(s.cfg.FS, s.cfg.Dir, number, s.cfg.SegmentSize)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allocated++
	s.free = append(s.free, seg)
	return nil
}

// Close moves everything to its own object and ends. When it returns nil the log
// is empty. No call may be under way.
func (s *Stage) Close(ctx context.Context) error {
	close(s.closing)
	s.stopped.Wait()
	s.rotate()
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	if err == nil {
		err = s.drain(ctx, func() bool { return true })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.full, s.free)
	if s.active != nil {
		all = append(all, s.active)
	}
	for _, seg := range all {
		err = errors.Join(err, seg.file.Close())
	}
	return err
}
