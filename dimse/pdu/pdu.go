package pdu

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type is the first byte of a PDU (PS3.8 section 9.3.1).
type Type byte

// The PDU types.
const (
	TypeAssociateRQ Type = 1
	TypeAssociateAC Type = 2
	TypeAssociateRJ Type = 3
	TypeData        Type = 4
	TypeReleaseRQ   Type = 5
	TypeReleaseRP   Type = 6
	TypeAbort       Type = 7
)

var typeNames = [...]string{
	TypeAssociateRQ: "A-ASSOCIATE-RQ",
	TypeAssociateAC: "A-ASSOCIATE-AC",
	TypeAssociateRJ: "A-ASSOCIATE-RJ",
	TypeData:        "P-DATA-TF",
	TypeReleaseRQ:   "A-RELEASE-RQ",
	TypeReleaseRP:   "A-RELEASE-RP",
	TypeAbort:       "A-ABORT",
}

// String gives the standard's name of the type.
func (t Type) String() string {
	if t.Known() {
		return typeNames[t]
	}
	return fmt.Sprintf("PDU type 0x%02X", byte(t))
}

// Known reports whether the standard defines t.
func (t Type) Known() bool { return t >= TypeAssociateRQ && t <= TypeAbort }

// HeaderSize is the length of a PDU's header: type, reserved byte, length.
const HeaderSize = 6

// Header is the start of every PDU. Length counts the bytes that follow it.
type Header struct {
	Type   Type
	Length uint32
}

// ParseHeader reads the first HeaderSize bytes of b, which must be there.
func ParseHeader(b []byte) Header {
	_ = b[HeaderSize-1]
	return Header{Type: Type(b[0]), Length: binary.BigEndian.Uint32(b[2:])}
}

// Errors of the parsers. They wrap no bytes of the peer.
var (
	// ErrMalformed is a PDU whose lengths contradict each other or that lacks a
	// mandatory field.
	ErrMalformed = errors.New("malformed PDU")
	// ErrLimit is a PDU that asks for more presentation contexts than there can
	// be.
	ErrLimit = errors.New("PDU exceeds a limit")
)

// Limits of what is kept of an association PDU.
const (
	// MaxContexts is how many odd presentation context ids there are.
	MaxContexts = 128
	// MaxTransferSyntaxes is how many transfer syntaxes of one presentation
	// context are kept; those past it are ignored, as if never offered.
	MaxTransferSyntaxes = 64
	// maxNegotiationItems bounds role and extended negotiation items: two for
	// each presentation context.
	maxNegotiationItems = 2 * MaxContexts
	// maxRelated bounds the related classes of one common extended item.
	maxRelated = 64
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// beginPDU appends a header whose length endPDU fills in.
func beginPDU(b []byte, t Type) []byte { return append(b, byte(t), 0, 0, 0, 0, 0) }

func endPDU(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+2:], uint32(len(b)-start-HeaderSize))
	return b
}

// ReleaseRQ and ReleaseRP carry nothing but four reserved bytes (PS3.8
// sections 9.3.6 and 9.3.7).

// AppendReleaseRQ appends an A-RELEASE-RQ PDU.
func AppendReleaseRQ(b []byte) []byte {
	return append(b, byte(TypeReleaseRQ), 0, 0, 0, 0, 4, 0, 0, 0, 0)
}

// AppendReleaseRP appends an A-RELEASE-RP PDU.
func AppendReleaseRP(b []byte) []byte {
	return append(b, byte(TypeReleaseRP), 0, 0, 0, 0, 4, 0, 0, 0, 0)
}

// AssociateRJ refuses an association (PS3.8 section 9.3.4).
type AssociateRJ struct {
	Result Result
	Source Source
	Reason Reason
}

// Result of a rejection.
type Result byte

// Source of a rejection.
type Source byte

// Reason of a rejection; its meaning depends on the source.
type Reason byte

// Results, sources and reasons of PS3.8 table 9-21.
const (
	RejectedPermanent Result = 1
	RejectedTransient Result = 2

	SourceUser         Source = 1 // the service user: the application
	SourceACSE         Source = 2 // the provider, association control
	SourcePresentation Source = 3 // the provider, presentation

	ReasonUserNone               Reason = 1 // source user: no reason given
	ReasonApplicationContext     Reason = 2 // source user
	ReasonCallingAENotRecognized Reason = 3 // source user
	ReasonCalledAENotRecognized  Reason = 7 // source user
	ReasonACSENone               Reason = 1 // source ACSE
	ReasonProtocolVersion        Reason = 2 // source ACSE
	ReasonCongestion             Reason = 1 // source presentation: temporary
	ReasonLimitExceeded          Reason = 2 // source presentation: local limit
)

// Append appends the PDU.
func (p AssociateRJ) Append(b []byte) []byte {
	return append(b, byte(TypeAssociateRJ), 0, 0, 0, 0, 4, 0, byte(p.Result), byte(p.Source), byte(p.Reason))
}

// ParseAssociateRJ reads the body of an A-ASSOCIATE-RJ PDU.
func ParseAssociateRJ(body []byte) (AssociateRJ, error) {
	if len(body) != 4 {
		return AssociateRJ{}, malformed("A-ASSOCIATE-RJ is not 4 bytes long")
	}
	return AssociateRJ{Result(body[1]), Source(body[2]), Reason(body[3])}, nil
}

// Abort ends an association at once (PS3.8 section 9.3.8).
type Abort struct {
	Source AbortSource
	Reason AbortReason // of the provider; 0 from a user
}

// AbortSource says which side of the peer gave up.
type AbortSource byte

// AbortReason says why its provider did.
type AbortReason byte

// Sources and reasons of PS3.8 table 9-26.
const (
	AbortUser     AbortSource = 0
	AbortProvider AbortSource = 2

	AbortNotSpecified     AbortReason = 0
	AbortUnrecognizedPDU  AbortReason = 1
	AbortUnexpectedPDU    AbortReason = 2
	AbortUnrecognizedItem AbortReason = 4
	AbortUnexpectedItem   AbortReason = 5
	AbortInvalidItem      AbortReason = 6
)

// Append appends the PDU.
func (p Abort) Append(b []byte) []byte {
	return append(b, byte(TypeAbort), 0, 0, 0, 0, 4, 0, 0, byte(p.Source), byte(p.Reason))
}

// ParseAbort reads the body of an A-ABORT PDU.
func ParseAbort(body []byte) (Abort, error) {
	if len(body) != 4 {
		return Abort{}, malformed("A-ABORT is not 4 bytes long")
	}
	return Abort{AbortSource(body[2]), AbortReason(body[3])}, nil
}
