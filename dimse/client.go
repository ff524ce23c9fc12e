package dimse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"lumen/dicom"
	"lumen/dimse/pdu"
)

// Dialer asks for associations. The zero value works; its calling AE title is
// empty, which most peers refuse.
type Dialer struct {
	CallingAE string
	Timeout   time.Duration // to connect and to have the association accepted; 0 means 30 s
	Limits    Limits        // what a peer may make us hold; Response and Stall are its deadlines
	TLS       *tls.Config   // nil: plaintext
	Identity  *pdu.UserIdentity
}

// PresentationContext is a SOP class with the transfer syntaxes it may have.
type PresentationContext struct {
	SOPClass         string
	TransferSyntaxes []string
	Role             Role
	Extended         []byte // SOP class extended negotiation, once per class; nil for none
}

// Role is who is SCP in a presentation context that we propose.
type Role uint8

// The roles.
const (
	RoleSCU  Role = iota // we ask, the peer serves: the default
	RoleSCP              // the peer sends to us: what C-GET needs for storage classes
	RoleBoth             // both
)

// MaxContexts is how many presentation contexts one association can have.
const MaxContexts = pdu.MaxContexts

const dialTimeout = 30 * time.Second

// RejectedError says that the peer refused an association.
type RejectedError struct{ pdu.AssociateRJ }

func (e *RejectedError) Error() string {
	return fmt.Sprintf("association rejected by the peer: result %d, source %d, reason %d", e.Result, e.Source, e.Reason)
}

// Client is one association that we asked for. Its operations run one after
// the other; it is not safe for concurrent use, but for Abort. When the ctx of
// an operation ends, the association is aborted: no later operation works.
type Client struct {
	link      *link
	accepted  []Context
	extended  map[string][]byte
	messageID uint16
	closed    bool
}

// Dial connects to addr (HOST:PORT) and asks for an association with calledAE.
// That no context was accepted is no error here; a refusal is a
// *[RejectedError].
func (d *Dialer) Dial(ctx context.Context, addr, calledAE string, contexts []PresentationContext) (*Client, error) {
	timeout := d.Timeout
	or(&timeout, dialTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := d.connect(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &Client{link: newLink(conn, d.Limits.orDefaults(), false)}
	err = c.operation(ctx, func() error { return c.associate(d, calledAE, contexts) })
	if err != nil {
		c.finish()
		return nil, err
	}
	return c, nil
}

func (d *Dialer) connect(ctx context.Context, addr string) (net.Conn, error) {
	if d.TLS != nil {
		return (&tls.Dialer{Config: d.TLS}).DialContext(ctx, "tcp", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// associate proposes the contexts and reads the answer.
func (c *Client) associate(d *Dialer, calledAE string, contexts []PresentationContext) error {
	l := c.link
	rq, err := d.request(calledAE, contexts)
	if err != nil {
		return err
	}
	if err := l.do(evAssociateRequest, nil); err != nil {
		return err
	}
	if err := l.do(evConnected, rq.Append(nil)); err != nil {
		return err
	}
	l.window()
	act, body, err := l.receive()
	if err != nil {
		return err
	}
	if act == ae4 {
		rj, err := pdu.ParseAssociateRJ(body)
		return errors.Join(&RejectedError{rj}, err)
	}
	if act != ae3 {
		return ErrProtocol
	}
	ac, err := pdu.ParseAssociateAC(body)
	if err != nil {
		return l.violation(invalidPDV, err.Error())
	}
	if n := ac.User.MaximumLength; n != 0 && n < smallestPDU {
		return l.violation(invalidPDV, "the peer's maximum PDU length has no room for data")
	} else if n <= 1<<30 {
		l.maxSend = int(n)
	} else {
		l.maxSend = 0
	}
	c.take(rq, ac)
	return nil
}

// request makes the A-ASSOCIATE-RQ.
func (d *Dialer) request(calledAE string, contexts []PresentationContext) (*pdu.AssociateRQ, error) {
	if len(contexts) == 0 || len(contexts) > MaxContexts {
		return nil, fmt.Errorf("%d presentation contexts: 1 to %d are possible", len(contexts), MaxContexts)
	}
	rq := &pdu.AssociateRQ{CalledAE: calledAE, CallingAE: d.CallingAE}
	rq.User = pdu.UserInformation{MaximumLength: uint32(d.Limits.orDefaults().DataPDU),
		ImplementationClassUID:    dicom.ImplementationClassUID,
		ImplementationVersionName: dicom.ImplementationVersionName, Identity: d.Identity}
	once := make(map[string]bool)
	for i, pc := range contexts {
		rq.Contexts = append(rq.Contexts, pdu.ContextRQ{ID: byte(2*i + 1), AbstractSyntax: pc.SOPClass,
			TransferSyntaxes: pc.TransferSyntaxes})
		if once[pc.SOPClass] {
			continue
		}
		once[pc.SOPClass] = true
		if pc.Role != RoleSCU {
			rq.User.Roles = append(rq.User.Roles, pdu.Role{SOPClass: pc.SOPClass, SCU: pc.Role == RoleBoth, SCP: true})
		}
		if pc.Extended != nil {
			rq.User.Extended = append(rq.User.Extended, pdu.Extended{SOPClass: pc.SOPClass, Info: pc.Extended})
		}
	}
	return rq, nil
}

// take keeps what the peer accepted of what we proposed.
func (c *Client) take(rq *pdu.AssociateRQ, ac *pdu.AssociateAC) {
	roles := make(map[string]bool)
	for _, r := range ac.User.Roles {
		roles[r.SOPClass] = r.SCP
	}
	for _, answer := range ac.Contexts {
		i := int(answer.ID >> 1)
		if answer.Result != pdu.ContextAccepted || answer.ID&1 == 0 || i >= len(rq.Contexts) {
			continue
		}
		ts, ok := dicom.LookupTransferSyntax(answer.TransferSyntax)
		if !ok { // one that is in no table: private ones can be sent as they are
			ts = dicom.TransferSyntax{UID: answer.TransferSyntax}
		}
		c.accepted = append(c.accepted, Context{ID: answer.ID, SOPClass: rq.Contexts[i].AbstractSyntax,
			TransferSyntax: ts, PeerIsSCP: !roles[rq.Contexts[i].AbstractSyntax]})
	}
	c.extended = make(map[string][]byte)
	for _, x := range ac.User.Extended {
		c.extended[x.SOPClass] = x.Info
	}
}

// Accepted lists the accepted contexts of a SOP class.
func (c *Client) Accepted(sopClass string) []Context {
	var list []Context
	for _, pc := range c.accepted {
		if pc.SOPClass == sopClass {
			list = append(list, pc)
		}
	}
	return list
}

// Extended returns the peer's answer to the extended negotiation of a SOP
// class; nil when it gave none.
func (c *Client) Extended(sopClass string) []byte { return c.extended[sopClass] }

// context finds the accepted context for a class; with a transfer syntax, the
// one that has it.
func (c *Client) context(sopClass, transferSyntax string) (*Context, error) {
	for i := range c.accepted {
		pc := &c.accepted[i]
		if pc.SOPClass == sopClass && (transferSyntax == "" || pc.TransferSyntax.UID == transferSyntax) {
			return pc, nil
		}
	}
	return nil, ErrNoContext
}

// operation runs f; when ctx ends meanwhile, the association is aborted, and the
// error is the cause of that.
func (c *Client) operation(ctx context.Context, f func() error) error {
	if c.closed {
		return ErrClosed
	}
	stop := context.AfterFunc(ctx, c.Abort)
	err := f()
	if !stop() && err != nil {
		return context.Cause(ctx)
	}
	return err
}

// Echo performs C-ECHO.
func (c *Client) Echo(ctx context.Context) (Status, error) {
	var reply command
	err := c.operation(ctx, func() error {
		pc, err := c.context(verification, "")
		if err != nil {
			return err
		}
		rq := command{Field: cEchoRQ, MessageID: c.nextID(), SOPClass: verification}
		if err := c.link.send(pc.ID, &rq, nil); err != nil {
			return err
		}
		return c.response(&rq, &reply, c.link.lim.Response)
	})
	return reply.Status, err
}

// verification is the SOP class of C-ECHO (PS3.4 annex A).
const verification = "1.2.840.10008.1.1"

// Store performs C-STORE with the data set that data gives, which must be in
// rq.TransferSyntax. An error is the end of the association, but for
// [ErrNoContext] and a *[SourceError] that is not Aborted.
func (c *Client) Store(ctx context.Context, rq StoreRequest, data io.Reader) (Status, error) {
	var reply command
	err := c.operation(ctx, func() error {
		pc, err := c.context(rq.SOPClassUID, rq.TransferSyntax.UID)
		if err != nil {
			return err
		}
		cmd := command{Field: cStoreRQ, MessageID: c.nextID(), SOPClass: rq.SOPClassUID, SOPInstance: rq.SOPInstanceUID,
			Priority: rq.Priority, OriginAE: rq.MoveOriginator.AE, OriginID: rq.MoveOriginator.MessageID}
		if _, err := c.link.sendStream(pc.ID, &cmd, data); err != nil {
			return err
		}
		return c.response(&cmd, &reply, c.link.lim.Response)
	})
	return reply.Status, err
}

// response reads the response to rq, which must not have a data set.
func (c *Client) response(rq, reply *command, timeout time.Duration) error {
	if _, err := c.reply(rq, reply, timeout); err != nil {
		return err
	}
	if reply.HasData {
		return c.link.violation(unexpectedPDV, "a response with a data set")
	}
	return nil
}

// reply reads the next response to rq; a data set that it announces follows.
func (c *Client) reply(rq, reply *command, timeout time.Duration) (byte, error) {
	l := c.link
	if err := l.await(timeout); err != nil {
		return 0, err
	}
	id, err := l.command(reply)
	if err != nil {
		return 0, err
	}
	if reply.Field != rq.Field|response || reply.RespondedTo != rq.MessageID {
		return 0, l.violation(unexpectedPDV, "a response to another message")
	}
	return id, nil
}

func (c *Client) nextID() uint16 {
	c.messageID++
	return c.messageID
}

// Release ends the association in order and closes the connection. The error
// says that the peer did not answer in order; the association is over anyway.
func (c *Client) Release(ctx context.Context) error {
	if c.closed {
		return nil
	}
	defer c.finish()
	return c.operation(ctx, func() error {
		l := c.link
		if err := l.do(evReleaseRequest, pdu.AppendReleaseRQ(nil)); err != nil {
			return err
		}
		l.within(l.lim.ARTIM)
		for {
			act, _, err := l.receive()
			switch {
			case act == ar3:
				return nil
			case act == ar8: // both released at once; we asked for the association, so we answer first
				err = l.do(evReleaseResponse, pdu.AppendReleaseRP(nil))
			case act == ar6: // data that crossed our release
				err = l.skip(l.pduLeft)
			}
			if err != nil {
				return err
			}
		}
	})
}

// Abort ends the association at once. It may be called while an operation
// runs, which then fails: Store does when its source lets it.
func (c *Client) Abort() {
	l := c.link
	if l.cmu.TryLock() { // else a PDU is being written, and the peer is told by its end
		l.lastWord(pdu.Abort{Source: pdu.AbortUser})
		l.cmu.Unlock()
	}
	l.conn.Close()
}

// finish closes the connection, after what is left to be done for order.
func (c *Client) finish() {
	if !c.closed {
		c.closed = true
		c.link.close()
	}
}
