package dimse

import "sync"

// The upper layer state machine of PS3.8 section 9.2, as data. Every PDU that
// arrives and everything that we do to an association goes through it, so that
// what is unexpected is handled by one rule and not by many places.

// state is one of the 13 states of PS3.8 tables 9-1 to 9-5.
type state uint8

// event is one of the 19 events of PS3.8 table 9-10.
type event uint8

const (
	evAssociateRequest event = iota + 1 // local: A-ASSOCIATE request
	evConnected                         // transport connection confirmed
	evAssociateAC
	evAssociateRJ
	evAccepted // transport connection indication
	evAssociateRQ
	evAcceptResponse // local: A-ASSOCIATE response, accept
	evRejectResponse // local: A-ASSOCIATE response, reject
	evDataRequest    // local: P-DATA request
	evData           // P-DATA-TF PDU
	evReleaseRequest // local: A-RELEASE request
	evReleaseRQ
	evReleaseRP
	evReleaseResponse // local: A-RELEASE response
	evAbortRequest    // local: A-ABORT request
	evAbort           // A-ABORT PDU
	evClosed          // transport connection closed
	evTimer           // ARTIM expired
	evInvalid         // unrecognized or invalid PDU
	events            = evInvalid
)

const (
	staIdle        state = 1  // no association
	staAwaitRQ     state = 2  // connection open, awaiting A-ASSOCIATE-RQ
	staAwaitLocal  state = 3  // awaiting our answer to it
	staConnecting  state = 4  // awaiting the transport connection
	staAwaitAC     state = 5  // awaiting A-ASSOCIATE-AC or -RJ
	staData        state = 6  // established
	staAwaitRP     state = 7  // awaiting A-RELEASE-RP
	staReleasing   state = 8  // awaiting our A-RELEASE response
	staCollisionRQ state = 9  // release collision, requestor: awaiting our response
	staCollisionAC state = 10 // release collision, acceptor: awaiting A-RELEASE-RP
	staCollisionRP state = 11 // release collision, requestor: awaiting A-RELEASE-RP
	staCollisionLR state = 12 // release collision, acceptor: awaiting our response
	staAwaitClose  state = 13 // awaiting the close of the transport connection
	states               = staAwaitClose
)

// action is one of the actions of PS3.8 tables 9-6 to 9-9.
type action uint8

const (
	none action = iota // the event cannot happen in the state
	ae1
	ae2
	ae3
	ae4
	ae5
	ae6
	ae7
	ae8
	dt1
	dt2
	ar1
	ar2
	ar3
	ar4
	ar5
	ar6
	ar7
	ar8
	ar9
	ar10
	aa1
	aa2
	aa3
	aa4
	aa5
	aa6
	aa7
	aa8
)

// cell is what an event does in a state. Where the standard leaves the next
// state to the side that asked for the association (AR-8), it is in next for
// the requestor and in acceptor for the acceptor.
type cell struct {
	action   action
	next     state
	acceptor state
}

// table is PS3.8 table 9-10: a row per event, a column per state.
var table = [events + 1][states + 1]cell{
	evAssociateRequest: {1: {ae1, 4, 0}},
	evConnected:        {4: {ae2, 5, 0}},
	evAssociateAC: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {ae3, 6, 0}, 6: {aa8, 13, 0}, 7: {aa8, 13, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa6, 13, 0}},
	evAssociateRJ: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {ae4, 1, 0}, 6: {aa8, 13, 0}, 7: {aa8, 13, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa6, 13, 0}},
	evAccepted: {1: {ae5, 2, 0}},
	evAssociateRQ: {2: {ae6, 3, 0}, 3: {aa8, 13, 0}, 5: {aa8, 13, 0}, 6: {aa8, 13, 0}, 7: {aa8, 13, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa7, 13, 0}},
	evAcceptResponse: {3: {ae7, 6, 0}},
	evRejectResponse: {3: {ae8, 13, 0}},
	evDataRequest:    {6: {dt1, 6, 0}, 8: {ar7, 8, 0}},
	evData: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {aa8, 13, 0}, 6: {dt2, 6, 0}, 7: {ar6, 7, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa6, 13, 0}},
	evReleaseRequest: {6: {ar1, 7, 0}},
	evReleaseRQ: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {aa8, 13, 0}, 6: {ar2, 8, 0}, 7: {ar8, 9, 10}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa6, 13, 0}},
	evReleaseRP: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {aa8, 13, 0}, 6: {aa8, 13, 0}, 7: {ar3, 1, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {ar10, 12, 0}, 11: {ar3, 1, 0}, 12: {aa8, 13, 0}, 13: {aa6, 13, 0}},
	evReleaseResponse: {8: {ar4, 13, 0}, 9: {ar9, 11, 0}, 12: {ar4, 13, 0}},
	evAbortRequest: {3: {aa1, 13, 0}, 4: {aa2, 1, 0}, 5: {aa1, 13, 0}, 6: {aa1, 13, 0}, 7: {aa1, 13, 0}, 8: {aa1, 13, 0},
		9: {aa1, 13, 0}, 10: {aa1, 13, 0}, 11: {aa1, 13, 0}, 12: {aa1, 13, 0}},
	evAbort: {2: {aa2, 1, 0}, 3: {aa3, 1, 0}, 5: {aa3, 1, 0}, 6: {aa3, 1, 0}, 7: {aa3, 1, 0}, 8: {aa3, 1, 0},
		9: {aa3, 1, 0}, 10: {aa3, 1, 0}, 11: {aa3, 1, 0}, 12: {aa3, 1, 0}, 13: {aa2, 1, 0}},
	evClosed: {2: {aa5, 1, 0}, 3: {aa4, 1, 0}, 4: {aa4, 1, 0}, 5: {aa4, 1, 0}, 6: {aa4, 1, 0}, 7: {aa4, 1, 0}, 8: {aa4, 1, 0},
		9: {aa4, 1, 0}, 10: {aa4, 1, 0}, 11: {aa4, 1, 0}, 12: {aa4, 1, 0}, 13: {ar5, 1, 0}},
	evTimer: {2: {aa2, 1, 0}, 13: {aa2, 1, 0}},
	evInvalid: {2: {aa1, 13, 0}, 3: {aa8, 13, 0}, 5: {aa8, 13, 0}, 6: {aa8, 13, 0}, 7: {aa8, 13, 0}, 8: {aa8, 13, 0},
		9: {aa8, 13, 0}, 10: {aa8, 13, 0}, 11: {aa8, 13, 0}, 12: {aa8, 13, 0}, 13: {aa7, 13, 0}},
}

// machine is the state of one association. While an operation runs, one
// goroutine tells it what arrives and another what is sent.
type machine struct {
	acceptor bool // the peer asked for the association

	mu    sync.Mutex
	state state
}

// on takes an event and returns what is to be done; none when the event cannot
// happen in the state, which leaves it as it is.
func (m *machine) on(e event) action {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := table[e][m.state]
	if c.action == none {
		return none
	}
	m.state = c.next
	if m.acceptor && c.acceptor != 0 {
		m.state = c.acceptor
	}
	return c.action
}

func (m *machine) is(s state) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state == s
}
