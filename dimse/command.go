package dimse

import (
	"encoding/binary"
	"errors"
	"strings"
)

// field is the Command Field (0000,0100) (PS3.7 annex E).
type field uint16

const (
	cStoreRQ  field = 0x0001
	cGetRQ    field = 0x0010
	cFindRQ   field = 0x0020
	cMoveRQ   field = 0x0021
	cEchoRQ   field = 0x0030
	cCancelRQ field = 0x0FFF
	response  field = 0x8000 // set in every response
)

// String names the service, request or response alike.
func (f field) String() string {
	switch f &^ response {
	case cStoreRQ:
		return "C-STORE"
	case cGetRQ:
		return "C-GET"
	case cFindRQ:
		return "C-FIND"
	case cMoveRQ:
		return "C-MOVE"
	case cEchoRQ:
		return "C-ECHO"
	case cCancelRQ:
		return "C-CANCEL"
	}
	return "unknown"
}

// command is a command set (PS3.7 annex E). Absent elements are zero; UIDs
// and titles are without padding.
type command struct {
	Field       field
	MessageID   uint16
	RespondedTo uint16
	SOPClass    string
	SOPInstance string
	Priority    uint16
	HasData     bool
	Status      Status
	Comment     string
	Destination string // C-MOVE
	OriginAE    string // C-STORE that a C-MOVE caused
	OriginID    uint16
	Counts      *SubOperations // in responses of C-MOVE and C-GET
	NoRemaining bool           // the count of remaining sub-operations is left out
}

// Elements of group 0000.
const (
	tagGroupLength = 0x0000
	tagSOPClass    = 0x0002
	tagField       = 0x0100
	tagMessageID   = 0x0110
	tagRespondedTo = 0x0120
	tagDestination = 0x0600
	tagPriority    = 0x0700
	tagDataSetType = 0x0800
	tagStatus      = 0x0900
	tagComment     = 0x0902
	tagSOPInstance = 0x1000
	tagRemaining   = 0x1020
	tagCompleted   = 0x1021
	tagFailed      = 0x1022
	tagWarning     = 0x1023
	tagOriginAE    = 0x1030
	tagOriginID    = 0x1031
)

// noDataSet is the Command Data Set Type (0000,0800) of a message without one;
// any other value announces one.
const noDataSet = 0x0101

var errCommand = errors.New("malformed command set")

// parse reads a command set, which is always Implicit VR Little Endian (PS3.7
// section 6.3.1). Elements that no service here needs are skipped.
func (c *command) parse(b []byte) error {
	*c = command{}
	seen := false
	for len(b) > 0 {
		if len(b) < 8 {
			return errCommand
		}
		group, element := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		n := binary.LittleEndian.Uint32(b[4:])
		if group != 0 || uint64(n) > uint64(len(b)-8) {
			return errCommand
		}
		v := b[8 : 8+n]
		b = b[8+n:]
		var number uint16
		if n >= 2 {
			number = binary.LittleEndian.Uint16(v)
		}
		switch element {
		case tagSOPClass:
			c.SOPClass = text(v)
		case tagField:
			c.Field = field(number)
			seen = n == 2
		case tagMessageID:
			c.MessageID = number
		case tagRespondedTo:
			c.RespondedTo = number
		case tagDestination:
			c.Destination = text(v)
		case tagPriority:
			c.Priority = number
		case tagDataSetType:
			c.HasData = number != noDataSet
		case tagStatus:
			c.Status = Status(number)
		case tagComment:
			c.Comment = text(v)
		case tagSOPInstance:
			c.SOPInstance = text(v)
		case tagRemaining:
			c.counts().Remaining = int(number)
		case tagCompleted:
			c.counts().Completed = int(number)
		case tagFailed:
			c.counts().Failed = int(number)
		case tagWarning:
			c.counts().Warning = int(number)
		case tagOriginAE:
			c.OriginAE = text(v)
		case tagOriginID:
			c.OriginID = number
		}
	}
	if !seen {
		return errCommand
	}
	return nil
}

func (c *command) counts() *SubOperations {
	if c.Counts == nil {
		c.Counts = &SubOperations{}
	}
	return c.Counts
}

// append appends the command set with its group length. What a service does
// not have is left out.
func (c *command) append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0)
	reply := c.Field&response != 0
	if c.SOPClass != "" {
		b = appendText(b, tagSOPClass, c.SOPClass, 0)
	}
	b = appendUint16(b, tagField, uint16(c.Field))
	if reply || c.Field == cCancelRQ {
		b = appendUint16(b, tagRespondedTo, c.RespondedTo)
	} else {
		b = appendUint16(b, tagMessageID, c.MessageID)
	}
	if c.Field == cMoveRQ {
		b = appendText(b, tagDestination, c.Destination, ' ')
	}
	if !reply && c.Field != cEchoRQ && c.Field != cCancelRQ {
		b = appendUint16(b, tagPriority, c.Priority)
	}
	kind := uint16(noDataSet)
	if c.HasData {
		kind = 1
	}
	b = appendUint16(b, tagDataSetType, kind)
	if reply {
		b = appendUint16(b, tagStatus, uint16(c.Status))
		if c.Comment != "" {
			b = appendText(b, tagComment, c.Comment[:min(len(c.Comment), 64)], ' ')
		}
	}
	if c.SOPInstance != "" {
		b = appendText(b, tagSOPInstance, c.SOPInstance, 0)
	}
	if n := c.Counts; n != nil && reply {
		if !c.NoRemaining {
			b = appendUint16(b, tagRemaining, saturate(n.Remaining))
		}
		b = appendUint16(b, tagCompleted, saturate(n.Completed))
		b = appendUint16(b, tagFailed, saturate(n.Failed))
		b = appendUint16(b, tagWarning, saturate(n.Warning))
	}
	if c.OriginAE != "" && !reply {
		b = appendText(b, tagOriginAE, c.OriginAE, ' ')
		b = appendUint16(b, tagOriginID, c.OriginID)
	}
	binary.LittleEndian.PutUint32(b[start+8:], uint32(len(b)-start-12))
	return b
}

// saturate fits a count into the 16 bits that the standard has for it.
func saturate(n int) uint16 { return uint16(min(max(n, 0), 0xFFFF)) }

func appendUint16(b []byte, element, v uint16) []byte {
	return append(b, 0, 0, byte(element), byte(element>>8), 2, 0, 0, 0, byte(v), byte(v>>8))
}

func appendText(b []byte, element uint16, v string, pad byte) []byte {
	n := len(v) + len(v)&1
	b = append(b, 0, 0, byte(element), byte(element>>8), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	b = append(b, v...)
	if len(v)&1 == 1 {
		b = append(b, pad)
	}
	return b
}

func text(b []byte) string { return strings.Trim(string(b), " \x00") }

// command reads the next command set into c and returns its presentation
// context id. The data set that it may announce follows.
func (l *link) command(c *command) (byte, error) {
	l.cmd = l.cmd[:0]
	var id byte
	for first := true; ; first = false {
		if err := l.nextPDV(); err != nil {
			return 0, err
		}
		if first {
			id = l.pdv.ContextID
		}
		if !l.pdv.Command() || l.pdv.ContextID != id {
			return 0, l.violation(unexpectedPDV, "a fragment of another message inside a command set")
		}
		if len(l.cmd)+int(l.pdvLeft) > l.lim.Command {
			return 0, l.violation(invalidPDV, "the command set is too long")
		}
		for l.pdvLeft > 0 {
			if _, err := l.in.Peek(1); err != nil {
				return 0, l.lost(err)
			}
			part, _ := l.in.Peek(min(int(l.pdvLeft), l.in.Buffered()))
			l.cmd = append(l.cmd, part...)
			l.in.Discard(len(part))
			l.pdvLeft -= uint32(len(part))
		}
		if l.pdv.Last() {
			break
		}
	}
	if err := c.parse(l.cmd); err != nil {
		return 0, l.violation(invalidPDV, err.Error())
	}
	return id, nil
}
