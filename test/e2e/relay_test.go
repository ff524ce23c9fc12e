package e2e_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between a program that calls and one that is called. It passes
// on what they say PDU by PDU, notes how long their P-DATA-TF PDUs are, and does
// to them what a bad network or an odd peer would. The zero value but for to
// changes nothing.
type relay struct {
	to       string // HOST:PORT of who is called
	unlimit  bool   // makes both say in A-ASSOCIATE that their maximum length is 0: no limit
	cutAfter int64  // so many P-DATA-TF PDUs of the caller pass; then comes half of one, and both connections end
	hold     bool   // instead of cutting, say so on held, and cut when the caller has gone
	held     chan struct{}

	port           string
	caller, called atomic.Int64 // the longest P-DATA-TF PDU from each, its header apart
	saidMax        atomic.Int64 // the maximum length that the caller said
	answeredMax    atomic.Int64 // and the one that the called said
	passed         atomic.Int64 // P-DATA-TF PDUs of the caller
	listener       net.Listener
	mu             sync.Mutex
	conns          []net.Conn
	running        sync.WaitGroup
}

// errCut ends a direction on purpose.
var errCut = errors.New("cut in the middle of a PDU")

// start listens until the test ends.
func (r *relay) start(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.listener = l
	r.held = make(chan struct{}, 1)
	_, r.port, _ = net.SplitHostPort(l.Addr().String())
	r.running.Go(func() {
		for {
			caller, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.serve(caller) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.running.Wait()
	})
	return r
}

func (r *relay) addr() string { return "127.0.0.1:" + r.port }

func (r *relay) serve(caller net.Conn) {
	defer caller.Close()
	called, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer called.Close()
	r.mu.Lock()
	r.conns = append(r.conns, caller, called)
	r.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() {
		r.pass(caller, called, false)
		caller.Close()
	})
	if r.pass(called, caller, true) == errCut {
		caller.Close()
	}
	called.Close()
	back.Wait()
}

// pass copies PDUs until one side ends.
func (r *relay) pass(to, from net.Conn, fromCaller bool) error {
	for {
		var head [6]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return err
		}
		length := int64(binary.BigEndian.Uint32(head[2:]))
		switch head[0] {
		case 1, 2: // A-ASSOCIATE-RQ, -AC
			body := make([]byte, min(length, 1<<20))
			if _, err := io.ReadFull(from, body); err != nil {
				return err
			}
			r.associate(body, head[0] == 1)
			if _, err := to.Write(append(head[:], body...)); err != nil {
				return err
			}
			continue
		case 4: // P-DATA-TF
			longest := &r.called
			if fromCaller {
				longest = &r.caller
				if n := r.passed.Add(1); r.cutAfter > 0 && n > r.cutAfter {
					return r.cut(to, from, head, length)
				}
			}
			longest.Store(max(longest.Load(), length))
		}
		if _, err := to.Write(head[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, length); err != nil {
			return err
		}
	}
}

// cut passes half a PDU on. What it holds, it holds until the caller has gone.
func (r *relay) cut(to, from net.Conn, head [6]byte, length int64) error {
	if _, err := to.Write(head[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(to, from, length/2); err != nil {
		return err
	}
	if r.hold {
		r.held <- struct{}{}
		_, _ = io.Copy(io.Discard, from)
	}
	return errCut
}

// associate notes the maximum length (PS3.8 annex D.1) that an A-ASSOCIATE says,
// and takes it away where that is wanted.
func (r *relay) associate(body []byte, request bool) {
	said := &r.answeredMax
	if request {
		said = &r.saidMax
	}
	if len(body) < 68 {
		return
	}
	for rest := body[68:]; len(rest) >= 4; {
		n := min(4+int(binary.BigEndian.Uint16(rest[2:])), len(rest))
		for sub := rest[4:n]; rest[0] == 0x50 && len(sub) >= 8; {
			if sub[0] == 0x51 {
				said.Store(int64(binary.BigEndian.Uint32(sub[4:])))
				if r.unlimit {
					clear(sub[4:8])
				}
			}
			sub = sub[min(4+int(binary.BigEndian.Uint16(sub[2:])), len(sub)):]
		}
		rest = rest[n:]
	}
}
