package dimse

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Limits bound what a peer can make us hold and how long it can make us wait.
// A field that is zero has the value of [DefaultLimits].
type Limits struct {
	AssociatePDU int   // bytes of an A-ASSOCIATE PDU
	DataPDU      int   // maximum length of P-DATA-TF that we announce, in bytes
	AcceptPDU    int   // longest P-DATA-TF that is taken from a peer that sends more
	Command      int   // bytes of a command set
	Identifier   int   // bytes of a query identifier
	Object       int64 // bytes of a data set to store

	Associations int // at once
	PerPeer      int // at once from one address
	Failures     int // connections of one address that may fail within 10 s; past it new ones are closed at once
	HalfOpen     int // connections without an association, not yet or no more; past it new ones wait, and old ones are closed

	ARTIM      time.Duration // to propose an association, to close after its end (PS3.8 section 9.1.5)
	Idle       time.Duration // between messages, while no operation runs
	Stall      time.Duration // window in which a peer must move StallBytes, inside a message
	StallBytes int
	Response   time.Duration // for the response to a C-STORE that we sent, from its last byte on
}

// DefaultLimits are those of a node that was told nothing.
func DefaultLimits() Limits {
	return Limits{
		AssociatePDU: 256 << 10,
		DataPDU:      128 << 10,
		AcceptPDU:    1 << 20,
		Command:      16 << 10,
		Identifier:   1 << 20,
		Object:       16 << 30,
		Associations: 512,
		PerPeer:      64,
		Failures:     100,
		HalfOpen:     128,
		ARTIM:        10 * time.Second,
		Idle:         60 * time.Second,
		Stall:        60 * time.Second,
		StallBytes:   60 << 10,
		Response:     5 * time.Minute,
	}
}

// orDefaults fills in the fields that are zero.
func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	or(&l.AssociatePDU, d.AssociatePDU)
	or(&l.DataPDU, d.DataPDU)
	or(&l.AcceptPDU, max(d.AcceptPDU, l.DataPDU))
	or(&l.Command, d.Command)
	or(&l.Identifier, d.Identifier)
	or(&l.Object, d.Object)
	or(&l.Associations, d.Associations)
	or(&l.PerPeer, d.PerPeer)
	or(&l.Failures, d.Failures)
	or(&l.HalfOpen, d.HalfOpen)
	or(&l.ARTIM, d.ARTIM)
	or(&l.Idle, d.Idle)
	or(&l.Stall, d.Stall)
	or(&l.StallBytes, d.StallBytes)
	or(&l.Response, d.Response)
	return l
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// newID makes the random id of an association.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
