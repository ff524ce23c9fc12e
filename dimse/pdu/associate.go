package pdu

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ApplicationContext is the name of the DICOM application context (PS3.7 annex
// A.2.1), the only one there is.
const ApplicationContext = "1.2.840.10008.3.1.1.1"

// Item types of association PDUs (PS3.8 sections 9.3.2 and 9.3.3).
const (
	itemApplicationContext = 0x10
	itemContextRQ          = 0x20
	itemContextAC          = 0x21
	itemAbstractSyntax     = 0x30
	itemTransferSyntax     = 0x40
	itemUserInformation    = 0x50
)

// AssociateRQ proposes an association (PS3.8 section 9.3.2).
type AssociateRQ struct {
	ProtocolVersion    uint16 // bit 0: version 1; 0 is written as 1
	CalledAE           string // without padding
	CallingAE          string
	ApplicationContext string // "" is written as ApplicationContext
	Contexts           []ContextRQ
	User               UserInformation
}

// ContextRQ proposes one abstract syntax with the transfer syntaxes it may have.
type ContextRQ struct {
	ID               byte // odd
	AbstractSyntax   string
	TransferSyntaxes []string
}

// AssociateAC accepts an association (PS3.8 section 9.3.3). The AE titles are
// those of the request, sent back unchanged.
type AssociateAC struct {
	ProtocolVersion    uint16
	CalledAE           string
	CallingAE          string
	ApplicationContext string
	Contexts           []ContextAC
	User               UserInformation
}

// ContextAC answers one proposed presentation context.
type ContextAC struct {
	ID             byte
	Result         ContextResult
	TransferSyntax string // the chosen one; without meaning unless accepted
}

// ContextResult says whether a presentation context was accepted.
type ContextResult byte

// The results of PS3.8 table 9-18.
const (
	ContextAccepted                 ContextResult = 0
	ContextUserRejection            ContextResult = 1
	ContextNoReason                 ContextResult = 2
	ContextAbstractSyntaxRejected   ContextResult = 3
	ContextTransferSyntaxesRejected ContextResult = 4
)

// fixedSize is what an association PDU has before its first item: version, two
// reserved bytes, two AE titles, 32 reserved bytes.
const fixedSize = 2 + 2 + 16 + 16 + 32

// ParseAssociateRQ reads the body of an A-ASSOCIATE-RQ PDU. Nothing it returns
// refers to body. The error is ErrMalformed or ErrLimit.
func ParseAssociateRQ(body []byte) (*AssociateRQ, error) {
	p := &AssociateRQ{}
	app, err := parseAssociate(body, &p.ProtocolVersion, &p.CalledAE, &p.CallingAE, &p.User,
		itemContextRQ, func(b []byte) error {
			if len(p.Contexts) == MaxContexts {
				return fmt.Errorf("%w: more than %d presentation contexts", ErrLimit, MaxContexts)
			}
			c, err := parseContextRQ(b)
			p.Contexts = append(p.Contexts, c)
			return err
		})
	p.ApplicationContext = app
	if err != nil {
		return nil, err
	}
	return p, nil
}

// ParseAssociateAC reads the body of an A-ASSOCIATE-AC PDU. Nothing it returns
// refers to body. The error is ErrMalformed or ErrLimit.
func ParseAssociateAC(body []byte) (*AssociateAC, error) {
	p := &AssociateAC{}
	app, err := parseAssociate(body, &p.ProtocolVersion, &p.CalledAE, &p.CallingAE, &p.User,
		itemContextAC, func(b []byte) error {
			if len(p.Contexts) == MaxContexts {
				return fmt.Errorf("%w: more than %d presentation contexts", ErrLimit, MaxContexts)
			}
			c, err := parseContextAC(b)
			p.Contexts = append(p.Contexts, c)
			return err
		})
	p.ApplicationContext = app
	if err != nil {
		return nil, err
	}
	return p, nil
}

func parseAssociate(body []byte, version *uint16, called, calling *string, user *UserInformation,
	contextItem byte, context func([]byte) error) (application string, err error) {
	if len(body) < fixedSize {
		return "", malformed("an association PDU is shorter than its fixed part")
	}
	*version = binary.BigEndian.Uint16(body)
	*called = trim(body[4:20])
	*calling = trim(body[20:36])
	haveUser := false
	err = items(body[fixedSize:], func(kind, _ byte, value []byte) error {
		switch kind {
		case itemApplicationContext:
			application = trim(value)
		case contextItem:
			return context(value)
		case itemUserInformation:
			if haveUser {
				return malformed("two user information items")
			}
			haveUser = true
			return user.parse(value)
		}
		return nil
	})
	return application, err
}

// items calls visit for each item of b: type, the byte after it, value.
func items(b []byte, visit func(kind, second byte, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return malformed("an item is cut in its header")
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return malformed("an item reaches past its PDU")
		}
		if err := visit(b[0], b[1], b[4:4+n]); err != nil {
			return err
		}
		b = b[4+n:]
	}
	return nil
}

func parseContextRQ(b []byte) (ContextRQ, error) {
	if len(b) < 4 {
		return ContextRQ{}, malformed("a presentation context is shorter than its header")
	}
	c := ContextRQ{ID: b[0]}
	err := items(b[4:], func(kind, _ byte, value []byte) error {
		switch {
		case kind == itemAbstractSyntax && c.AbstractSyntax == "":
			c.AbstractSyntax = trim(value)
		case kind == itemTransferSyntax && len(c.TransferSyntaxes) < MaxTransferSyntaxes:
			c.TransferSyntaxes = append(c.TransferSyntaxes, trim(value))
		}
		return nil
	})
	return c, err
}

func parseContextAC(b []byte) (ContextAC, error) {
	if len(b) < 4 {
		return ContextAC{}, malformed("a presentation context is shorter than its header")
	}
	c := ContextAC{ID: b[0], Result: ContextResult(b[2])}
	err := items(b[4:], func(kind, _ byte, value []byte) error {
		if kind == itemTransferSyntax {
			c.TransferSyntax = trim(value)
		}
		return nil
	})
	return c, err
}

// Append appends the PDU. AE titles longer than 16 bytes are cut.
func (p *AssociateRQ) Append(b []byte) []byte {
	start := len(b)
	b = beginPDU(b, TypeAssociateRQ)
	b = appendFixed(b, p.ProtocolVersion, p.CalledAE, p.CallingAE, p.ApplicationContext)
	for _, c := range p.Contexts {
		at := len(b)
		b = append(b, itemContextRQ, 0, 0, 0, c.ID, 0, 0, 0)
		b = appendItem(b, itemAbstractSyntax, c.AbstractSyntax)
		for _, ts := range c.TransferSyntaxes {
			b = appendItem(b, itemTransferSyntax, ts)
		}
		b = endItem(b, at)
	}
	return endPDU(p.User.append(b), start)
}

// Append appends the PDU. AE titles longer than 16 bytes are cut.
func (p *AssociateAC) Append(b []byte) []byte {
	start := len(b)
	b = beginPDU(b, TypeAssociateAC)
	b = appendFixed(b, p.ProtocolVersion, p.CalledAE, p.CallingAE, p.ApplicationContext)
	for _, c := range p.Contexts {
		at := len(b)
		b = append(b, itemContextAC, 0, 0, 0, c.ID, 0, byte(c.Result), 0)
		b = appendItem(b, itemTransferSyntax, c.TransferSyntax)
		b = endItem(b, at)
	}
	return endPDU(p.User.append(b), start)
}

func appendFixed(b []byte, version uint16, called, calling, application string) []byte {
	if version == 0 {
		version = 1
	}
	if application == "" {
		application = ApplicationContext
	}
	b = append(b, byte(version>>8), byte(version), 0, 0)
	b = appendTitle(b, called)
	b = appendTitle(b, calling)
	b = append(b, make([]byte, 32)...)
	return appendItem(b, itemApplicationContext, application)
}

const blanks = "                "

func appendTitle(b []byte, title string) []byte {
	title = title[:min(len(title), len(blanks))]
	return append(append(b, title...), blanks[len(title):]...)
}

func appendItem(b []byte, kind byte, value string) []byte {
	return append(append(b, kind, 0, byte(len(value)>>8), byte(len(value))), value...)
}

func endItem(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-4))
	return b
}

// trim cuts the padding that peers use: spaces on both sides and NUL.
func trim(b []byte) string { return strings.Trim(string(b), " \x00") }
