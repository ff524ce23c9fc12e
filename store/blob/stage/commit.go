package stage

import (
	"fmt"

	"lumen/internal/durable"
)

// groupBytes bounds what one flush waits for.
const groupBytes = 8 << 20

// commit is the one goroutine that appends. It writes all that is waiting, then
// flushes once for all of it.
func (s *Stage) commit() {
	defer s.stopped.Done()
	for {
		select {
		case r := <-s.requests:
			s.group(r)
		case <-s.closing:
			for { // who was let in before the door closed is served
				select {
				case r := <-s.requests:
					s.group(r)
					continue
				default:
				}
				return
			}
		}
	}
}

// written is a request whose record waits for the flush.
type written struct {
	*request
	entry *entry
}

// group appends first and what else is waiting.
func (s *Stage) group(first *request) {
	var group []written
	bytes := 0
	for r := first; r != nil; {
		bytes += len(r.buf)
		if r.retire {
			s.flush(&group)
			s.rotate()
			r.done <- nil
		} else {
			e, err := s.write(r, &group)
			if err == nil {
				group = append(group, written{r, e})
			}
			r.written <- err
		}
		r = nil
		if bytes < groupBytes {
			select {
			case r = <-s.requests:
			default:
			}
		}
	}
	s.flush(&group)
}

// write puts a record into the active segment, or into the next when there is no
// room in it: then what is in the old one is flushed first.
func (s *Stage) write(r *request, group *[]written) (*entry, error) {
	for {
		seg, err := s.segment()
		if err != nil {
			return nil, err
		}
		record := putRecord(r.buf, seg.epoch, r.name)
		head := seg.used
		ok, err := seg.append(record)
		if ok && err == nil {
			return &entry{name: r.name, seg: seg, head: head, off: head + headSize + int64(len(r.name)),
				size: len(r.buf) - room, modTime: s.cfg.Clock.Now()}, nil
		}
		s.flush(group)
		s.rotate() // also after an error: what was written of the record stays at the end
		if err != nil {
			return nil, err
		}
	}
}

// segment returns the active one, or makes a free one active.
func (s *Stage) segment() (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return nil, s.failed
	case s.active != nil:
		return s.active, nil
	case len(s.free) == 0:
		return nil, errFull
	}
	s.epoch++
	s.active = s.free[0]
	s.free = s.free[1:]
	s.active.epoch, s.active.used, s.active.entries = s.epoch, 0, nil
	if len(s.free) == 0 {
		signal(s.wake)
	}
	return s.active, nil
}

// rotate ends the active segment.
func (s *Stage) rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != nil && s.active.used > 0 {
		s.full = append(s.full, s.active)
		s.active = nil
		signal(s.wake)
	}
}

// flush makes what was written durable and visible, and says so.
func (s *Stage) flush(group *[]written) {
	if len(*group) == 0 {
		return
	}
	s.mu.Lock()
	seg := s.active
	s.mu.Unlock()
	err := seg.file.Datasync()
	s.mu.Lock()
	if err != nil {
		err = fmt.Errorf("sync a segment: %w: %w", durable.ErrSync, err)
		s.failed = err
	}
	s.last = s.cfg.Clock.Now()
	for _, w := range *group {
		if err == nil {
			w.entry.older = s.entries[w.name]
			s.entries[w.name] = w.entry
			seg.entries = append(seg.entries, w.entry)
		}
		w.done <- err
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	*group = (*group)[:0]
}
