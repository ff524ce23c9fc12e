package dimse

import (
	"net/netip"
	"sync"
	"time"
)

// throttle turns connections away from addresses whose connections fail again
// and again: that bring no request, are rejected, or abort what they asked for.
// Each address has a bucket of failures that are forgiven, which fills again
// within failureWindow. While it is empty, connections are closed as soon as
// they are accepted.
//
// Behind one address there may be others, behind a router that translates. One
// with which an association worked of late is never locked out: it has a few
// connections at a time, which have to be quick.
//
// Connections of the loopback interface are let through: a process on this
// machine can do worse, and a proxy there is everybody.
type throttle struct {
	mu    sync.Mutex
	peers map[netip.Prefix]*record
}

// record is what is known of an address.
type record struct {
	forgiven float64   // failures that still are, at
	at       time.Time // this time
	worked   time.Time // an association did
	open     int       // connections without an association yet
}

const (
	failureWindow = 10 * time.Second
	maxRecords    = 4096             // past it one that is not in use is forgotten
	workedLately  = 10 * time.Minute // an address is trusted
	laneWidth     = 4                // its connections at a time, while none is forgiven
	laneTime      = time.Second      // that they have to ask for an association
)

// network is what counts as one address: an IPv6 host has a whole /64 to call
// from.
func network(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.WithZone("").Prefix(bits)
	return p
}

func exempt(addr netip.Addr) bool { return !addr.IsValid() || addr.IsLoopback() }

// admit decides on a new connection, which settle must follow. It counts as
// failed until then. One in a hurry does not, and has laneTime to ask.
func (t *throttle) admit(addr netip.Addr, failures int) (ok, hurry bool) {
	if exempt(addr) {
		return true, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(addr, failures)
	if r.forgiven < 1 {
		if time.Since(r.worked) > workedLately || r.open >= laneWidth {
			return false, false
		}
		r.open++
		return true, true
	}
	r.forgiven--
	r.open++
	return true, false
}

// settle ends the time that a connection is without an association, at the cost
// of so many failures.
func (t *throttle) settle(addr netip.Addr, failures int, hurry bool, cost int) {
	if exempt(addr) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(addr, failures)
	r.open--
	if !hurry {
		cost--
	}
	r.forgiven = min(float64(failures), max(0, r.forgiven-float64(cost)))
	t.forget(addr, r, failures)
}

// charge counts an association that was no use.
func (t *throttle) charge(addr netip.Addr, failures int) {
	if exempt(addr) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(addr, failures)
	r.forgiven = max(0, r.forgiven-1)
}

// praise notes that an association of an address works.
func (t *throttle) praise(addr netip.Addr, failures int) {
	if exempt(addr) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record(addr, failures).worked = time.Now()
}

// record returns what is known of an address, brought up to date. The caller
// holds mu.
func (t *throttle) record(addr netip.Addr, failures int) *record {
	key, now := network(addr), time.Now()
	if r := t.peers[key]; r != nil {
		r.forgiven = min(float64(failures), r.forgiven+float64(failures)*now.Sub(r.at).Seconds()/failureWindow.Seconds())
		r.at = now
		return r
	}
	if t.peers == nil {
		t.peers = make(map[netip.Prefix]*record)
	}
	if len(t.peers) >= maxRecords {
		for k, r := range t.peers {
			if r.open == 0 {
				delete(t.peers, k)
				break
			}
		}
	}
	r := &record{forgiven: float64(failures), at: now}
	t.peers[key] = r
	return r
}

// forget drops a record that says nothing. The caller holds mu.
func (t *throttle) forget(addr netip.Addr, r *record, failures int) {
	if r.open == 0 && r.forgiven >= float64(failures) && time.Since(r.worked) > workedLately {
		delete(t.peers, network(addr))
	}
}
