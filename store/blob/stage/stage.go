package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"lumen/internal/durable"
	"lumen/store/blob"
)

// Blobs is where objects go in the end. It is store.Blobs, declared here
// because store is built on this package's parts.
type Blobs interface {
	Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error
	Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	Stat(ctx context.Context, name string) (blob.Info, error)
	List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error]
	Delete(ctx context.Context, name string) error
}

// Config says what a [Stage] is built of. Zero values of the numbers are the
// defaults.
type Config struct {
	FS          durable.FS
	Dir         string        // of the segments
	Next        Blobs         // where objects go in the end; it must not be written to by others
	Segments    int           // at most; 8
	SegmentSize int64         // bytes; 32 MiB
	MaxObject   int           // bytes; larger ones go to Next directly; 1 MiB
	Memory      int64         // bytes for all objects that are being received; 32 MiB
	Quiet       time.Duration // without a Put, before objects move although there is room; 2 s
	Clock       durable.Clock // times of objects; nil is the system's
	Logger      *slog.Logger  // nil logs nothing
}

// Stage implements store.Blobs. It is safe for concurrent use.
type Stage struct {
	cfg     Config
	next    Blobs
	log     *slog.Logger
	buffers sync.Pool     // of *[]byte, room+MaxObject long at most
	memory  chan struct{} // a token for each buffer that may be in use

	requests chan *request
	wake     chan struct{} // of the mover
	closing  chan struct{}
	stopped  sync.WaitGroup

	mu        sync.Mutex
	changed   sync.Cond         // entries moved, segments were released
	entries   map[string]*entry // what is in a segment
	active    *segment
	full      []*segment // the oldest first
	free      []*segment
	allocated int
	epoch     uint64
	last      time.Time // of the last append
	failed    error     // a sync failed: nothing can be relied on
}

// entry is an object in a segment.
type entry struct {
	name      string
	seg       *segment
	head, off int64 // of the record and of the data
	size      int
	modTime   time.Time
	older     *entry // under the same name, replaced by this one
	moving    bool   // is being put into Next
	moved     bool   // is in Next
	gone      bool   // is being deleted: it does not move any more
	released  bool   // its segment is
}

// request is one record to append.
type request struct {
	name   string
	buf    []byte // room, then the data
	retire bool   // no record: ends the active segment
	// written is told when the record is in a segment, done when it is durable.
	written, done chan error
}

var (
	errFits = errors.New("the object fits into the log")
	errFull = errors.New("no segment is free")
)

// Put implements store.Blobs.
func (s *Stage) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	wait, err := s.Begin(ctx, name, size, write)
	if err != nil {
		return err
	}
	return wait()
}

// Begin implements store.TwoStep. It returns when the object is in a segment,
// whose flush comes next; a larger one is durable then.
func (s *Stage) Begin(ctx context.Context, name string, size int64, write func(io.Writer) error) (wait func() error, err error) {
	if !blob.ValidName(name) {
		return nil, blob.ErrName
	}
	if size > int64(s.cfg.MaxObject) || !s.takeMemory() {
		return durably, s.direct(ctx, name, size, write)
	}
	defer s.giveMemory()
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	g := &gather{ctx: ctx, buf: (*buf)[:room], limit: room + s.cfg.MaxObject}
	err = s.next.Put(ctx, name, size, func(w io.Writer) error {
		g.next = w
		switch err := write(g); {
		case err != nil:
			return err
		case g.err != nil:
			return g.err
		case g.spilled:
			return nil
		}
		return errFits
	})
	*buf = g.buf[:0]
	if !errors.Is(err, errFits) {
		if err == nil {
			err = s.forget(name)
		}
		return durably, err
	}
	if size >= 0 && int64(len(g.buf)-room) != size {
		return nil, blob.ErrSize
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wait, err = s.append(&request{name: name, buf: g.buf})
	if errors.Is(err, errFull) {
		data := g.buf[room:]
		return durably, s.direct(ctx, name, int64(len(data)), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	return wait, err
}

// durably is the wait for what is durable already.
func durably() error { return nil }

// direct puts an object past the log.
func (s *Stage) direct(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if err := s.next.Put(ctx, name, size, write); err != nil {
		return err
	}
	return s.forget(name)
}

func (s *Stage) takeMemory() bool {
	select {
	case s.memory <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Stage) giveMemory() { <-s.memory }

// gather keeps what is written as long as it fits, and passes it on else.
type gather struct {
	ctx     context.Context
	buf     []byte
	limit   int
	next    io.Writer
	spilled bool
	err     error
}

func (g *gather) Write(p []byte) (int, error) {
	if g.err == nil {
		g.err = g.ctx.Err()
	}
	if g.err != nil {
		return 0, g.err
	}
	if !g.spilled && len(g.buf)+len(p) <= g.limit {
		g.buf = append(g.buf, p...)
		return len(p), nil
	}
	if !g.spilled {
		g.spilled = true
		if _, g.err = g.next.Write(g.buf[room:]); g.err != nil {
			return 0, g.err
		}
	}
	n, err := g.next.Write(p)
	g.err = err
	return n, err
}

// append puts a record into a segment. Wait returns when it is durable. The
// record's buffer is not used after append.
func (s *Stage) append(r *request) (wait func() error, err error) {
	r.written, r.done = make(chan error, 1), make(chan error, 1)
	select {
	case s.requests <- r:
	case <-s.closing:
		return nil, errFull
	}
	if err := <-r.written; err != nil {
		return nil, err
	}
	return func() error { return <-r.done }, nil
}

// forget takes what a segment has under name out of sight, durably; no crash
// brings it back.
func (s *Stage) forget(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	for e != nil && e.moving {
		s.changed.Wait()
		e = s.entries[name]
	}
	if e == nil {
		return nil
	}
	e.gone = true
	for old := e; old != nil; old = old.older {
		if old.released {
			continue
		}
		old.seg.readers.RLock() // it is not used again meanwhile
		s.mu.Unlock()
		err := old.seg.kill(old.head)
		s.mu.Lock()
		old.seg.readers.RUnlock()
		if durable.IsFatal(err) {
			s.failed = err
		}
		if err != nil {
			e.gone = false
			return err
		}
	}
	if s.entries[name] == e {
		delete(s.entries, name)
	}
	return nil
}

// Open implements store.Blobs.
func (s *Stage) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	e := s.entries[name]
	if e == nil || e.moved {
		s.mu.Unlock()
		return s.next.Open(ctx, name, off, n)
	}
	seg := e.seg
	seg.readers.RLock()
	s.mu.Unlock()
	defer seg.readers.RUnlock()
	off = min(off, int64(e.size))
	left := int64(e.size) - off
	if n >= 0 {
		left = min(left, n)
	}
	data := make([]byte, left) // MaxObject at most
	if _, err := seg.file.ReadAt(data, e.off+off); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read a staged object: %w", err)
	}
	return io.NopCloser(&contextReader{ctx, bytes.NewReader(data)}), nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Stat implements store.Blobs.
func (s *Stage) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := ctx.Err(); err != nil {
		return blob.Info{}, err
	}
	s.mu.Lock()
	e := s.entries[name]
	staged := e != nil && !e.moved
	s.mu.Unlock()
	if !staged {
		return s.next.Stat(ctx, name)
	}
	return e.info(), nil
}

func (e *entry) info() blob.Info {
	return blob.Info{Name: e.name, Size: int64(e.size), ModTime: e.modTime}
}

// List implements store.Blobs.
func (s *Stage) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !blob.ValidPrefix(prefix) {
			yield(blob.Info{}, blob.ErrName)
			return
		}
		staged := map[string]blob.Info{}
		s.mu.Lock()
		for name, e := range s.entries {
			if strings.HasPrefix(name, prefix) {
				staged[name] = e.info()
			}
		}
		s.mu.Unlock()
		for _, info := range staged {
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		for info, err := range s.next.List(ctx, prefix) {
			if _, twice := staged[info.Name]; twice && err == nil {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements store.Blobs.
func (s *Stage) Delete(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.forget(name); err != nil {
		return err
	}
	return s.next.Delete(ctx, name)
}

// Staged says how many objects and bytes wait to be moved.
func (s *Stage) Staged() (objects int, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if !e.moved {
			objects++
			size += int64(e.size)
		}
	}
	return objects, size
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
