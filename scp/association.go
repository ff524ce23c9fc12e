package scp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dimse"
	"lumen/store"
)

var errCalledAE = errors.New("the called AE title is not ours")

// associate decides who may have an association. The called title is checked
// once AEs are configured: before that, a node answers to any name.
func (s *Server) associate(ctx context.Context, rq *dimse.AssociateRequest) (any, error) {
	if len(s.cfg.Policy.AEs) > 0 && rq.CalledAE != s.cfg.AETitle {
		return nil, dimse.RejectCalledAE(errCalledAE)
	}
	p, entry, err := s.cfg.Policy.ForAE(rq.CallingAE, access.Peer{Addr: rq.Remote.Addr(), Certificate: rq.Certificate})
	if err != nil {
		return nil, dimse.RejectCallingAE(err)
	}
	c := caller{Principal: p}
	if c.user, err = s.cfg.Users.check(ctx, rq); err != nil {
		return nil, refuseIdentity(ctx, err)
	}
	if entry >= 0 && entry < len(s.cfg.Quirks) {
		c.Quirks = s.cfg.Quirks[entry]
	}
	rq.MaxPDU = c.MaxPDU
	return c, nil
}

// What guessing a passcode costs: time, and as much as so many connections that
// fail otherwise.
const (
	identityPause = time.Second
	identityCost  = 10
)

func refuseIdentity(ctx context.Context, err error) error {
	select {
	case <-time.After(identityPause):
	case <-ctx.Done():
	}
	r := dimse.RejectCallingAE(err)
	r.Cost = identityCost
	return r
}

func (s *Server) accepted(a *dimse.Association) {
	s.metrics.associations.Inc()
	s.metrics.outcomes.WithLabelValues("accepted").Inc()
	detail := map[string]string{"called_ae": a.CalledAE}
	if dicom.ValidUID(a.ImplementationClassUID) { // PS3.7 annex D.3.3.2: a version name has 16 characters
		detail["implementation"] = a.ImplementationClassUID + " " + a.ImplementationVersionName[:min(len(a.ImplementationVersionName), 16)]
	}
	if user := callerOf(a).user; user != "" {
		detail["user"] = user
	}
	s.post(a, store.EventAssociationAccepted, store.OutcomeSuccess, detail)
}

func (s *Server) closed(a *dimse.Association, err error) {
	s.metrics.associations.Dec()
	if err == nil {
		s.metrics.outcomes.WithLabelValues("released").Inc()
		s.post(a, store.EventAssociationReleased, store.OutcomeSuccess, nil)
		return
	}
	s.metrics.outcomes.WithLabelValues("aborted").Inc()
	s.post(a, store.EventAssociationAborted, store.OutcomeSeriousFailure, map[string]string{"reason": err.Error()})
	s.log.Info("association ended early", "association", a.ID, "principal", principal(a), "reason", err.Error())
}

func (s *Server) post(a *dimse.Association, kind store.EventKind, outcome store.Outcome, detail map[string]string) {
	s.cfg.Journal.Post(store.Event{Kind: kind, Outcome: outcome, Principal: principal(a),
		Request: request(a, "DIMSE"), Detail: detail})
}

func (s *Server) message(a *dimse.Association, m dimse.Message) {
	s.metrics.message(m)
	class := m.Status.Class()
	level := slog.LevelDebug
	if class == dimse.ClassFailure {
		level = slog.LevelWarn
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []any{"association", a.ID, "operation", m.Operation, "status", fmt.Sprintf("%04X", uint16(m.Status)),
		"bytes", m.Bytes, "duration", m.Duration}
	if m.Err != nil {
		attrs = append(attrs, "error", m.Err.Error())
	}
	s.log.Log(context.Background(), level, "operation done", attrs...)
}

func (s *Server) reject(rq *dimse.AssociateRequest, why *dimse.Reject) {
	s.metrics.outcomes.WithLabelValues("rejected").Inc()
	s.rejected.add(rq, why)
}

var errTooManyFailures = errors.New("too many connections of this address have failed")

// refused is told of connections that were closed before they said anything.
func (s *Server) refused(remote netip.AddrPort) {
	s.metrics.outcomes.WithLabelValues("refused").Inc()
	s.rejected.add(&dimse.AssociateRequest{Remote: remote}, errTooManyFailures)
}

// rejections journals refused associations in aggregate: a peer that tries in a
// loop costs one record a minute for each reason.
type rejections struct {
	journal Journal
	log     *slog.Logger

	mu    sync.Mutex
	again map[rejection]*repeated
}

type rejection struct{ peer, reason string }

// repeated is what came after the first rejection of a kind.
type repeated struct {
	event store.Event
	count int
	timer *time.Timer
}

const (
	rejectionWindow = time.Minute
	maxRejections   = 1024 // kinds told apart at once; those past it share one
)

func (r *rejections) add(rq *dimse.AssociateRequest, why error) {
	key := rejection{rq.Remote.Addr().String(), why.Error()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again == nil {
		r.again = make(map[rejection]*repeated)
	}
	if r.again[key] == nil && len(r.again) >= maxRejections {
		key = rejection{"", "more peers than are told apart"}
	}
	if seen := r.again[key]; seen != nil {
		seen.count++
		return
	}
	e := store.Event{Kind: store.EventAssociationRejected, Outcome: store.OutcomeMinorFailure,
		Principal: access.Principal{Kind: access.KindAE, Name: rq.CallingAE},
		Request:   store.Request{Protocol: "DIMSE", Peer: key.peer, CallingAE: rq.CallingAE},
		Detail:    map[string]string{"reason": key.reason, "called_ae": rq.CalledAE, "count": "1"}}
	// The title goes into the log, quoted: somebody has to configure the tower.
	r.log.Warn("association rejected", "peer", key.peer, "calling_ae", fmt.Sprintf("%q", rq.CallingAE),
		"called_ae", fmt.Sprintf("%q", rq.CalledAE), "reason", key.reason)
	r.journal.Post(e)
	seen := &repeated{event: e}
	seen.timer = time.AfterFunc(rejectionWindow, func() { r.end(key) })
	r.again[key] = seen
}

// end closes the window of one kind.
func (r *rejections) end(key rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.again[key]
	if seen == nil {
		return
	}
	delete(r.again, key)
	seen.timer.Stop()
	if seen.count > 0 {
		seen.event.Detail["count"] = fmt.Sprint(seen.count)
		r.journal.Post(seen.event)
	}
}

// flush closes all windows.
func (r *rejections) flush() {
	r.mu.Lock()
	var keys []rejection
	for key := range r.again {
		keys = append(keys, key)
	}
	r.mu.Unlock()
	for _, key := range keys {
		r.end(key)
	}
}
