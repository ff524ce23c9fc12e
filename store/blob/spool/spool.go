package spool

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/internal/durable"
	"lumen/store/blob"
)

// Blobs is store.Blobs, which this package cannot name: store may import it.
type Blobs interface {
	Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error
	Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	Stat(ctx context.Context, name string) (blob.Info, error)
	List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error]
	Delete(ctx context.Context, name string) error
}

// Summer is a remote that knows checksums of its objects. One that is not is
// sent again what was in the spool at start.
type Summer interface {
	// Sum returns an object's size and CRC-32C; known is false when the remote
	// has no checksum over the whole object.
	Sum(ctx context.Context, name string) (size int64, sum uint32, known bool, err error)
}

// Ack says when a Put returns.
type Ack int

const (
	AckLocal  Ack = iota // when the object is durable in the spool
	AckRemote            // when the remote has it, too
)

// Config says what a spool is made of. Zero fields have the defaults that their
// comments name.
type Config struct {
	Local  Blobs
	Remote Blobs
	Ack    Ack
	// HighWater is how many bytes the spool may hold that the remote has not got;
	// copies that it has got are dropped early to stay below it. 64 GiB.
	HighWater  int64
	Grace      time.Duration         // for which a copy stays after its upload, 1 h; negative is none
	Workers    int                   // uploads at once, 4
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is measured
	Clock      durable.Clock         // nil is the system's
	// Fatal is called when the local side fails in the background in a way that
	// must end the process (durable.IsFatal); nil logs it only.
	Fatal func(error)
	// Keep says which objects stay local for good, after their upload too: those
	// without which nothing works while the remote is away. It decides by the
	// prefix, so for all objects of one folder alike. See [Spool.Fetch].
	Keep func(name string) bool // nil is none
}

const (
	defaultHighWater = 64 << 30
	defaultGrace     = time.Hour
	defaultWorkers   = 4
)

// Spool implements store.Blobs.
type Spool struct {
	cfg     Config
	metrics *metrics
	log     *slog.Logger
	stop    context.CancelFunc // ends the background
	running sync.WaitGroup

	mu      sync.Mutex
	objects map[string]*object // all that is local and acknowledged
	queue   *list.List         // of *object: those that wait for a worker
	done    *list.List         // of *object: those that the remote has, the oldest first
	locked  map[string]bool    // names that a Put, a Delete or the sweeper works on
	wake    chan struct{}      // closed and replaced when any of this changes
	pending int64              // bytes that the remote has not got, those being put included
	kept    int64              // bytes of copies that the remote has
	failed  int                // uploads in a row: how long to wait
	closed  bool
	fetched bool // all objects that Keep chooses are local
}

// object is one local object. Its fields are guarded by Spool.mu.
type object struct {
	info     blob.Info
	state    state
	place    *list.Element      // in queue or done
	since    time.Time          // when it came, then when it was uploaded
	version  int                // grows when the name is put again
	found    bool               // at start: the remote may have it already
	cancel   context.CancelFunc // of the upload
	uploaded chan struct{}      // closed when the remote has this version, or it is gone
	doomed   bool               // a Delete waits for the worker
	gone     bool
}

type state int

const (
	waiting   state = iota // in queue
	uploading              // a worker has it
	uploaded               // in done
)

// Open starts a spool over what its local side holds. The caller calls Close.
func Open(ctx context.Context, cfg Config) (*Spool, error) {
	if cfg.HighWater <= 0 {
		cfg.HighWater = defaultHighWater
	}
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	if cfg.Workers <= 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = durable.SystemClock()
	}
	s := &Spool{cfg: cfg, log: cfg.Logger, objects: map[string]*object{}, locked: map[string]bool{},
		queue: list.New(), done: list.New(), wake: make(chan struct{})}
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer, s); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if cfg.Keep == nil {
		s.cfg.Keep = func(string) bool { return false }
	}
	for info, err := range cfg.Local.List(ctx, "") {
		if err != nil {
			s.metrics.unregister()
			return nil, fmt.Errorf("list the spool: %w", err)
		}
		if info.Name == fetchedMark {
			s.fetched = true
			continue
		}
		o := &object{info: info, since: info.ModTime, found: true, uploaded: make(chan struct{})}
		s.objects[info.Name] = o
		o.place = s.queue.PushBack(o)
		s.pending += info.Size
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	for range cfg.Workers {
		s.running.Go(func() { s.work(background) })
	}
	s.running.Go(func() { s.sweep(background) })
	return s, nil
}

// Close ends the background and waits for it. What was not uploaded stays in the
// spool for the next start. Puts that wait for the remote return an error.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.closed = true
	s.broadcast()
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	s.metrics.unregister()
	return nil
}

// broadcast wakes all who wait; s.mu is held.
func (s *Spool) broadcast() {
	close(s.wake)
	s.wake = make(chan struct{})
}

var errClosed = errors.New("the spool is closed")

// Put implements store.Blobs. With AckRemote it returns an error when ctx ends
// before the remote has the object, and takes the object back.
func (s *Spool) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if !blob.ValidName(name) || name == fetchedMark {
		return blob.ErrName
	}
	o, version, err := s.put(ctx, name, size, write)
	if err != nil || s.cfg.Ack == AckLocal {
		return err
	}
	return s.await(ctx, o, version)
}

func (s *Spool) put(ctx context.Context, name string, size int64, write func(io.Writer) error) (*object, int, error) {
	if err := s.lock(ctx, name); err != nil {
		return nil, 0, err
	}
	defer s.unlock(name)
	r := &reservation{s: s}
	defer r.release() // also when write panics
	if err := r.grow(max(size, 0)); err != nil {
		return nil, 0, err
	}
	err := s.cfg.Local.Put(ctx, name, size, func(w io.Writer) error {
		r.dst = w
		return write(r)
	})
	if err != nil && r.err != nil {
		return nil, 0, r.err // the cause of whatever write made of it
	}
	if err != nil {
		return nil, 0, err
	}
	o, version := s.add(name, r)
	return o, version, nil
}

// lock waits until nobody else works on a name.
func (s *Spool) lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			s.mu.Unlock()
			return err
		}
		if !s.locked[name] {
			s.locked[name] = true
			s.mu.Unlock()
			return nil
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

func (s *Spool) unlock(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locked, name)
	s.broadcast()
}

// reservation counts the bytes of a Put against the high-water mark while they
// are written.
type reservation struct {
	s        *Spool
	dst      io.Writer
	reserved int64
	written  int64
	err      error
}

const reserveStep = 1 << 20

func (r *reservation) Write(p []byte) (int, error) {
	if missing := r.written + int64(len(p)) - r.reserved; missing > 0 {
		if r.err = r.grow(max(missing, reserveStep)); r.err != nil {
			return 0, r.err
		}
	}
	n, err := r.dst.Write(p)
	r.written += int64(n)
	return n, err
}

func (r *reservation) grow(n int64) error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.pending+n > s.cfg.HighWater {
		s.metrics.refused.Inc()
		return fmt.Errorf("the spool is full of objects that are not uploaded: %w", blob.ErrNoSpace)
	}
	r.reserved += n
	s.pending += n
	if s.pending+s.kept > s.cfg.HighWater {
		s.broadcast() // sweep drops copies
	}
	return nil
}

func (r *reservation) release() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.pending -= r.reserved
	r.reserved = 0
}

// add takes an object that is durable locally into the books, where its bytes
// take the place of the reservation.
func (s *Spool) add(name string, r *reservation) (*object, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Clock.Now()
	o := s.objects[name]
	switch {
	case o == nil:
		o = &object{uploaded: make(chan struct{})}
		s.objects[name] = o
		o.place = s.queue.PushBack(o)
	case o.state == uploaded:
		s.kept -= o.info.Size
		s.done.Remove(o.place)
		o.state, o.uploaded = waiting, make(chan struct{})
		o.place = s.queue.PushBack(o)
	default: // a worker that has it notices that the version has changed
		s.pending -= o.info.Size
	}
	o.info, o.since, o.found = blob.Info{Name: name, Size: r.written, ModTime: now}, now, false
	o.version++
	s.pending += r.written - r.reserved
	r.reserved = 0
	return o, o.version
}

// await waits until the remote has a version of o.
func (s *Spool) await(ctx context.Context, o *object, version int) error {
	for {
		s.mu.Lock()
		closed, gone, has, ch, wake := s.closed, o.gone, o.state == uploaded, o.uploaded, s.wake
		newer := o.version != version
		s.mu.Unlock()
		switch {
		case has, newer, gone: // or somebody put it again or deleted it: his affair
			return nil
		case closed:
			return errClosed
		}
		select {
		case <-ch:
		case <-wake:
		case <-ctx.Done():
			// Not acknowledged, so it is taken back; where the remote is away it
			// may have it already, which nobody refers to.
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
			defer cancel()
			return errors.Join(fmt.Errorf("wait for the upload: %w", ctx.Err()), s.Delete(back, o.info.Name))
		}
	}
}

const withdrawTimeout = 10 * time.Second

// Open implements store.Blobs.
func (s *Spool) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	rc, err := s.cfg.Local.Open(ctx, name, off, n)
	if errors.Is(err, blob.ErrNotFound) && !s.knowsAll(name) {
		return s.cfg.Remote.Open(ctx, name, off, n)
	}
	return rc, err
}

// Stat implements store.Blobs.
func (s *Spool) Stat(ctx context.Context, name string) (blob.Info, error) {
	info, err := s.cfg.Local.Stat(ctx, name)
	if errors.Is(err, blob.ErrNotFound) && !s.knowsAll(name) {
		return s.cfg.Remote.Stat(ctx, name)
	}
	return info, err
}

// List implements store.Blobs: first what is local, then the rest.
func (s *Spool) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !blob.ValidPrefix(prefix) {
			yield(blob.Info{}, blob.ErrName)
			return
		}
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
			return
		}
		local := map[string]bool{}
		for _, info := range s.local(prefix) {
			local[info.Name] = true
			if !yield(info, nil) {
				return
			}
		}
		if s.knowsAll(prefix + "0") { // whatever is below it is kept
			return
		}
		for info, err := range s.cfg.Remote.List(ctx, prefix) {
			if err == nil && local[info.Name] {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (s *Spool) local(prefix string) []blob.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []blob.Info
	for name, o := range s.objects {
		if strings.HasPrefix(name, prefix) {
			infos = append(infos, o.info)
		}
	}
	return infos
}

// Delete implements store.Blobs. It needs the remote, and removes the local copy
// first: what is not deleted there is found there, and can be deleted again.
func (s *Spool) Delete(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.lock(ctx, name); err != nil {
		return err
	}
	defer s.unlock(name)
	if err := s.forget(ctx, name); err != nil {
		return err
	}
	if err := s.cfg.Local.Delete(ctx, name); err != nil {
		return err
	}
	return s.cfg.Remote.Delete(ctx, name)
}

// forget takes a name out of the books and waits until no worker has it.
func (s *Spool) forget(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		o := s.objects[name]
		if o == nil || o.state != uploading {
			if o != nil {
				s.drop(o)
			}
			s.mu.Unlock()
			return nil
		}
		o.doomed = ctx.Err() == nil
		if !o.doomed {
			s.mu.Unlock()
			return ctx.Err()
		}
		o.cancel()
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// drop takes an object that no worker has out of the books; s.mu is held.
func (s *Spool) drop(o *object) {
	delete(s.objects, o.info.Name)
	o.gone = true
	switch o.state {
	case waiting:
		s.queue.Remove(o.place)
		s.pending -= o.info.Size
		close(o.uploaded)
	case uploaded:
		s.done.Remove(o.place)
		s.kept -= o.info.Size
	}
	s.broadcast()
}
