package dimse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lumen/dimse/pdu"
)

// PS3.8 table 9-10 once more, in another form: a row per event, a column per
// state, each cell an action and the next state. "9|10" is that of the requestor
// and that of the acceptor. AE-6 leads to state 3 always: a refusal is ours to
// say, as event 8.
const table910 = `
       Sta1   Sta2    Sta3    Sta4   Sta5    Sta6    Sta7       Sta8    Sta9    Sta10    Sta11   Sta12   Sta13
Evt1   AE-1>4 .       .       .      .       .       .          .       .       .        .       .       .
Evt2   .      .       .       AE-2>5 .       .       .          .       .       .        .       .       .
Evt3   .      AA-1>13 AA-8>13 .      AE-3>6  AA-8>13 AA-8>13    AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-6>13
Evt4   .      AA-1>13 AA-8>13 .      AE-4>1  AA-8>13 AA-8>13    AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-6>13
Evt5   AE-5>2 .       .       .      .       .       .          .       .       .        .       .       .
Evt6   .      AE-6>3  AA-8>13 .      AA-8>13 AA-8>13 AA-8>13    AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-7>13
Evt7   .      .       AE-7>6  .      .       .       .          .       .       .        .       .       .
Evt8   .      .       AE-8>13 .      .       .       .          .       .       .        .       .       .
Evt9   .      .       .       .      .       DT-1>6  .          AR-7>8  .       .        .       .       .
Evt10  .      AA-1>13 AA-8>13 .      AA-8>13 DT-2>6  AR-6>7     AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-6>13
Evt11  .      .       .       .      .       AR-1>7  .          .       .       .        .       .       .
Evt12  .      AA-1>13 AA-8>13 .      AA-8>13 AR-2>8  AR-8>9|10  AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-6>13
Evt13  .      AA-1>13 AA-8>13 .      AA-8>13 AA-8>13 AR-3>1     AA-8>13 AA-8>13 AR-10>12 AR-3>1  AA-8>13 AA-6>13
Evt14  .      .       .       .      .       .       .          AR-4>13 AR-9>11 .        .       AR-4>13 .
Evt15  .      .       AA-1>13 AA-2>1 AA-1>13 AA-1>13 AA-1>13    AA-1>13 AA-1>13 AA-1>13  AA-1>13 AA-1>13 .
Evt16  .      AA-2>1  AA-3>1  .      AA-3>1  AA-3>1  AA-3>1     AA-3>1  AA-3>1  AA-3>1   AA-3>1  AA-3>1  AA-2>1
Evt17  .      AA-5>1  AA-4>1  AA-4>1 AA-4>1  AA-4>1  AA-4>1     AA-4>1  AA-4>1  AA-4>1   AA-4>1  AA-4>1  AR-5>1
Evt18  .      AA-2>1  .       .      .       .       .          .       .       .        .       .       AA-2>1
Evt19  .      AA-1>13 AA-8>13 .      AA-8>13 AA-8>13 AA-8>13    AA-8>13 AA-8>13 AA-8>13  AA-8>13 AA-8>13 AA-7>13
`

var actionNames = [...]string{none: ".", ae1: "AE-1", ae2: "AE-2", ae3: "AE-3", ae4: "AE-4", ae5: "AE-5", ae6: "AE-6",
	ae7: "AE-7", ae8: "AE-8", dt1: "DT-1", dt2: "DT-2", ar1: "AR-1", ar2: "AR-2", ar3: "AR-3", ar4: "AR-4", ar5: "AR-5",
	ar6: "AR-6", ar7: "AR-7", ar8: "AR-8", ar9: "AR-9", ar10: "AR-10", aa1: "AA-1", aa2: "AA-2", aa3: "AA-3",
	aa4: "AA-4", aa5: "AA-5", aa6: "AA-6", aa7: "AA-7", aa8: "AA-8"}

// cells calls visit for each cell of the table.
func cells(visit func(e event, s state, want string)) {
	rows := strings.Split(strings.TrimSpace(table910), "\n")[1:]
	for i, row := range rows {
		for j, want := range strings.Fields(row)[1:] {
			visit(event(i+1), state(j+1), want)
		}
	}
}

func TestStateTableCellByCell(t *testing.T) {
	n := 0
	cells(func(e event, s state, want string) {
		n++
		for _, acceptor := range []bool{false, true} {
			m := machine{state: s, acceptor: acceptor}
			act := m.on(e)
			got := "."
			if act != none {
				got = fmt.Sprintf("%s>%d", actionNames[act], m.state)
			} else if m.state != s {
				t.Errorf("event %d changed state %d though it cannot happen there", e, s)
			}
			want := want
			if before, after, both := strings.Cut(want, "|"); both {
				want = before
				if acceptor {
					want = before[:strings.Index(before, ">")+1] + after
				}
			}
			if got != want {
				t.Errorf("event %d in state %d (acceptor %t): %s, the standard has %s", e, s, acceptor, got, want)
			}
		}
	})
	if n != int(events)*int(states) {
		t.Errorf("%d cells, want %d", n, int(events)*int(states))
	}
}

// script is what a peer sends to bring an event about; nil closes.
var script = map[event][]byte{
	evAssociateAC: (&pdu.AssociateAC{CalledAE: "A", CallingAE: "B"}).Append(nil),
	evAssociateRJ: pdu.AssociateRJ{Result: 1, Source: 1, Reason: 1}.Append(nil),
	evAssociateRQ: (&pdu.AssociateRQ{CalledAE: "A", CallingAE: "B"}).Append(nil),
	evData:        pdu.AppendData(nil, 1, pdu.FlagCommand, []byte("0123456789"), 100),
	evReleaseRQ:   pdu.AppendReleaseRQ(nil),
	evReleaseRP:   pdu.AppendReleaseRP(nil),
	evAbort:       pdu.Abort{}.Append(nil),
	evClosed:      nil,
	evInvalid:     {0x42, 0, 0, 0, 0, 0},
}

// TestPeerEventsCellByCell runs a connection in each state against a scripted
// peer, and looks at what we send and at the state we are in afterwards.
func TestPeerEventsCellByCell(t *testing.T) {
	cells(func(e event, s state, want string) {
		sent, scripted := script[e]
		if want == "." || !scripted {
			return
		}
		t.Run(fmt.Sprintf("event %d in state %d", e, s), func(t *testing.T) {
			ours, theirs := net.Pipe()
			l := newLink(ours, Limits{}.orDefaults(), s == staAwaitRQ || s == staAwaitLocal || s == staCollisionAC || s == staCollisionLR)
			l.machine.state = s
			l.within(5 * time.Second)
			heard := make(chan []byte)
			go func() {
				go func() {
					if sent != nil {
						theirs.Write(sent)
					} else {
						theirs.Close()
					}
				}()
				b, _ := io.ReadAll(theirs)
				heard <- b
			}()
			act, _, err := l.receive()
			ours.Close()
			answer := <-heard
			name, next, _ := strings.Cut(want, ">")
			wantState := next
			if a, b, both := strings.Cut(next, "|"); both {
				if wantState = a; l.machine.acceptor {
					wantState = b
				}
			}
			if got := fmt.Sprint(l.machine.state); got != wantState {
				t.Errorf("state %s, want %s", got, wantState)
			}
			if e != evClosed && actionNames[act] != name {
				t.Errorf("action %s, want %s", actionNames[act], name)
			}
			var abort []byte
			switch {
			case name == "AA-1":
				abort = pdu.Abort{Source: pdu.AbortUser}.Append(nil)
			case name == "AA-8" || name == "AA-7":
				reason := pdu.AbortUnexpectedPDU
				if e == evInvalid {
					reason = pdu.AbortUnrecognizedPDU
				}
				abort = pdu.Abort{Source: pdu.AbortProvider, Reason: reason}.Append(nil)
			}
			if !bytes.Equal(answer, abort) {
				t.Errorf("sent % x, want % x", answer, abort)
			}
			var aborted *AbortError
			switch name {
			case "AA-3", "AA-2":
				if !errors.As(err, &aborted) {
					t.Errorf("error %v, want that the peer aborted", err)
				}
			case "AA-4", "AA-5", "AR-5":
				if !errors.Is(err, ErrClosed) {
					t.Errorf("error %v, want that the connection is lost", err)
				}
			case "AA-1", "AA-8":
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("error %v, want a protocol error", err)
				}
			}
		})
	})
}

// ours is what we do to bring an event about, and what the peer then gets; nil
// is nothing.
var ours = map[event]struct {
	do   func(l *link) error
	sent []byte
}{
	evAssociateRequest: {func(l *link) error { return l.do(evAssociateRequest, nil) }, nil},
	evConnected:        {func(l *link) error { return l.do(evConnected, script[evAssociateRQ]) }, script[evAssociateRQ]},
	evAccepted:         {func(l *link) error { return l.do(evAccepted, nil) }, nil},
	evAcceptResponse:   {func(l *link) error { return l.do(evAcceptResponse, script[evAssociateAC]) }, script[evAssociateAC]},
	evRejectResponse:   {func(l *link) error { return l.do(evRejectResponse, script[evAssociateRJ]) }, script[evAssociateRJ]},
	evDataRequest:      {func(l *link) error { return l.send(1, &echoRQ, nil) }, pdu.AppendData(nil, 1, pdu.FlagCommand, echoRQ.append(nil), 1000)},
	evReleaseRequest:   {func(l *link) error { return l.do(evReleaseRequest, script[evReleaseRQ]) }, script[evReleaseRQ]},
	evReleaseResponse:  {func(l *link) error { return l.do(evReleaseResponse, script[evReleaseRP]) }, script[evReleaseRP]},
	evAbortRequest: {func(l *link) error { l.abort(pdu.Abort{Source: pdu.AbortUser}); return nil },
		pdu.Abort{Source: pdu.AbortUser}.Append(nil)},
	evTimer: {func(l *link) error { return l.lost(os.ErrDeadlineExceeded) }, nil},
}

var echoRQ = command{Field: cEchoRQ, MessageID: 1, SOPClass: verification}

// TestOurEventsCellByCell does in each state what we can do, and looks at what
// the peer gets and at the state we are in afterwards. What cannot happen in a
// state sends nothing and changes nothing.
func TestOurEventsCellByCell(t *testing.T) {
	n := 0
	cells(func(e event, s state, want string) {
		if _, scripted := script[e]; scripted {
			n++
			return
		}
		n++
		what := ours[e]
		near, far := net.Pipe()
		l := newLink(near, Limits{}.orDefaults(), false)
		l.machine.state = s
		heard := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(far)
			heard <- b
		}()
		err := what.do(l)
		l.close()
		answer := <-heard
		name, next, happens := strings.Cut(want, ">")
		state, sent := fmt.Sprint(s), []byte(nil)
		if happens {
			if state = next; name != "AA-2" { // which only closes
				sent = what.sent
			}
		}
		if got := fmt.Sprint(l.machine.state); got != state {
			t.Errorf("event %d in state %d: then in state %s, want %s", e, s, got, state)
		}
		if !bytes.Equal(answer, sent) {
			t.Errorf("event %d in state %d: sent % x, want % x", e, s, answer, sent)
		}
		if silent := e == evAbortRequest || e == evTimer; !silent && happens != (err == nil) {
			t.Errorf("event %d in state %d: %v", e, s, err)
		}
	})
	if n != int(events)*int(states) {
		t.Errorf("%d cells are of a peer's or of our events, want %d", n, int(events)*int(states))
	}
}

// TestARTIM covers event 18: a peer that asks for nothing, and one that does
// not close after its association was refused, are cut.
func TestARTIM(t *testing.T) {
	for _, c := range []struct {
		name string
		send []byte
		want []byte
	}{
		{"no request", nil, nil},
		{"rejected and silent", (&pdu.AssociateRQ{ProtocolVersion: 2}).Append(nil),
			pdu.AssociateRJ{Result: pdu.RejectedPermanent, Source: pdu.SourceACSE, Reason: pdu.ReasonProtocolVersion}.Append(nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				s := &Server{}
				s.start(t.Context(), ours, Limits{}.orDefaults(), false)
				start := time.Now()
				if c.send != nil {
					theirs.Write(c.send)
				}
				got, _ := io.ReadAll(theirs)
				if !bytes.Equal(got, c.want) {
					t.Errorf("sent % x, want % x", got, c.want)
				}
				if took := time.Since(start); took != DefaultLimits().ARTIM {
					t.Errorf("cut after %v", took)
				}
				s.wg.Wait()
			})
		})
	}
}
