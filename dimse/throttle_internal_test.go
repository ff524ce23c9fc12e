package dimse

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lumen/dicom"
	"lumen/dimse/pdu"
)

// street is a listener on which peers call from whatever address they like, in
// the time of a synctest bubble.
type street struct {
	calls  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *street) Accept() (net.Conn, error) {
	select {
	case c := <-s.calls:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}
func (s *street) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *street) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection with an address.
type from struct {
	net.Conn
	addr netip.Addr
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.addr, 1)) }

func (s *street) call(addr string) net.Conn {
	ours, theirs := net.Pipe()
	s.calls <- from{ours, netip.MustParseAddr(addr)}
	return theirs
}

// asks asks for an association, with a C-ECHO on it, and returns the type of the
// answer; 0 when the connection was closed unread.
func (s *street) asks(t *testing.T, addr, title string) pdu.Type {
	t.Helper()
	conn := s.call(addr)
	defer synctest.Wait() // the server has counted it
	defer conn.Close()
	rq := &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: title, Contexts: []pdu.ContextRQ{
		{ID: 1, AbstractSyntax: verification, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}}}}
	if _, err := conn.Write(rq.Append(nil)); err != nil {
		return 0
	}
	kind := readPDU(conn)
	if kind == pdu.TypeAssociateAC {
		c := command{Field: cEchoRQ, MessageID: 1, SOPClass: verification}
		conn.Write(pdu.AppendData(nil, 1, pdu.FlagCommand, c.append(nil), 1000))
		if got := readPDU(conn); got != pdu.TypeData {
			t.Errorf("C-ECHO is answered with %v", got)
		}
		conn.Write(pdu.AppendReleaseRQ(nil))
		readPDU(conn)
	}
	return kind
}

func readPDU(conn net.Conn) pdu.Type {
	var head [pdu.HeaderSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0
	}
	h := pdu.ParseHeader(head[:])
	io.CopyN(io.Discard, conn, int64(h.Length))
	return h.Type
}

// onStreet runs a server that knows TOWER, and rejects STRANGER, and GUESSER at
// the cost of 10.
func onStreet(t *testing.T, visit func(t *testing.T, s *street, refused *atomic.Int32)) {
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Int32
		srv := &Server{Services: []Service{{SOPClasses: []string{verification}, Echo: Echo}},
			Events: Events{Refused: func(netip.AddrPort) { refused.Add(1) }},
			Associate: func(_ context.Context, rq *AssociateRequest) (any, error) {
				r := RejectCallingAE(errors.New("unknown"))
				switch rq.CallingAE {
				case "TOWER":
					return nil, nil
				case "GUESSER":
					r.Cost = 10
				}
				return nil, r
			}}
		s := &street{calls: make(chan net.Conn), closed: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(t.Context(), s) }()
		visit(t, s, &refused)
		if err := errors.Join(srv.Shutdown(t.Context()), <-done); err != nil {
			t.Error(err)
		}
	})
}

// An address whose connections fail is turned away before it says anything, and
// others are not. It is forgiven with time.
func TestFailingAddressIsTurnedAway(t *testing.T) {
	onStreet(t, func(t *testing.T, s *street, refused *atomic.Int32) {
		count := func(addr, title string) (answered int) {
			for range 150 {
				if s.asks(t, addr, title) == pdu.TypeAssociateRJ {
					answered++
				}
			}
			return answered
		}
		if n := count("192.0.2.1", "STRANGER"); n != 100 || refused.Load() != 50 {
			t.Errorf("%d rejections, then %d refused; want 100 and 50", n, refused.Load())
		}
		if got := s.asks(t, "192.0.2.1", "TOWER"); got != 0 {
			t.Errorf("an address that was never any good is answered %v", got)
		}
		if got := s.asks(t, "192.0.2.2", "TOWER"); got != pdu.TypeAssociateAC {
			t.Errorf("another address is answered %v", got)
		}
		time.Sleep(time.Second)
		if n := count("192.0.2.1", "STRANGER"); n != 10 {
			t.Errorf("%d rejections after a second, want 10", n)
		}
		time.Sleep(time.Minute)
		if n := count("192.0.2.1", "GUESSER"); n != 10 {
			t.Errorf("%d guesses, want 10", n)
		}
		if n := count("2001:db8::1", "STRANGER") + count("2001:db8::2", "STRANGER"); n != 100 {
			t.Errorf("%d rejections of one IPv6 network, want 100", n)
		}
		if n := count("127.0.0.1", "STRANGER"); n != 150 {
			t.Errorf("%d rejections on the loopback interface, want all 150", n)
		}
	})
}

// Connections that come to nothing count too; what the server did counts not.
func TestWhatCountsAsFailed(t *testing.T) {
	rq := (&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "TOWER"}).Append(nil)
	for _, c := range []struct {
		name  string
		sends [][]byte
		fails bool
	}{
		{"nothing", nil, true},
		{"half a request", [][]byte{rq[:20]}, true},
		{"something else", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, true},
		{"an abort", [][]byte{rq, pdu.Abort{}.Append(nil)}, true},
		{"only the request", [][]byte{rq}, true},
		{"a release", [][]byte{rq, pdu.AppendReleaseRQ(nil)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street, refused *atomic.Int32) {
				for range 110 {
					conn := s.call("192.0.2.1")
					for _, b := range c.sends {
						go io.Copy(io.Discard, conn)
						conn.Write(b)
					}
					synctest.Wait()
					conn.Close()
					synctest.Wait()
				}
				if got := refused.Load() == 10; got != c.fails || !c.fails && refused.Load() != 0 {
					t.Errorf("%d refused", refused.Load())
				}
			})
		})
	}
}

// A tower whose address is shared with a bad peer goes on working, also while
// that one calls a thousand times a second, or holds its connections open.
func TestTowerBehindASharedAddress(t *testing.T) {
	const shared = "192.0.2.1"
	onStreet(t, func(t *testing.T, s *street, refused *atomic.Int32) {
		if got := s.asks(t, shared, "TOWER"); got != pdu.TypeAssociateAC {
			t.Fatal(got)
		}
		for second := range 5 {
			for range 1000 {
				s.asks(t, shared, "STRANGER")
				time.Sleep(time.Millisecond)
			}
			if got := s.asks(t, shared, "TOWER"); got != pdu.TypeAssociateAC {
				t.Errorf("after %d seconds the tower is answered %v", second+1, got)
			}
		}
		var silent []net.Conn
		for range 200 {
			silent = append(silent, s.call(shared))
		}
		synctest.Wait()
		if refused.Load() < 190 {
			t.Errorf("%d of 200 silent connections refused", refused.Load())
		}
		if got := s.asks(t, shared, "TOWER"); got != 0 {
			t.Errorf("while all places are taken the tower is answered %v", got)
		}
		time.Sleep(laneTime)
		synctest.Wait()
		if got := s.asks(t, shared, "TOWER"); got != pdu.TypeAssociateAC {
			t.Errorf("a moment later the tower is answered %v", got)
		}
		for _, c := range silent {
			c.Close()
		}
	})
}

// What is remembered of addresses is bounded, and what is in use stays.
func TestThrottleIsBounded(t *testing.T) {
	var th throttle
	used := netip.MustParseAddr("198.51.100.1")
	th.admit(used, 100)
	for i := range 3 * maxRecords {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		th.admit(addr, 100)
		th.settle(addr, 100, false, 50)
	}
	if len(th.peers) > maxRecords || th.peers[network(used)] == nil || th.peers[network(used)].open != 1 {
		t.Errorf("%d records, of the one in use %+v", len(th.peers), th.peers[network(used)])
	}
	crowd := netip.MustParseAddr("198.51.100.2")
	for range 2 * 100 {
		th.admit(crowd, 100)
	}
	if open := th.peers[network(crowd)].open; open != 100 {
		t.Errorf("%d connections at once, want 100", open)
	}
	th = throttle{}
	th.admit(used, 100)
	th.settle(used, 100, false, 0)
	if len(th.peers) != 0 {
		t.Error("what says nothing is kept")
	}
}
