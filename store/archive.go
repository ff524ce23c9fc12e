package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom"
	"lumen/internal/durable"
	"lumen/store/seal"
)

// Config says what an [Archive] is built of. The archive closes none of it.
type Config struct {
	Tenant  string // empty means access.DefaultTenant
	Blobs   Blobs
	Index   Index
	Journal Journal
	Keys    *seal.Keyring // of the same tenant

	Clock     durable.Clock                         // nil means the system's
	FreeSpace func() (free, total int64, err error) // bytes where blobs are written; nil means not watched
	MinFree   Floor                                 // below it nothing is taken in
	Limits    Limits

	// NoSweep leaves out the sweeps in the background: for commands that only look.
	NoSweep bool

	Logger     *slog.Logger          // nil means none
	Registerer prometheus.Registerer // nil means no metrics
}

// Limits bound what one object may take and what headers together may hold in
// memory. A zero field means the default.
type Limits struct {
	ObjectSize  int64        // bytes of a data set; default 16 GiB
	HeaderTotal int64        // bytes of large headers in memory at once, half of it for one principal; default 64 MiB
	DICOM       dicom.Limits // of the parser
}

func (l Limits) withDefaults() Limits {
	if l.ObjectSize == 0 {
		l.ObjectSize = 16 << 30
	}
	if l.HeaderTotal == 0 {
		l.HeaderTotal = 64 << 20
	}
	if l.DICOM == (dicom.Limits{}) {
		l.DICOM = dicom.DefaultLimits()
	}
	return l
}

// Archive takes instances in, finds them and hands them out. It serves one
// tenant and is safe for concurrent use. [Open] makes one.
type Archive struct {
	tenant  string
	blobs   Blobs
	index   Index
	journal Journal
	keys    *seal.Keyring
	clock   durable.Clock
	limits  Limits
	log     *slog.Logger
	metrics *metrics

	space     space
	headers   headerBudget
	instances keyedLocks // by SOP Instance UID: decision to index
	studies   studyKeys
	aside     asideSets
	coverage  *coverage
	sequence  sequence
	ahead     aheadSlots
	writing   blobSet // blobs of ingests that are under way
	begun     windows // retrievals whose begin record is reused
	opened    openedBlobs

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls and background work
	stop    context.CancelFunc

	sweeping sync.Mutex
}

// Open starts an archive: it replays the journal from where the index is, so
// that every instance that was ever acknowledged is found, and then looks in
// the background for blobs that a crash left behind (see [Archive.Sweep]).
func Open(ctx context.Context, cfg Config) (*Archive, error) {
	a, err := newArchive(cfg)
	if err != nil {
		return nil, err
	}
	if err := a.replay(ctx); err != nil {
		return nil, fmt.Errorf("replay the journal: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.running.Add(1)
	go func() {
		defer a.running.Done()
		a.runBackground(background, !cfg.NoSweep)
	}()
	return a, nil
}

func newArchive(cfg Config) (*Archive, error) {
	if cfg.Blobs == nil || cfg.Index == nil || cfg.Journal == nil || cfg.Keys == nil {
		return nil, errors.New("store: blobs, index, journal and keys are needed")
	}
	if cfg.Tenant == "" {
		cfg.Tenant = access.DefaultTenant
	}
	if cfg.Clock == nil {
		cfg.Clock = durable.SystemClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MinFree == (Floor{}) {
		cfg.MinFree = DefaultFloor()
	}
	a := &Archive{
		tenant:  cfg.Tenant,
		blobs:   cfg.Blobs,
		index:   cfg.Index,
		journal: cfg.Journal,
		keys:    cfg.Keys,
		clock:   cfg.Clock,
		limits:  cfg.Limits.withDefaults(),
		log:     cfg.Logger,
		metrics: newMetrics(cfg.Registerer),
	}
	a.space = space{free: cfg.FreeSpace, floor: cfg.MinFree, clock: cfg.Clock, note: a.metrics.free}
	a.headers.total = a.limits.HeaderTotal
	a.ahead = newAheadSlots()
	a.aside.max = maxAside
	a.coverage = newCoverage(cfg.Index.Covered())
	return a, nil
}

// Close waits for calls that are under way, ends background work and journals
// the ends of retrievals that are still open in it. Retrievals must have been
// closed. It does not close what the archive was built of.
func (a *Archive) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
	a.endWindows(true)
	return nil
}

// enter notes a call that Close waits for.
func (a *Archive) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	a.running.Add(1)
	return nil
}

// allow checks a right, and journals that it was lacking.
func (a *Archive) allow(ctx context.Context, p access.Principal, right access.Right, rq Request) error {
	if p.Can(right) && p.Tenant == a.tenant {
		return nil
	}
	a.metrics.denied.Inc()
	_, err := a.journal.Append(ctx, Event{
		Kind:      EventDenied,
		Outcome:   OutcomeMinorFailure,
		Principal: p,
		Request:   rq,
		Detail:    map[string]string{"right": right.String()},
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("%w to %s", ErrDenied, right)
}

// name is the name of a blob in Blobs.
func (a *Archive) name(ref BlobRef) string { return ref.Name(a.keys.Tenant()) }

// blobSet is a set of blobs.
type blobSet struct {
	mu  sync.Mutex
	set map[BlobRef]struct{}
}

func (s *blobSet) add(ref BlobRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[BlobRef]struct{})
	}
	s.set[ref] = struct{}{}
}

func (s *blobSet) remove(ref BlobRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, ref)
}

func (s *blobSet) has(ref BlobRef) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.set[ref]
	return ok
}

var _ io.Closer = (*Archive)(nil)
