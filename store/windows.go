package store

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"lumen/access"
)

// windowLength is for how long a durable begin record serves further
// retrievals by the same principal from the same place of the same study: a
// viewer asks for a thousand frames one by one.
const windowLength = time.Minute

// windows are the begin records that further retrievals may go by. The
// retrieval that wrote a begin record has an end record of its own; those that
// only went by it share one, written when the window has closed and the last of
// them is done.
type windows struct {
	mu     sync.Mutex
	open   map[windowKey]*window
	pruned time.Time
}

type windowKey struct {
	kind        access.Kind
	name        string
	protocol    string
	peer        string // without its port
	callingAE   string
	destination string
	study       string
}

type window struct {
	begin    Event // of the first patient
	patients patientSet
	begun    time.Time
	active   int // retrievals that go by it and are not closed
	shared   int // retrievals that went by it
	failed   bool
	counts   Counts // of those that are closed
	dropped  bool   // no longer open
}

// pass is a retrieval's right to move data.
type pass struct {
	window *window
	first  bool // it wrote the begin record
}

func keyOf(e Event) windowKey {
	peer := e.Request.Peer
	if addr, err := netip.ParseAddrPort(peer); err == nil {
		peer = addr.Addr().String()
	}
	return windowKey{
		kind: e.Principal.Kind, name: e.Principal.Name, protocol: e.Request.Protocol, peer: peer,
		callingAE: e.Request.CallingAE, destination: e.Request.Destination, study: e.StudyInstanceUID,
	}
}

// begin makes the begin event durable, one of each patient, or goes by what is.
func (a *Archive) begin(ctx context.Context, e Event, patients patientSet) (*pass, error) {
	a.endWindows(false)
	key, now := keyOf(e), a.clock.Now()
	if err := a.journal.Err(); err != nil {
		return nil, err
	}
	s := &a.begun
	s.mu.Lock()
	if w := s.open[key]; w != nil && w.serves(now) && w.patients.holds(patients) {
		w.active++
		w.shared++
		s.mu.Unlock()
		return &pass{window: w}, nil
	}
	s.mu.Unlock()

	events := patients.events(e)
	if _, err := a.journal.Append(ctx, events...); err != nil {
		return nil, err
	}
	w := &window{begin: events[0], patients: patients, begun: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[windowKey]*window)
	}
	if old := s.open[key]; old != nil {
		a.dropWindow(old)
	}
	s.open[key] = w
	return &pass{window: w, first: true}, nil
}

func (w *window) serves(now time.Time) bool {
	age := now.Sub(w.begun)
	return age >= 0 && age < windowLength
}

// end records what one retrieval moved.
func (a *Archive) end(p *pass, counts Counts, outcome error) {
	w := p.window
	if p.first {
		a.journal.Post(endOf(w.begin, counts, outcome != nil))
		return
	}
	a.begun.mu.Lock()
	defer a.begun.mu.Unlock()
	w.active--
	w.failed = w.failed || outcome != nil
	w.counts.Instances += counts.Instances
	w.counts.Frames += counts.Frames
	w.counts.Bytes += counts.Bytes
	if w.dropped && w.active == 0 {
		a.journal.Post(endOf(w.begin, w.counts, w.failed))
	}
}

// dropWindow takes a window out of use. The caller holds the lock and takes it
// out of the map.
func (a *Archive) dropWindow(w *window) {
	w.dropped = true
	if w.shared > 0 && w.active == 0 {
		a.journal.Post(endOf(w.begin, w.counts, w.failed))
	}
}

// endWindows drops the windows that are over, or all of them. It looks at most
// once a second.
func (a *Archive) endWindows(all bool) {
	s := &a.begun
	now := a.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.pruned); !all && age >= 0 && age < time.Second {
		return
	}
	s.pruned = now
	maps.DeleteFunc(s.open, func(_ windowKey, w *window) bool {
		if !all && w.serves(now) {
			return false
		}
		a.dropWindow(w)
		return true
	})
}

// endOf is the end record of what a begin record announced.
func endOf(begin Event, counts Counts, failed bool) Event {
	e := begin
	e.Kind, e.Counts, e.Instances = EventRetrieveEnd, counts, nil
	if failed {
		e.Outcome = OutcomeSeriousFailure
	}
	return e
}
