package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

const (
	maxQueued       = 4096    // appends and posts that wait for the committer
	maxHeld         = 4096    // posted records that wait for room on the disk
	groupBytes      = 4 << 20 // a group is closed when it has this much
	checkpointSpace = 2048    // kept free at the end of a segment for its last checkpoint
)

// op is what one Append or Post wants written.
type op struct {
	items   []item
	staged  int // items in the buffer or on disk
	written int // items on disk
	next    uint64
	done    chan result // nil for Post
}

type result struct {
	next uint64
	err  error
}

// writer is the state of the committer, the only goroutine that writes to
// segments.
type writer struct {
	file    durable.File
	segment uint32
	size    int64 // of the file
	end     int64 // everything below is durable
	dirty   int64 // a failed write may have left bytes from end up to here
	edge    edge  // of the durable records

	buf    []byte
	hashes []tlog.Hash // of the leaves in buf
	held   []*op       // posts that wait for room
}

// maxBody is the largest body of an entry.
func (l *Log) maxBody() int {
	return int(min(maxBodySize, l.cfg.SegmentSize-segmentHeader-checkpointSpace-frameHeader-frameAlign))
}

// commit writes whatever is queued, all of it in one group, with one fdatasync,
// until the queue is closed. While it waits for the disk the next group gathers.
func (l *Log) commit() {
	ticker := time.NewTicker(checkpointEvery)
	defer ticker.Stop()
	for {
		select {
		case o, ok := <-l.queue:
			if !ok {
				l.write(nil)
				if l.Err() == nil {
					l.note(l.sign())
				}
				return
			}
			l.write(l.gather(o))
		case <-ticker.C:
			if l.blocked.Load() != nil || l.lost.Load() > 0 {
				l.write(nil)
			}
			if l.Err() == nil {
				l.note(l.sign())
			}
			l.keeper.nudge()
		}
	}
}

// gather takes what else is queued.
func (l *Log) gather(first *op) []*op {
	ops := []*op{first}
	bytes := 0
	for {
		for _, it := range ops[len(ops)-1].items {
			bytes += len(it.body)
		}
		if bytes >= groupBytes {
			return ops
		}
		select {
		case o, ok := <-l.queue:
			if !ok {
				return ops // the next receive sees it too
			}
			ops = append(ops, o)
		default:
			return ops
		}
	}
}

// write writes a group after what was held back, and answers its callers.
func (l *Log) write(ops []*op) {
	lost := l.lost.Swap(0)
	var confession *op
	if lost > 0 {
		it, err := l.encode(Record{Code: JournalRecordsLost, Outcome: MajorFailure, Instances: lost})
		if err != nil {
			panic("audit: a record without payload cannot be encoded: " + err.Error())
		}
		confession = &op{items: []item{it}}
		l.w.held = append(l.w.held, confession)
	}
	ops = append(l.w.held, ops...)
	l.w.held = nil

	err := l.fatalErr()
	if err == nil {
		err = l.fill(ops)
		l.note(err)
	}
	for _, o := range ops {
		switch {
		case o.written == len(o.items):
			if o.done != nil {
				o.done <- result{next: o.next}
			}
		case o.done != nil:
			o.done <- result{err: fmt.Errorf("append to journal: %w", err)}
		case o == confession:
			l.lost.Add(lost) // made anew with the next group
		case len(l.w.held) < maxHeld:
			l.w.held = append(l.w.held, o)
		default:
			l.lost.Add(1)
		}
	}
}

func (l *Log) fatalErr() error {
	if err := l.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// note remembers how the last attempt to write ended.
func (l *Log) note(err error) {
	switch {
	case err == nil:
		if l.blocked.Swap(nil) != nil {
			l.log.Info("journal works again")
		}
	case durable.IsFatal(err):
		l.die(err)
	default:
		if l.blocked.Swap(&err) == nil {
			l.log.Error("journal cannot append", "error", err)
		}
	}
}

// fill stages all items, going on to the next segment where one is full.
func (l *Log) fill(ops []*op) error {
	for _, o := range ops {
		for o.staged < len(o.items) {
			it := &o.items[o.staged]
			if l.w.end+int64(len(l.w.buf))+frameSize(len(it.body))+checkpointSpace > l.w.size {
				if err := l.flush(ops); err != nil {
					return err
				}
				if err := l.rotate(); err != nil {
					return err
				}
			}
			index := l.w.edge.size + uint64(len(l.w.hashes))
			l.w.buf = appendFrame(l.w.buf, frameEntry, l.w.segment, index, l.w.end, it.body)
			l.w.hashes = append(l.w.hashes, it.hash)
			o.staged++
			o.next = index + 1
		}
	}
	return l.flush(ops)
}

// flush makes the buffer durable and its leaves part of the tree.
func (l *Log) flush(ops []*op) error {
	err := l.persist()
	for _, o := range ops {
		if err == nil {
			o.written = o.staged
		} else {
			o.staged = o.written
		}
	}
	if err == nil {
		for _, h := range l.w.hashes {
			l.w.edge.push(h, l.pushHash)
		}
		l.size.Store(l.w.edge.size)
	}
	l.w.hashes = l.w.hashes[:0]
	return err
}

// persist writes the buffer at the end of the segment and syncs it. Where an
// earlier write failed half-way, what it may have left is covered with zeros:
// otherwise a crash could bring records back that nobody was promised.
func (l *Log) persist() error {
	w := &l.w
	n := int64(len(w.buf))
	for w.end+int64(len(w.buf)) < w.dirty {
		w.buf = append(w.buf, 0)
	}
	buf := w.buf
	w.buf = w.buf[:0]
	if cap(w.buf) > 2*groupBytes {
		w.buf = nil
	}
	if len(buf) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(buf, w.end); err != nil {
		w.dirty = max(w.dirty, w.end+int64(len(buf)))
		return roomError(err)
	}
	if err := w.file.Datasync(); err != nil {
		return err
	}
	w.end += n
	w.dirty = 0
	return nil
}

// roomError makes a full disk ErrFull.
func roomError(err error) error {
	if durable.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// sign makes a checkpoint of the durable records, when there is none yet: first
// into the segment, where its place says what it covers, then the keeper writes
// the file.
func (l *Log) sign() error {
	if l.w.edge.size == l.signedSize { // only this goroutine sets it
		return nil
	}
	signed, err := signCheckpoint(Checkpoint{l.verifier.Name(), l.w.edge.size, l.w.edge.root()}, l.cfg.Key.signer)
	if err != nil {
		return err
	}
	if l.w.end+frameSize(len(signed))+checkpointSpace > l.w.size {
		return l.rotate()
	}
	return l.putCheckpoint(signed)
}

func (l *Log) putCheckpoint(signed []byte) error {
	l.w.buf = appendFrame(l.w.buf, frameCheckpoint, l.w.segment, l.w.edge.size, l.w.end, signed)
	if err := l.persist(); err != nil {
		return err
	}
	l.setCheckpoint(signed, l.w.edge.size)
	l.keeper.nudge()
	return nil
}

// rotate ends the segment with a checkpoint and begins the next one. When there
// is no room for that everything stays as it is, to be tried again.
func (l *Log) rotate() error {
	w := &l.w
	if w.edge.size != l.signedSize {
		signed, err := signCheckpoint(Checkpoint{l.verifier.Name(), w.edge.size, w.edge.root()}, l.cfg.Key.signer)
		if err != nil {
			return err
		}
		if err := l.putCheckpoint(signed); err != nil {
			return err
		}
	}
	size, err := l.takeSpare(w.segment + 1)
	if err != nil {
		return err
	}
	old := w.file
	if err := l.beginSegment(w.segment+1, size); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
		l.log.Warn("close of a full segment", "error", err)
	}
	l.keeper.rotated.Store(true)
	l.keeper.nudge()
	return nil
}

// beginSegment writes the header into a segment of zeros and makes it current.
func (l *Log) beginSegment(number uint32, size int64) error {
	f, err := l.cfg.FS.OpenFile(segmentName(l.cfg.Dir, number), os.O_RDWR, 0)
	if err != nil {
		l.returnSpare(number, size)
		return err
	}
	h := header{number: number, first: l.w.edge.size, hashed: l.keeper.hashed.Load(),
		origin: l.verifier.Name(), edge: l.w.edge.hashes}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		l.returnSpare(number, size)
		return errors.Join(roomError(err), f.Close())
	}
	if err := f.Datasync(); err != nil {
		return errors.Join(err, f.Close())
	}
	l.w.file, l.w.segment, l.w.size, l.w.end, l.w.dirty = f, number, size, segmentHeader, 0
	l.mu.Lock()
	l.firsts = append(l.firsts, h.first)
	l.mu.Unlock()
	return nil
}
