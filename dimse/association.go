package dimse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"lumen/dimse/pdu"
)

// Association is one accepted association, as its handlers see it.
type Association struct {
	ID                  string // random, 32 hexadecimal digits: for journals and logs
	CallingAE, CalledAE string // as on the wire, without padding
	Remote              netip.AddrPort
	Value               any // what Server.Associate returned

	// ImplementationClassUID and VersionName tell what software the peer is.
	ImplementationClassUID, ImplementationVersionName string

	server   *Server
	link     *link
	since    time.Time // it has been without an association
	hurry    bool      // it has laneTime to ask
	served   bool      // a message was
	contexts [pdu.MaxContexts]struct {
		accepted
		answered bool
	}
	special map[string]*Service // by SOP class, of those that no service lists
	pending *request            // a request that arrived while another was served
}

// request is a command that waits to be served.
type request struct {
	contextID byte
	command   command
}

// Contexts lists the accepted presentation contexts in the order of their ids.
func (a *Association) Contexts() []Context {
	var list []Context
	for i := range a.contexts {
		if a.contexts[i].service != nil {
			list = append(list, a.contexts[i].Context)
		}
	}
	return list
}

func (a *Association) context(id byte) *accepted {
	c := &a.contexts[id>>1].accepted
	if c.service == nil || c.ID != id {
		return nil
	}
	return c
}

// run serves one connection from its first byte to its end.
func (a *Association) run(ctx context.Context) {
	s, l := a.server, a.link
	ctx, cancel := context.WithCancelCause(ctx)
	established := false
	var err error
	defer func() {
		if v := recover(); v != nil {
			s.logPanic(a, v)
			err = ErrPanic
		}
		if err != nil {
			l.abort(pdu.Abort{Source: pdu.AbortProvider}) // unless it is over already
		}
		cancel(err)
		if established && s.Events.Closed != nil {
			s.Events.Closed(a, err)
		}
		if d := s.leave(a); d > 0 {
			l.linger(d)
		}
		l.close()
	}()
	if err = a.establishOrPay(ctx); err != nil {
		return
	}
	established = true
	if s.Events.Accepted != nil {
		s.Events.Accepted(a)
	}
	err = a.serve(ctx)
	if errors.Is(err, ErrReleased) {
		err = nil
	}
	if !a.served && s.costOf(err) > 0 {
		s.throttle.charge(a.Remote.Addr(), l.lim.Failures)
	}
}

func (a *Association) establishOrPay(ctx context.Context) (err error) {
	defer func() {
		a.server.throttle.settle(a.Remote.Addr(), a.link.lim.Failures, a.hurry, a.server.costOf(err))
	}()
	return a.establish(ctx)
}

// costOf says as how many failed connections the end of one counts.
func (s *Server) costOf(err error) int {
	var r *Reject
	switch {
	case err == nil, s.closing.Load(), errors.As(err, &r) && r.Result == pdu.RejectedTransient:
		return 0
	case r != nil:
		return max(1, r.Cost)
	}
	return 1
}

// logPanic logs the stack of a panic. Its value may hold anything, so it stays
// out of the log.
func (s *Server) logPanic(a *Association, v any) {
	s.logger().Error("panic in an association", "association", a.ID,
		"type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

// ErrPanic says that a handler panicked and its association was aborted.
var ErrPanic = errors.New("internal error")

// establish takes the A-ASSOCIATE-RQ and answers it.
func (a *Association) establish(ctx context.Context) error {
	s, l := a.server, a.link
	if err := l.do(evAccepted, nil); err != nil {
		return err
	}
	if l.within(l.lim.ARTIM); a.hurry {
		l.within(min(laneTime, l.lim.ARTIM))
	}
	l.between = true // ARTIM counts from the connection on, whatever arrives
	conn, encrypted := l.conn.(*tls.Conn)
	if encrypted {
		if err := conn.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
	}
	act, body, err := l.receive()
	if err != nil {
		return err
	}
	if act != ae6 {
		return ErrProtocol
	}
	l.between = false
	s.opened(a)
	rq, err := pdu.ParseAssociateRQ(body)
	if errors.Is(err, pdu.ErrLimit) {
		return a.refuse(nil, errContexts)
	}
	if err != nil {
		return l.violation(invalidPDV, err.Error())
	}
	if err := acceptable(rq); err != nil {
		return a.refuse(rq, err)
	}
	if err := s.admit(a); err != nil {
		return a.refuse(rq, err)
	}
	a.CallingAE, a.CalledAE = rq.CallingAE, rq.CalledAE
	a.ImplementationClassUID = rq.User.ImplementationClassUID
	a.ImplementationVersionName = rq.User.ImplementationVersionName
	ask := AssociateRequest{CallingAE: rq.CallingAE, CalledAE: rq.CalledAE,
		Remote: a.Remote, Identity: rq.User.Identity, Plaintext: !encrypted,
		ImplementationClassUID:    a.ImplementationClassUID,
		ImplementationVersionName: a.ImplementationVersionName}
	if encrypted {
		if chains := conn.ConnectionState().VerifiedChains; len(chains) > 0 {
			ask.Certificate = chains[0][0]
		}
	}
	if s.Associate != nil {
		if a.Value, err = s.Associate(ctx, &ask); err != nil {
			return a.refuse(rq, err)
		}
	}
	if n := rq.User.MaximumLength; n > 1<<30 {
		l.maxSend = 0
	} else {
		l.maxSend = int(n)
	}
	announce := l.lim.DataPDU
	if n := ask.MaxPDU; n > 0 {
		announce = min(announce, n)
		if l.maxSend == 0 || l.maxSend > n {
			l.maxSend = n
		}
	}
	ac := a.negotiate(rq, announce)
	if id := rq.User.Identity; id != nil && id.ResponseRequested {
		ac.User.IdentityResponse = ask.IdentityResponse
	}
	return l.do(evAcceptResponse, ac.Append(nil))
}

// refuse answers with A-ASSOCIATE-RJ and returns why.
func (a *Association) refuse(rq *pdu.AssociateRQ, why error) error {
	var r *Reject
	if !errors.As(why, &r) {
		r = &Reject{AssociateRJ: pdu.AssociateRJ{Result: pdu.RejectedPermanent, Source: pdu.SourceUser, Reason: pdu.ReasonUserNone}, Err: why}
	}
	err := a.link.do(evRejectResponse, r.AssociateRJ.Append(nil))
	if a.server.Events.Rejected != nil {
		e := AssociateRequest{Remote: a.Remote}
		if rq != nil {
			e.CallingAE, e.CalledAE = rq.CallingAE, rq.CalledAE
		}
		a.server.Events.Rejected(&e, r)
	}
	return errors.Join(r, err)
}

// serve takes messages until the association ends; it returns ErrReleased when
// that was orderly.
func (a *Association) serve(ctx context.Context) error {
	l := a.link
	var c command
	for {
		id, err := a.next(&c)
		switch {
		case errors.Is(err, ErrReleased):
			return a.released()
		case err != nil:
			return err
		}
		pc := a.context(id)
		if pc == nil {
			return l.violation(invalidPDV, "a message in a presentation context that was not accepted")
		}
		if err := a.dispatch(ctx, pc, &c); err != nil {
			if errors.Is(err, ErrReleased) {
				return a.released()
			}
			return err
		}
		if !a.served {
			a.served = true
			a.server.throttle.praise(a.Remote.Addr(), l.lim.Failures)
		}
	}
}

// released answers a release request that has been read.
func (a *Association) released() error {
	if err := a.link.do(evReleaseResponse, pdu.AppendReleaseRP(nil)); err != nil {
		return err
	}
	return ErrReleased
}

// next reads the next request.
func (a *Association) next(c *command) (byte, error) {
	if p := a.pending; p != nil {
		a.pending = nil
		*c = p.command
		return p.contextID, nil
	}
	if a.link.machine.is(staReleasing) { // the release arrived while an operation ran
		return 0, ErrReleased
	}
	if a.server.closing.Load() {
		return 0, errInterrupted
	}
	if err := a.link.await(a.link.lim.Idle); err != nil {
		return 0, err
	}
	return a.link.command(c)
}

// dispatch serves one message.
func (a *Association) dispatch(ctx context.Context, pc *accepted, c *command) error {
	done := measure(a, c)
	var err error
	switch {
	case c.Field == cCancelRQ:
		return nil // its operation is over
	case c.Field&response != 0:
		return a.link.violation(unexpectedPDV, "a response without a request")
	case c.Field == cEchoRQ && pc.service.Echo != nil:
		err = a.echo(ctx, pc, c, &done)
	case c.Field == cStoreRQ && pc.service.Store != nil:
		err = a.store(ctx, pc, c, &done)
	case c.Field == cFindRQ && pc.service.Find != nil:
		err = a.find(ctx, pc, c, &done)
	case c.Field == cMoveRQ && pc.service.Move != nil:
		err = a.move(ctx, pc, c, &done)
	case c.Field == cGetRQ && pc.service.Get != nil:
		err = a.get(ctx, pc, c, &done)
	default:
		err = a.refuseOperation(pc, c, &done)
	}
	done.report(err)
	return err
}

// refuseOperation answers a request that the context's service does not have.
func (a *Association) refuseOperation(pc *accepted, c *command, done *measurement) error {
	if c.HasData {
		d := dataReader{link: a.link, id: pc.ID, max: a.link.lim.Object}
		if err := d.drain(); err != nil {
			return err
		}
	}
	return a.respond(pc, c, StatusUnrecognizedOperation, "operation not offered", done)
}

// respond sends a response without counts or data.
func (a *Association) respond(pc *accepted, c *command, status Status, comment string, done *measurement) error {
	done.status = status
	reply := c.reply(status)
	reply.Comment = comment
	return a.link.send(pc.ID, &reply, nil)
}

// reply makes the response to a request.
func (c *command) reply(status Status) command {
	return command{Field: c.Field | response, RespondedTo: c.MessageID, SOPClass: c.SOPClass,
		SOPInstance: c.SOPInstance, Status: status}
}

// measurement is what is told about a message when it is done.
type measurement struct {
	a       *Association
	command field
	class   string
	start   time.Time
	status  Status
	bytes   int64
	err     error // the handler's
}

func measure(a *Association, c *command) measurement {
	return measurement{a: a, command: c.Field, class: c.SOPClass, start: time.Now()}
}

func (m *measurement) report(err error) {
	if m.a.server.Events.Message == nil {
		return
	}
	if m.err != nil {
		err = m.err
	}
	m.a.server.Events.Message(m.a, Message{Operation: m.command.String(), SOPClassUID: m.class,
		Status: m.status, Duration: time.Since(m.start), Bytes: m.bytes, Err: err})
}
