package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// The defaults of [Config].
const (
	DefaultSegmentSize = 64 << 20
	DefaultReserve     = 2
)

// checkpointEvery is how long a record stays without a signature at most.
const checkpointEvery = time.Second

// Config says where a log is and what it is built of. FS, Dir, Key and Token
// are needed.
type Config struct {
	FS  durable.FS
	Dir string // the journal's own folder; made when it is missing
	Key *Key   // signs; its name is the journal's origin

	// Token makes the keyed hash that stands for a value; kind is "actor",
	// "patient" or "study". It is called concurrently.
	Token func(kind, value string) Token
	// Seal and Open encrypt and decrypt payloads under the key of a month
	// ([Month]). They are called concurrently. Without Seal payloads are refused,
	// without Open they stay sealed.
	Seal func(month string, plain []byte) ([]byte, error)
	Open func(month string, sealed []byte) ([]byte, error)

	SegmentSize int64         // bytes of a new segment; 0 is DefaultSegmentSize, at least 32 KiB
	Reserve     int           // segments allocated ahead; 0 is DefaultReserve
	Clock       durable.Clock // nil is the system's
	Logger      *slog.Logger  // nil discards
}

// Log is a journal that is open for appending. Its methods are safe for
// concurrent use.
type Log struct {
	cfg      Config
	log      *slog.Logger
	verifier note.Verifier
	lock     durable.File
	recovery Recovery

	closing sync.RWMutex // held for reading while something is put into queue
	closed  bool
	queue   chan *op
	done    chan struct{} // closed when both goroutines have ended
	lost    atomic.Int64  // posted records that found no room

	size    atomic.Uint64         // durable records
	fatal   atomic.Pointer[error] // the log is dead
	blocked atomic.Pointer[error] // the last attempt to write failed

	mu         sync.Mutex
	firsts     []uint64 // first leaf of each used segment, by number
	signed     []byte   // the newest checkpoint
	signedSize uint64

	w      writer // the committer's own
	keeper keeper
	hashes hashFiles
}

// Recovery says what Open found after a process that did not close the log.
type Recovery struct {
	Records   uint64 // in the journal at Open
	Segment   string // where a torn tail was cut; empty when there was none
	Offset    int64  // of its first byte
	Discarded int64  // its bytes; they were never acknowledged
}

// Open opens the journal for appending and makes it when the folder has none.
// It takes the folder's lock ([ErrLocked]). What an interrupted process wrote
// but never acknowledged is cut from the end, reported by [Log.Recovery] and
// recorded; a journal that contradicts its newest checkpoint is refused with
// an error that wraps [ErrTampered] and names the checkpoint.
//
// ctx bounds opening only: whoever opened the log closes it.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	switch {
	case cfg.FS == nil || cfg.Dir == "" || cfg.Key == nil || cfg.Token == nil:
		return nil, errors.New("open journal: FS, Dir, Key and Token are needed")
	case cfg.SegmentSize == 0:
		cfg.SegmentSize = DefaultSegmentSize
	case cfg.SegmentSize < minSegmentSize:
		return nil, fmt.Errorf("open journal: a segment has at least %d bytes", minSegmentSize)
	}
	if cfg.Reserve <= 0 {
		cfg.Reserve = DefaultReserve
	}
	if cfg.Clock == nil {
		cfg.Clock = durable.SystemClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		cfg: cfg, log: cfg.Logger, verifier: cfg.Key.verifier(),
		queue: make(chan *op, maxQueued), done: make(chan struct{}),
		hashes: hashFiles{fsys: cfg.FS, dir: cfg.Dir},
		keeper: keeper{wake: make(chan struct{}, 1)},
	}
	if err := l.recover(ctx); err != nil {
		return nil, fmt.Errorf("open journal: %w", errors.Join(err, l.release()))
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		l.keep()
	}()
	go func() {
		defer close(l.done)
		l.commit()
		close(l.keeper.wake)
		<-kept
	}()
	if n := l.recovery.Discarded; n > 0 {
		l.log.Warn("journal tail discarded", "segment", l.recovery.Segment, "offset", l.recovery.Offset, "bytes", n)
		l.Post(Record{Code: JournalTailDiscarded, Bytes: n})
	}
	return l, nil
}

// Append records and returns when all records are durable, with the position
// after the last. The records of one call are adjacent and in order.
//
// An error says that they may not be there. It wraps [ErrFull] while the disk
// has no room, [ErrInvalid] for a record that does not fit, [ErrClosed] after
// Close, and satisfies durable.IsFatal when the disk failed: then no later
// call works either. When ctx ends first the records may yet become durable.
func (l *Log) Append(ctx context.Context, records ...Record) (next uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(records) == 0 {
		return l.Size(), l.Err()
	}
	o := &op{items: make([]item, len(records)), done: make(chan result, 1)}
	for i, r := range records {
		if o.items[i], err = l.encode(r); err != nil {
			return 0, fmt.Errorf("append to journal: %w", err)
		}
	}
	if err := l.put(ctx, o); err != nil {
		return 0, err
	}
	select {
	case r := <-o.done:
		return r.next, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (l *Log) put(ctx context.Context, o *op) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Post records without waiting for it to be durable. It precedes every record
// of an Append that begins after Post returned, which makes it durable too.
//
// While the disk is full posted records wait for room, a bounded number of
// them; how many found no place is recorded (code [JournalRecordsLost]) when
// there is room again. After Close nothing is recorded.
func (l *Log) Post(r Record) {
	it, err := l.encode(r)
	if err != nil {
		l.lost.Add(1)
		l.log.Error("record cannot be journaled", "code", string(r.Code), "error", err)
		return
	}
	o := &op{items: []item{it}}
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return
	}
	select {
	case l.queue <- o:
		return
	default:
	}
	if l.Err() != nil {
		l.lost.Add(1)
		return
	}
	l.queue <- o // the committer is at work and makes room
}

// Replay yields the records from a position to what was durable when the
// iteration began, in order, payloads opened where Config.Open is given. An
// error ends it. It does not hold up appending.
func (l *Log) Replay(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l.mu.Lock()
		firsts := l.firsts[:len(l.firsts):len(l.firsts)]
		l.mu.Unlock()
		src := source{l.cfg.FS, l.cfg.Dir, firsts, l.Size()}
		src.entries(ctx, from, l.cfg.Open, yield)
	}
}

// Size is the number of durable records.
func (l *Log) Size() uint64 { return l.size.Load() }

// Err is nil while the log can append, as far as the last attempt tells. While
// the disk is full the log tries again every second by itself.
func (l *Log) Err() error {
	if err := l.fatal.Load(); err != nil {
		return *err
	}
	if err := l.blocked.Load(); err != nil {
		return *err
	}
	return nil
}

// Recovery says what Open found.
func (l *Log) Recovery() Recovery { return l.recovery }

// Checkpoint returns the newest signed checkpoint, at most about a second old
// while records come in. Kept elsewhere, it lets [Verify] notice a journal that
// was cut or rewritten together with its checkpoints.
func (l *Log) Checkpoint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.signed...)
}

// Key is the verifier key of the journal.
func (l *Log) Key() string { return l.cfg.Key.Public() }

// Reserve says how many allocated segments are waiting.
func (l *Log) Reserve() int {
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	return len(l.keeper.spares)
}

// Close writes what was appended and posted, signs it, and releases the
// folder. A second Close returns [ErrClosed]. When ctx ends first Close returns
// its error and the log closes in the background.
func (l *Log) Close(ctx context.Context) error {
	l.closing.Lock()
	if l.closed {
		l.closing.Unlock()
		return ErrClosed
	}
	l.closed = true
	close(l.queue)
	l.closing.Unlock()

	released := make(chan error, 1)
	go func() {
		<-l.done
		err := l.Err()
		if lost := l.lost.Load(); err == nil && lost > 0 {
			err = fmt.Errorf("close journal: %d posted records were lost", lost)
		}
		released <- errors.Join(err, l.release())
	}()
	select {
	case err := <-released:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) release() error {
	errs := []error{l.hashes.close()}
	if l.w.file != nil {
		errs = append(errs, l.w.file.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

// die makes an error the log's last word.
func (l *Log) die(err error) error {
	if l.fatal.CompareAndSwap(nil, &err) {
		l.log.Error("journal is dead", "error", err)
	}
	return *l.fatal.Load()
}

func (l *Log) setCheckpoint(signed []byte, size uint64) {
	l.mu.Lock()
	l.signed, l.signedSize = signed, size
	l.mu.Unlock()
}

func (l *Log) pushHash(level int, h tlog.Hash) { l.hashes.push(level, h) }
