package dimse_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
	"lumen/internal/peertest"
)

func TestHostileBytesBeforeAnAssociation(t *testing.T) {
	addr := serve(t, new(archive).server())
	short := dimse.Limits{ARTIM: 200 * time.Millisecond}
	impatient := serve(t, &dimse.Server{Limits: short})
	for _, c := range []struct {
		name   string
		addr   string
		send   []byte
		source pdu.AbortSource
		cut    bool // without a word
	}{
		{"request of 4 GiB", addr, []byte{1, 0, 0xff, 0xff, 0xff, 0xff}, pdu.AbortUser, false},
		{"request past the limit", addr, []byte{1, 0, 0, 4, 0, 1}, pdu.AbortUser, false},
		{"data first", addr, echo, pdu.AbortUser, false},
		{"unknown PDU", addr, []byte("GET / HTTP/1.1\r\n\r\n"), pdu.AbortUser, false},
		{"request without content", addr, []byte{1, 0, 0, 0, 0, 0}, pdu.AbortProvider, false},
		{"nothing", impatient, nil, 0, true},
		{"half a request", impatient, []byte{1, 0, 0, 0, 4, 0, 0, 1}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, c.addr)
			r.write(c.send)
			if c.cut {
				if kind, _ := r.read(); kind != 0 {
					t.Errorf("got %v", kind)
				}
				return
			}
			reason := pdu.AbortNotSpecified
			if c.source == pdu.AbortProvider {
				reason = pdu.AbortInvalidItem
			}
			r.aborted(c.source, reason)
		})
	}
}

func TestHostileMessages(t *testing.T) {
	addr := serve(t, new(archive).server())
	store := commandSet(0x01, ctClass, true)
	for _, c := range []struct {
		name   string
		send   []byte
		reason pdu.AbortReason
	}{
		{"data of 4 GiB", []byte{4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb, 1, 3}, pdu.AbortInvalidItem},
		{"data one past what is accepted", []byte{4, 0, 0, 0x10, 0, 1, 0, 0x0f, 0xff, 0xfd, 1, 3}, pdu.AbortInvalidItem},
		{"data without an item", []byte{4, 0, 0, 0, 0, 0}, pdu.AbortInvalidItem},
		{"item of length 0", []byte{4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 1, 3}, pdu.AbortInvalidItem},
		{"item of length 1", []byte{4, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 3}, pdu.AbortInvalidItem},
		{"item past its PDU", []byte{4, 0, 0, 0, 0, 6, 0, 0, 0, 3, 1, 3}, pdu.AbortInvalidItem},
		{"PDU that ends in an item header", []byte{4, 0, 0, 0, 0, 9, 0, 0, 0, 2, 1, 1, 0, 0, 0}, pdu.AbortInvalidItem},
		{"unknown context", command(77, store), pdu.AbortInvalidItem},
		{"even context", command(2, store), pdu.AbortInvalidItem},
		{"context 255", command(255, store), pdu.AbortInvalidItem},
		{"data set first", data(1, store), pdu.AbortUnexpectedPDU},
		{"command inside a data set", append(command(3, store), command(3, store)...), pdu.AbortUnexpectedPDU},
		{"data set in another context", append(command(3, store), data(1, store)...), pdu.AbortUnexpectedPDU},
		{"empty command", command(1, nil), pdu.AbortInvalidItem},
		{"command of another group", command(1, []byte{8, 0, 0, 0, 0, 0, 0, 0}), pdu.AbortInvalidItem},
		{"command cut short", command(1, store[:len(store)-1]), pdu.AbortInvalidItem},
		{"element of 4 GiB in a command", command(1, []byte{0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff}), pdu.AbortInvalidItem},
		{"command past its limit", command(1, append(commandSet(0x30, dict.UIDVerification, false), make([]byte, 16<<10)...)), pdu.AbortInvalidItem},
		{"response that nobody asked for", command(1, commandSet(0x8030, dict.UIDVerification, false)), pdu.AbortUnexpectedPDU},
		{"second association request", (&pdu.AssociateRQ{CalledAE: "A", CallingAE: "B"}).Append(nil), pdu.AbortUnexpectedPDU},
		{"release response", pdu.AppendReleaseRP(nil), pdu.AbortUnexpectedPDU},
		{"unknown PDU", []byte{0x99, 0, 0, 0, 0, 0}, pdu.AbortUnrecognizedPDU},
		{"release of the wrong length", []byte{5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, pdu.AbortInvalidItem},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, addr)
			r.associate()
			r.write(c.send)
			r.aborted(pdu.AbortProvider, c.reason)
		})
	}
	run := connect(t, addr)
	run.associate()
	run.write(echo)
	if got := run.status(); got != dimse.StatusSuccess {
		t.Errorf("echo after all that: %v", got)
	}
}

// What is odd but clear is served.
func TestOddMessagesAreServed(t *testing.T) {
	var ar archive
	addr := serve(t, ar.server())
	set := commandSet(0x30, dict.UIDVerification, false)
	limit := append(bytes.Clone(set), element(0x5010, make([]byte, 16<<10-len(set)-8)...)...)
	store := commandSet(0x01, ctClass, true, element(0x1000, '1', '.', '2', 0))
	var tiny []byte
	for _, b := range store {
		tiny = pdu.AppendDataHeader(tiny, pdu.PDV{ContextID: 3, Flags: pdu.FlagCommand, Length: 1})
		tiny = append(tiny, b)
	}
	tiny = pdu.AppendDataHeader(tiny, pdu.PDV{ContextID: 3, Flags: pdu.FlagCommand | pdu.FlagLast})
	empty := pdu.AppendDataHeader(nil, pdu.PDV{ContextID: 3})
	for _, c := range []struct {
		name string
		send []byte
		want dimse.Status
	}{
		{"command at its limit", command(1, limit), dimse.StatusSuccess},
		{"command in fragments of one byte, an empty one last", append(tiny, data(3, []byte("abcd"))...), dimse.StatusSuccess},
		{"empty fragments between", bytes.Join([][]byte{command(3, store), empty, empty, data(3, []byte("abcd"))}, nil), dimse.StatusSuccess},
		{"empty data set", append(command(3, store), data(3, nil)...), dimse.StatusSuccess},
		{"store without a data set", command(3, commandSet(0x01, ctClass, false)), dimse.StatusCannotUnderstand},
		{"class of another storage context", append(command(3, commandSet(0x01, dict.UIDMRImageStorage, true)), data(3, nil)...), dimse.StatusSuccess},
		{"class that is not stored", append(command(3, commandSet(0x01, findClass, true)), data(3, nil)...), dimse.StatusSOPClassNotSupported},
		{"operation that is not offered", command(1, commandSet(0x0150, dict.UIDVerification, false)), dimse.StatusUnrecognizedOperation},
		{"event that is reported with a data set", append(command(1, commandSet(0x0100, dict.UIDVerification, true)), data(1, []byte("abcd"))...), dimse.StatusUnrecognizedOperation},
		{"group length that is wrong", command(1, append(element(0x0000, 1, 0, 0, 0), set...)), dimse.StatusSuccess},
		{"echo without a class or data set type", command(1, append(element(0x0100, 0x30, 0), element(0x0110, 1, 0)...)), dimse.StatusSuccess},
		{"store without a class", append(command(3, commandSet(0x01, "", true)), data(3, nil)...), dimse.StatusSOPClassNotSupported},
		{"C-GET where only C-FIND is", append(command(5, commandSet(0x10, findClass, true)), data(5, nil)...), dimse.StatusUnrecognizedOperation},
		{"query without an identifier", command(5, commandSet(0x20, findClass, false)), dimse.StatusIdentifierDoesNotMatch},
		{"query that is no data set", append(command(5, commandSet(0x20, findClass, true)), data(5, []byte("garbage!?"))...), dimse.StatusUnableToProcess},
		{"PDU at its limit", append(command(3, commandSet(0x01, ctClass, true)), data(3, make([]byte, 1<<20-pdu.PDVHeaderSize))...), dimse.StatusSuccess},
		{"query at its limit", append(command(5, commandSet(0x20, findClass, true)), bigIdentifier(1<<20)...), dimse.StatusSuccess},
		{"query one past its limit", append(command(5, commandSet(0x20, findClass, true)), bigIdentifier(1<<20+1)...), dimse.StatusOutOfResources},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := connect(t, addr)
			r.associate()
			r.write(c.send)
			if got := r.status(); got != c.want {
				t.Errorf("status %v, want %v", got, c.want)
			}
			r.write(echo)
			if got := r.status(); got != dimse.StatusSuccess {
				t.Errorf("echo after it: %v", got)
			}
			r.write(pdu.AppendReleaseRQ(nil))
			if kind, _ := r.read(); kind != pdu.TypeReleaseRP {
				t.Errorf("release: %v", kind)
			}
		})
	}
	if string(ar.objects["1.2"]) != "" { // the last one stored
		t.Errorf("stored %q", ar.objects["1.2"])
	}
}

// bigIdentifier is a query of n bytes.
func bigIdentifier(n int) []byte {
	return pdu.AppendData(nil, 5, 0, element8(0x1030, strings.Repeat("x", n-8)), 1<<19)
}

func TestAssociateRequestAtItsLimit(t *testing.T) {
	b := (&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "WORDY", Contexts: []pdu.ContextRQ{echoContext(1)}}).Append(nil)
	for len(b) < 256<<10+pdu.HeaderSize { // with items that nobody knows
		n := min(256<<10+pdu.HeaderSize-len(b)-4, 0xFF00)
		b = append(append(b, 0x99, 0, byte(n>>8), byte(n)), make([]byte, n)...)
	}
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)-pdu.HeaderSize))
	r := connect(t, serve(t, new(archive).server()))
	r.write(b)
	if kind, _ := r.read(); kind != pdu.TypeAssociateAC {
		t.Errorf("got %v", kind)
	}
}

func TestObjectPastTheLimitIsAborted(t *testing.T) {
	s := new(archive).server()
	s.Limits.Object = 1000
	addr := serve(t, s)
	for _, n := range []int{1000, 1001} {
		r := connect(t, addr)
		r.associate()
		r.write(command(3, commandSet(0x01, ctClass, true)), data(3, make([]byte, n)))
		if n == 1000 {
			if got := r.status(); got != dimse.StatusSuccess {
				t.Errorf("at the limit: %v", got)
			}
			continue
		}
		r.aborted(pdu.AbortProvider, pdu.AbortInvalidItem)
	}
}

func TestPeerWithoutProgressIsCut(t *testing.T) {
	limits := dimse.Limits{Stall: 200 * time.Millisecond, StallBytes: 1000, Idle: 300 * time.Millisecond}
	endless := &archive{matches: 1 << 30}
	s := endless.server()
	s.Limits = limits
	addr := serve(t, s)
	t.Run("inside a command", func(t *testing.T) {
		r := connect(t, addr)
		r.associate()
		r.write(echo[:10])
		r.aborted(pdu.AbortProvider, pdu.AbortNotSpecified)
	})
	t.Run("inside a data set, a byte at a time", func(t *testing.T) {
		r := connect(t, addr)
		r.associate()
		r.write(command(3, commandSet(0x01, ctClass, true)), pdu.AppendDataHeader(nil, pdu.PDV{ContextID: 3, Length: 100_000}))
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					r.Conn.Write([]byte{0})
				}
			}
		}()
		r.aborted(pdu.AbortProvider, pdu.AbortNotSpecified)
	})
	t.Run("between messages", func(t *testing.T) {
		r := connect(t, addr)
		r.associate()
		r.aborted(pdu.AbortProvider, pdu.AbortNotSpecified)
	})
	t.Run("does not read its matches", func(t *testing.T) {
		r := connect(t, addr)
		r.associate()
		endless.mu.Lock()
		before := len(endless.closed)
		endless.mu.Unlock()
		r.write(command(5, commandSet(0x20, findClass, true)), data(5, element8(0x0052, "STUDY ")))
		peertest.Eventually(t, "the association is over", func() bool {
			endless.mu.Lock()
			defer endless.mu.Unlock()
			return len(endless.closed) > before
		})
	})
}

// element8 is an element of group 0008 in Implicit VR.
func element8(tag uint16, value string) []byte {
	b := element(tag, []byte(value)...)
	b[0] = 8
	return b
}

// A slow link is no reason: what counts is progress.
func TestSlowPeerThatMovesIsServed(t *testing.T) {
	var ar archive
	s := ar.server()
	s.Limits = dimse.Limits{Stall: 300 * time.Millisecond, StallBytes: 100}
	addr := serve(t, s)
	r := connect(t, addr)
	r.associate()
	r.write(command(3, commandSet(0x01, ctClass, true)), pdu.AppendDataHeader(nil, pdu.PDV{ContextID: 3, Flags: pdu.FlagLast, Length: 2000}))
	for range 20 {
		<-time.After(50 * time.Millisecond)
		r.write(make([]byte, 100))
	}
	if got := r.status(); got != dimse.StatusSuccess {
		t.Error(got)
	}
}

func TestAssociationsAreLimited(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits dimse.Limits
	}{
		{"in total", dimse.Limits{Associations: 3, PerPeer: 100}},
		{"from one address", dimse.Limits{Associations: 100, PerPeer: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := new(archive).server()
			s.Limits = c.limits
			addr := serve(t, s)
			var held []raw
			for range 3 {
				r := connect(t, addr)
				r.associate()
				held = append(held, r)
			}
			r := connect(t, addr)
			r.write((&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "ONE MORE"}).Append(nil))
			kind, body := r.read()
			if kind != pdu.TypeAssociateRJ {
				t.Fatalf("got %v", kind)
			}
			if rj, _ := pdu.ParseAssociateRJ(body); rj != (pdu.AssociateRJ{Result: pdu.RejectedTransient,
				Source: pdu.SourcePresentation, Reason: pdu.ReasonLimitExceeded}) {
				t.Errorf("%+v", rj)
			}
			held[0].write(pdu.AppendReleaseRQ(nil))
			held[0].read()
			peertest.Eventually(t, "there is room again", func() bool { return s.Associations() < 3 })
			connect(t, addr).associate()
		})
	}
}

func TestHalfOpenConnectionsKeepNobodyOut(t *testing.T) {
	s := new(archive).server()
	s.Limits = dimse.Limits{HalfOpen: 20}
	addr := serve(t, s)
	for range 100 {
		connect(t, addr)
	}
	r := connect(t, addr)
	r.associate()
	r.write(echo)
	if got := r.status(); got != dimse.StatusSuccess {
		t.Error(got)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := new(archive).server()
	addr := serve(t, s)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	const rounds = 500
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				r := raw{t, conn}
				switch i % 4 {
				case 0: // connects and goes
				case 1:
					r.associate()
					r.write(pdu.Abort{}.Append(nil))
				case 2:
					r.associate()
					r.write(echo[:20])
				case 3:
					r.associate()
					r.write(echo)
					r.status()
					r.write(pdu.AppendReleaseRQ(nil))
					r.read()
				}
				conn.Close()
			}
		})
	}
	for i := range rounds {
		work <- i
	}
	close(work)
	wg.Wait()
	peertest.Eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files && s.Associations() == 0
	})
}

func descriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc on this system")
	}
	return len(list)
}

func TestPanicCostsOneAssociation(t *testing.T) {
	s := &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{dict.UIDVerification}, Echo: dimse.Echo},
		{SOPClasses: []string{findClass}, Find: nil, Move: nil}}}
	s.Services = append(s.Services, dimse.Service{SOPClasses: []string{ctClass}, Store: panicking})
	addr := serve(t, s)
	other := connect(t, addr)
	other.associate()
	r := connect(t, addr)
	r.associate()
	r.write(command(3, commandSet(0x01, ctClass, true)), data(3, make([]byte, 10)))
	r.aborted(pdu.AbortProvider, pdu.AbortNotSpecified)
	other.write(echo)
	if got := other.status(); got != dimse.StatusSuccess {
		t.Error(got)
	}
}

// Peers that connect, ask and abort as fast as they can do not keep others
// from being served.
func TestEchoIsAnsweredUnderAttack(t *testing.T) {
	s := new(archive).server()
	s.Limits.PerPeer = 1000
	addr := serve(t, s)
	stop := make(chan struct{})
	var attackers sync.WaitGroup
	rounds := make([]int, 4)
	for i := range rounds {
		attackers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					continue
				}
				conn.Write((&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "ATTACK"}).Append(nil))
				conn.Write(pdu.Abort{}.Append(nil))
				conn.Close()
				rounds[i]++
			}
		})
	}
	var slowest time.Duration
	start := time.Now()
	for n := 0; n < 50 && time.Since(start) < 5*time.Second; n++ { // at least one, however busy the machine
		began := time.Now()
		// On a slow machine an honest connection may be among those that are cut to
		// make room: the peer tries again.
		err := errors.New("not tried")
		for try := 0; try < 20 && err != nil; try++ {
			err = tryEcho(t.Context(), addr)
		}
		if err != nil {
			t.Errorf("no C-ECHO was answered: %v", err)
		}
		slowest = max(slowest, time.Since(began))
	}
	took := time.Since(start)
	close(stop)
	attackers.Wait()
	total := 0
	for _, n := range rounds {
		total += n
	}
	t.Logf("%.0f attacks a second; slowest association with C-ECHO %v", float64(total)/took.Seconds(), slowest)
}

func tryEcho(ctx context.Context, addr string) error {
	d := dimse.Dialer{CallingAE: "HONEST"}
	c, err := d.Dial(ctx, addr, "LUMEN", propose(dict.UIDVerification))
	if err != nil {
		return err
	}
	status, err := c.Echo(ctx)
	if err == nil && status != dimse.StatusSuccess {
		err = errors.New(status.String())
	}
	return errors.Join(err, c.Release(ctx))
}
