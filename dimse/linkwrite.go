package dimse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"lumen/dimse/pdu"
)

// sendBuffer is how much of a message is put together before it is written.
// Small objects leave in one write with their command.
const sendBuffer = 256 << 10

// maxFragment is the longest fragment that we send to a peer that takes any.
const maxFragment = 128<<10 - pdu.PDVHeaderSize

// sourceBuffer is how much of an object is read at once for a peer that takes
// shorter fragments than this.
const sourceBuffer = 4 << 10

// fragment is how long a fragment to the peer may be. It is even: PS3.8 annex
// E wants fragments of even length.
func (l *link) fragment() int {
	if l.maxSend == 0 {
		return maxFragment
	}
	return max(2, min(l.maxSend-pdu.PDVHeaderSize, maxFragment)&^1)
}

// flush writes what was put together in out. The caller holds wmu.
func (l *link) flush() error {
	b := l.out
	l.out = l.out[:0]
	return l.write(b)
}

// write writes whole PDUs.
func (l *link) write(b []byte) error {
	l.cmu.Lock()
	defer l.cmu.Unlock()
	if l.gone {
		return ErrClosed
	}
	for len(b) > 0 {
		piece := b
		if l.pieces { // each has its own time
			piece = b[:min(len(b), l.lim.StallBytes)]
		}
		l.conn.SetWriteDeadline(time.Now().Add(l.lim.Stall))
		n, err := l.conn.Write(piece)
		b = b[n:]
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n >= l.lim.StallBytes {
				continue // slow, but it moves
			}
			err = fmt.Errorf("no progress in sending: %w", ErrTimeout)
		} else {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		l.gone = true
		return err
	}
	return nil
}

// send writes one message without or with a small data set, in one write.
func (l *link) send(contextID byte, c *command, data []byte) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.machine.on(evDataRequest) == none {
		return ErrClosed
	}
	c.HasData = data != nil
	l.cmdOut(contextID, c)
	if data != nil {
		l.out = pdu.AppendData(l.out, contextID, 0, data, l.fragment())
	}
	return l.flush()
}

// cmdOut puts a command set into out.
func (l *link) cmdOut(contextID byte, c *command) {
	max := l.fragment()
	start := len(l.out)
	l.out = pdu.AppendDataHeader(l.out, pdu.PDV{ContextID: contextID, Flags: pdu.FlagCommand | pdu.FlagLast})
	l.out = c.append(l.out)
	n := len(l.out) - start - pdu.DataHeaderSize
	if n <= max {
		pdu.PutDataLength(l.out[start:], uint32(n))
		return
	}
	whole := append([]byte(nil), l.out[start+pdu.DataHeaderSize:]...)
	l.out = pdu.AppendData(l.out[:start], contextID, pdu.FlagCommand, whole, max)
}

// SourceError says that an object could not be read to its end while it was
// being sent: the connection is not to blame. When part of it was on its way
// already, the association had to be aborted.
type SourceError struct {
	Err     error
	Aborted bool
}

func (e *SourceError) Error() string { return "read the object to send: " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// sendStream writes a message whose data set comes from r, in writes of up to
// sendBuffer bytes, and returns how many bytes r gave. A data set of odd length
// gets a byte of zero at its end: a deflate stream is to be padded so (PS3.5
// section A.5), others are malformed, and peers, DCMTK 3.6.7 among them, abort at
// a fragment of odd length (PS3.8 annex E).
func (l *link) sendStream(contextID byte, c *command, r io.Reader) (int64, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.machine.on(evDataRequest) == none {
		return 0, ErrClosed
	}
	if cap(l.out) < sendBuffer {
		l.out = make([]byte, 0, sendBuffer)
	}
	c.HasData = true
	l.cmdOut(contextID, c)
	var sent int64
	limit := l.fragment()
	if limit < sourceBuffer { // or each fragment of a few bytes would cost two calls of r
		r = bufio.NewReaderSize(r, sourceBuffer)
	}
	begun := false    // part of the message is on its way
	var ahead [1]byte // the byte after a full fragment tells whether it is the last
	pending := 0
	for {
		if cap(l.out)-len(l.out) < pdu.DataHeaderSize+min(limit, 16<<10) {
			if err := l.flush(); err != nil {
				return sent, err
			}
			begun = true
		}
		head := len(l.out)
		l.out = pdu.AppendDataHeader(l.out, pdu.PDV{ContextID: contextID})
		l.out = append(l.out, ahead[:pending]...)
		room := min(limit-pending, (cap(l.out)-len(l.out))&^1-pending)
		n, err := io.ReadFull(r, l.out[len(l.out):len(l.out)+room])
		l.out = l.out[:len(l.out)+n]
		sent += int64(n)
		size := uint32(n + pending)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err == nil {
			pending, err = io.ReadFull(r, ahead[:])
			sent += int64(pending)
			last = err == io.EOF
		}
		if err != nil && !last {
			l.out = l.out[:0]
			if begun { // no way to take it back but to give up the association
				l.sendAbort(pdu.Abort{Source: pdu.AbortUser})
			}
			return sent, &SourceError{Err: err, Aborted: begun}
		}
		if last && size%2 == 1 {
			l.out = append(l.out, 0)
			size++
		}
		pdu.PutDataLength(l.out[head:], size)
		if last {
			l.out[head+pdu.DataHeaderSize-1] = pdu.FlagLast
			return sent, l.flush()
		}
	}
}

// do takes an event that we cause and writes the PDU that goes with it; nil when
// there is none. It fails when the event cannot happen in the state.
func (l *link) do(e event, b []byte) error {
	if l.machine.on(e) == none {
		return ErrClosed
	}
	if b == nil {
		return nil
	}
	return l.sendPDU(b)
}

// sendPDU writes a PDU that is no data.
func (l *link) sendPDU(b []byte) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	return l.write(b)
}

// sendAbort writes an A-ABORT; nothing can be sent after it. It may come in the
// middle of a message, whose source may be slow, but not of a PDU.
func (l *link) sendAbort(a pdu.Abort) {
	l.cmu.Lock()
	defer l.cmu.Unlock()
	l.lastWord(a)
}

// lastWord writes an A-ABORT. That it may not arrive is no concern: the
// connection is closed in any case. The caller holds cmu.
func (l *link) lastWord(a pdu.Abort) {
	if l.gone {
		return
	}
	l.gone = true
	l.conn.SetWriteDeadline(time.Now().Add(lastWordTime))
	_, _ = l.conn.Write(a.Append(nil))
}

// lastWordTime is how long an A-ABORT may take to leave.
const lastWordTime = time.Second

// abort ends the association from our side (PS3.8 actions AA-1 and AA-2).
func (l *link) abort(a pdu.Abort) {
	if l.machine.on(evAbortRequest) == aa1 {
		l.sendAbort(a)
	}
}
