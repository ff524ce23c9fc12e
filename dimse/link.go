package dimse

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"lumen/dimse/pdu"
)

// How an association can end other than by an orderly release. All are
// wrapped.
var (
	// ErrClosed says that the peer closed the connection without releasing the
	// association, or that the network did.
	ErrClosed = errors.New("connection lost")
	// ErrTimeout says that the peer kept us waiting for longer than [Limits]
	// allow.
	ErrTimeout = errors.New("peer is too slow")
	// ErrProtocol says that the peer broke the protocol and was aborted.
	ErrProtocol = errors.New("peer broke the protocol")
	// ErrReleased says that the peer released the association.
	ErrReleased = errors.New("association released")
	// errInterrupted ends a wait for the next message that we stopped ourselves.
	errInterrupted = errors.New("interrupted")
)

// AbortError says that the peer aborted the association.
type AbortError struct{ pdu.Abort }

func (e *AbortError) Error() string {
	if e.Source == pdu.AbortProvider {
		return fmt.Sprintf("aborted by the peer's provider, reason %d", e.Reason)
	}
	return "aborted by the peer"
}

// readBuffer is what one association reads into. It is the only memory that
// an incoming object needs here.
const readBuffer = 128 << 10

// buffers keeps read buffers between associations. They go back when nothing
// can refer to them any more: a handler's stream has ended by then.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// link is one connection with its state machine: PDUs in, PDUs out. One
// goroutine reads at a time; writes are serialised by a lock.
type link struct {
	conn    net.Conn
	rearm   func() // asks for an acknowledgement at once; nil where that cannot be done
	lim     Limits
	machine machine

	in       *bufio.Reader
	between  bool        // waiting for the next message: a timeout is for the caller
	stop     atomic.Bool // the wait for the next message is to end
	deadline time.Time   // end of the current progress window
	moved    int         // bytes in this window
	left     time.Time   // since when we do not read

	pduLeft uint32  // of the current P-DATA-TF
	pdvLeft uint32  // of the current fragment
	pdv     pdu.PDV // the current fragment
	cmd     []byte  // the command set being read

	wmu     sync.Mutex // held for a message
	out     []byte     // the write being put together
	pieces  bool       // it goes out in pieces: a TLS connection does not survive a write that runs out of time
	maxSend int        // longest P-DATA-TF body that the peer takes

	cmu  sync.Mutex // held for a write; taken after wmu
	gone bool       // a write failed or an abort was sent: nothing more can be sent
}

func newLink(conn net.Conn, lim Limits, acceptor bool) *link {
	l := &link{conn: conn, lim: lim, machine: machine{state: staIdle, acceptor: acceptor}, maxSend: 16 << 10}
	l.rearm = tuneConn(conn)
	_, l.pieces = conn.(*tls.Conn)
	l.in = buffers.Get().(*bufio.Reader)
	l.in.Reset(source{l})
	return l
}

// close closes the connection and gives the buffer back.
func (l *link) close() {
	l.conn.Close()
	l.in.Reset(nil)
	buffers.Put(l.in)
	l.in = nil
}

// awayTime is how long we have not read when that is no delay of the peer's.
const awayTime = time.Second

// source is where the read buffer is filled from. Inside a message it looks
// after progress.
type source struct{ *link }

func (l source) Read(p []byte) (int, error) {
	if away := time.Since(l.left); away >= awayTime && !l.between && !l.deadline.IsZero() {
		l.deadline = l.deadline.Add(away)
		l.conn.SetReadDeadline(l.deadline)
	}
	defer func() { l.left = time.Now() }()
	for {
		n, err := l.conn.Read(p)
		if n > 0 {
			if l.rearm != nil {
				l.rearm()
			}
			if !l.between {
				if l.moved += n; l.moved >= l.lim.StallBytes {
					l.window()
				}
			}
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || l.between {
			return 0, err
		}
		if !time.Now().Before(l.deadline) {
			return 0, fmt.Errorf("no progress inside a message: %w", ErrTimeout)
		}
		l.conn.SetReadDeadline(l.deadline) // interrupt made it time out early
	}
}

// window opens a progress window: the peer has Stall for the next StallBytes.
func (l *link) window() { l.within(l.lim.Stall) }

func (l *link) within(d time.Duration) {
	l.moved = 0
	l.left = time.Now()
	l.deadline = l.left.Add(d)
	l.conn.SetReadDeadline(l.deadline)
}

// await waits for the first byte of the next message, for at most d, and opens
// a progress window. It fails with errInterrupted after interrupt.
func (l *link) await(d time.Duration) error {
	until := time.Now().Add(d)
	for l.in.Buffered() == 0 {
		l.between = true
		l.conn.SetReadDeadline(until)
		var err error
		if !l.stop.Load() {
			_, err = l.in.Peek(1)
		}
		l.between = false
		if l.in.Buffered() == 0 && l.stop.Load() {
			return errInterrupted
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Now().Before(until) {
				continue // by an interrupt that was seen before
			}
			return fmt.Errorf("no message within %v: %w", d, ErrTimeout)
		}
		if err != nil {
			return l.lost(err)
		}
	}
	l.window()
	return nil
}

// interrupt ends an await that is under way or comes next. A message that has
// begun is read to its end first.
func (l *link) interrupt() {
	l.stop.Store(true)
	l.conn.SetReadDeadline(time.Now())
}

// lost records that reading failed, and says why.
func (l *link) lost(err error) error {
	if errors.Is(err, ErrTimeout) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.machine.on(evTimer)
		return fmt.Errorf("ARTIM expired: %w", ErrTimeout)
	}
	l.machine.on(evClosed)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// eventOf maps a PDU type to its event.
var eventOf = [...]event{
	pdu.TypeAssociateRQ: evAssociateRQ,
	pdu.TypeAssociateAC: evAssociateAC,
	pdu.TypeAssociateRJ: evAssociateRJ,
	pdu.TypeData:        evData,
	pdu.TypeReleaseRQ:   evReleaseRQ,
	pdu.TypeReleaseRP:   evReleaseRP,
	pdu.TypeAbort:       evAbort,
}

// receive reads the header of the next PDU and runs it through the state
// machine. It returns the action for PDUs that the caller has to deal with:
// dt2 and ar6 (data, its header read), ae3, ae4, ae6 (association PDUs, with
// their body), ar3 (released). All else is an error, and then any abort that
// the standard asks for has been sent.
func (l *link) receive() (action, []byte, error) {
	b, err := l.in.Peek(pdu.HeaderSize)
	if err != nil {
		return none, nil, l.lost(err)
	}
	h := pdu.ParseHeader(b)
	l.in.Discard(pdu.HeaderSize)
	ev, reason := l.classify(h)
	var body []byte
	if ev != evData && ev != evInvalid && !l.machine.is(staAwaitClose) {
		if body, err = l.body(int(h.Length)); err != nil {
			return none, nil, err
		}
	}
	act := l.machine.on(ev)
	switch act {
	case dt2, ar6:
		l.pduLeft = h.Length
		return act, nil, nil
	case ae3, ae4, ae6, ar3:
		return act, body, nil
	case ar2, ar8, ar10:
		return act, nil, ErrReleased
	case aa2, aa3:
		abort, _ := pdu.ParseAbort(body)
		return act, nil, &AbortError{abort}
	case aa6, aa7:
		if act == aa7 {
			l.sendAbort(pdu.Abort{Source: pdu.AbortProvider, Reason: reason})
		}
		return act, nil, l.skip(h.Length)
	}
	if act == aa1 { // of the user, though nobody asked for an association yet: PS3.8 table 9-9
		l.sendAbort(pdu.Abort{Source: pdu.AbortUser})
	} else { // aa8
		l.sendAbort(pdu.Abort{Source: pdu.AbortProvider, Reason: reason})
	}
	if ev == evInvalid {
		return act, nil, fmt.Errorf("%w: invalid %v", ErrProtocol, h.Type)
	}
	return act, nil, fmt.Errorf("%w: unexpected %v", ErrProtocol, h.Type)
}

// classify finds the event of a PDU from its header, and the reason for an
// abort if that is what follows.
func (l *link) classify(h pdu.Header) (event, pdu.AbortReason) {
	switch h.Type {
	case pdu.TypeAssociateRQ, pdu.TypeAssociateAC:
		if h.Length > uint32(l.lim.AssociatePDU) {
			return evInvalid, pdu.AbortInvalidItem
		}
	case pdu.TypeData:
		if h.Length > uint32(l.lim.AcceptPDU) || h.Length < pdu.PDVHeaderSize {
			return evInvalid, pdu.AbortInvalidItem
		}
	case pdu.TypeAssociateRJ, pdu.TypeReleaseRQ, pdu.TypeReleaseRP, pdu.TypeAbort:
		if h.Length != 4 {
			return evInvalid, pdu.AbortInvalidItem
		}
	default:
		return evInvalid, pdu.AbortUnrecognizedPDU
	}
	return eventOf[h.Type], pdu.AbortUnexpectedPDU
}

// body reads the n bytes of a control PDU, n being within its limit. Memory
// grows with what arrives, not with what is claimed.
func (l *link) body(n int) ([]byte, error) {
	var b []byte
	for len(b) < n {
		if _, err := l.in.Peek(1); err != nil {
			return nil, l.lost(err)
		}
		part, _ := l.in.Peek(min(n-len(b), l.in.Buffered()))
		b = append(b, part...)
		l.in.Discard(len(part))
	}
	return b, nil
}

func (l *link) skip(n uint32) error {
	if _, err := io.CopyN(io.Discard, l.in, int64(n)); err != nil {
		return l.lost(err)
	}
	return nil
}

// nextPDV reads the header of the next fragment; the one before must have been
// read to its end.
func (l *link) nextPDV() error {
	if l.pduLeft == 0 {
		act, _, err := l.receive()
		if err != nil {
			return err
		}
		if act != dt2 && act != ar6 {
			return ErrReleased
		}
	}
	if l.pduLeft < pdu.PDVHeaderSize {
		return l.violation(pdu.AbortInvalidItem, "a P-DATA-TF PDU ends inside an item header")
	}
	b, err := l.in.Peek(pdu.PDVHeaderSize)
	if err != nil {
		return l.lost(err)
	}
	l.pdv, err = pdu.ParsePDV(b, l.pduLeft)
	if err != nil {
		return l.violation(pdu.AbortInvalidItem, err.Error())
	}
	l.in.Discard(pdu.PDVHeaderSize)
	l.pduLeft -= pdu.PDVHeaderSize + l.pdv.Length
	l.pdvLeft = l.pdv.Length
	return nil
}

// violation aborts the association because of something inside a message.
func (l *link) violation(reason pdu.AbortReason, text string) error {
	l.abort(pdu.Abort{Source: pdu.AbortProvider, Reason: reason})
	return fmt.Errorf("%w: %s", ErrProtocol, text)
}

// linger waits until the peer closes the connection, at most d (PS3.8 state
// 13). The standard wants that of whoever sent the last word, and closing at
// once could destroy it on its way.
func (l *link) linger(d time.Duration) {
	if !l.machine.is(staAwaitClose) {
		return
	}
	l.within(d)
	l.between = true // no further window: ARTIM counts from its start
	for l.machine.is(staAwaitClose) {
		_, _, _ = l.receive() // each PDU is dropped or, when out of place, answered with an abort
	}
}
