package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"lumen/internal/durable"
)

// keeper does what nobody waits for: the checkpoint file, the hash files, and
// the segments in reserve. It tries again at every tick what had no room.
type keeper struct {
	wake    chan struct{}
	rotated atomic.Bool   // the hash files are to be synced
	hashed  atomic.Uint64 // leaves whose hashes are durable

	mu     sync.Mutex // held while a segment is made
	next   uint32     // number of the next segment to make
	spares []spare

	written uint64 // size of the checkpoint in the file; the keeper's own
	warned  bool
}

type spare struct {
	number uint32
	size   int64
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// keep runs until wake is closed, and once more then.
func (l *Log) keep() {
	for range l.keeper.wake {
		l.keepOnce()
	}
	l.keepOnce()
}

func (l *Log) keepOnce() {
	if l.fatalErr() != nil {
		return
	}
	// What is small may still find room where the rest does not.
	err := errors.Join(l.keepHashes(), l.keepCheckpoint(), l.keepReserve())
	switch {
	case err == nil:
		l.keeper.warned = false
	case durable.IsFatal(err):
		l.die(err)
	case !l.keeper.warned:
		l.keeper.warned = true
		l.log.Warn("journal upkeep waits for room", "error", err)
	}
}

func (l *Log) keepHashes() error {
	sync := l.keeper.rotated.Swap(false)
	leaves, err := l.hashes.flush(sync)
	switch {
	case err != nil && sync:
		l.keeper.rotated.Store(true)
	case err == nil && sync:
		l.keeper.hashed.Store(leaves)
	}
	return err
}

func (l *Log) keepCheckpoint() error {
	l.mu.Lock()
	signed, size := l.signed, l.signedSize
	l.mu.Unlock()
	if size == l.keeper.written {
		return nil
	}
	err := durable.WriteFile(l.cfg.FS, filepath.Join(l.cfg.Dir, checkpointFile), signed, 0o600)
	if err == nil {
		l.keeper.written = size
	}
	return err
}

func (l *Log) keepReserve() error {
	for {
		l.keeper.mu.Lock()
		if len(l.keeper.spares) >= l.cfg.Reserve {
			l.keeper.mu.Unlock()
			return nil
		}
		err := l.makeSpare()
		l.keeper.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// makeSpare allocates a segment. The hashes that wait in memory go first: so
// those of all segments in reserve are the most that there can be. The caller
// holds keeper.mu.
func (l *Log) makeSpare() error {
	if _, err := l.hashes.flush(false); err != nil {
		return roomError(err)
	}
	// A disk that is nearly full is not filled with zeros again and again only
	// to find that it is full.
	if free, _, err := l.cfg.FS.Free(l.cfg.Dir); err == nil && free < l.cfg.SegmentSize {
		return fmt.Errorf("%w: a segment needs %d bytes, %d are free", ErrFull, l.cfg.SegmentSize, free)
	}
	k := &l.keeper
	if err := createSegment(l.cfg.FS, l.cfg.Dir, k.next, l.cfg.SegmentSize); err != nil {
		return roomError(err)
	}
	k.spares = append(k.spares, spare{k.next, l.cfg.SegmentSize})
	k.next++
	return nil
}

// takeSpare hands out the segment of a number, allocating it when there is no
// reserve, and returns its size.
func (l *Log) takeSpare(number uint32) (int64, error) {
	k := &l.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.spares) == 0 {
		if err := l.makeSpare(); err != nil {
			return 0, err
		}
	}
	s := k.spares[0]
	if s.number != number {
		panic("audit: the segment in reserve is not the next one")
	}
	k.spares = k.spares[1:]
	return s.size, nil
}

// returnSpare takes back a segment that could not be begun.
func (l *Log) returnSpare(number uint32, size int64) {
	k := &l.keeper
	k.mu.Lock()
	k.spares = append([]spare{{number, size}}, k.spares...)
	k.mu.Unlock()
}
