package dimse

import (
	"errors"
	"fmt"
)

// Status is the outcome of an operation as it goes over the wire, element
// (0000,0900) (PS3.7 annex C).
type Status uint16

// The statuses that Lumen sends or tells apart. Ranges of the standard (A7xx,
// A9xx, Cxxx) have the one value that we send.
const (
	StatusSuccess                    Status = 0x0000
	StatusCancel                     Status = 0xFE00
	StatusPending                    Status = 0xFF00
	StatusPendingUnsupportedKeys     Status = 0xFF01
	StatusSOPClassNotSupported       Status = 0x0122
	StatusNotAuthorized              Status = 0x0124
	StatusUnrecognizedOperation      Status = 0x0211
	StatusOutOfResources             Status = 0xA700
	StatusCannotCountMatches         Status = 0xA701
	StatusSubOperationsImpossible    Status = 0xA702
	StatusDestinationUnknown         Status = 0xA801
	StatusDataSetDoesNotMatch        Status = 0xA900
	StatusIdentifierDoesNotMatch     Status = 0xA900
	StatusSomeFailed                 Status = 0xB000
	StatusCoercion                   Status = 0xB000
	StatusElementsDiscarded          Status = 0xB006
	StatusDataSetDoesNotMatchWarning Status = 0xB007
	StatusCannotUnderstand           Status = 0xC000
	StatusUnableToProcess            Status = 0xC000
	StatusInternal                   Status = 0xC100
	StatusConflictRefused            Status = 0xC101
)

// Class is what a status means for whoever gets it (PS3.7 annex C).
type Class string

// The classes.
const (
	ClassSuccess Class = "success"
	ClassWarning Class = "warning"
	ClassFailure Class = "failure"
	ClassCancel  Class = "cancel"
	ClassPending Class = "pending"
)

// StatusText describes one status of one or more services.
type StatusText struct {
	Status   Status
	Mask     Status // which bits of a received status are compared
	Services string // message services that may send it
	Class    Class
	Name     string // the standard's words, or ours in its private range
	Clause   string
}

// Statuses is the table that the conformance statement is generated from, the
// most specific rows first.
func Statuses() []StatusText { return append([]StatusText(nil), statuses[:]...) }

var statuses = [...]StatusText{
	{0x0000, 0xFFFF, "all", ClassSuccess, "success", "PS3.7 C.1"},
	{0x0122, 0xFFFF, "all", ClassFailure, "refused: SOP class not supported", "PS3.7 C.5"},
	{0x0124, 0xFFFF, "all", ClassFailure, "refused: not authorized", "PS3.7 C.5"},
	{0x0211, 0xFFFF, "all", ClassFailure, "refused: unrecognized operation", "PS3.7 C.5"},
	{0xA700, 0xFFFF, "C-STORE", ClassFailure, "refused: out of resources", "PS3.4 table B.2-1"},
	{0xA700, 0xFFFF, "C-FIND", ClassFailure, "refused: out of resources", "PS3.4 table C.4-1"},
	{0xA701, 0xFFFF, "C-MOVE C-GET", ClassFailure, "refused: out of resources, unable to calculate number of matches", "PS3.4 tables C.4-2, C.4-3"},
	{0xA702, 0xFFFF, "C-MOVE C-GET", ClassFailure, "refused: out of resources, unable to perform sub-operations", "PS3.4 tables C.4-2, C.4-3"},
	{0xA801, 0xFFFF, "C-MOVE", ClassFailure, "refused: move destination unknown", "PS3.4 table C.4-2"},
	{0xA700, 0xFF00, "all", ClassFailure, "refused: out of resources", "PS3.4 table B.2-1"},
	{0xA900, 0xFF00, "C-STORE", ClassFailure, "error: data set does not match SOP class", "PS3.4 table B.2-1"},
	{0xA900, 0xFF00, "C-FIND C-MOVE C-GET", ClassFailure, "failed: identifier does not match SOP class", "PS3.4 tables C.4-1 to C.4-3"},
	{0xB000, 0xFFFF, "C-STORE", ClassWarning, "coercion of data elements", "PS3.4 table B.2-1"},
	{0xB000, 0xFFFF, "C-MOVE C-GET", ClassWarning, "sub-operations complete, one or more failures", "PS3.4 tables C.4-2, C.4-3"},
	{0xB006, 0xFFFF, "C-STORE", ClassWarning, "elements discarded", "PS3.4 table B.2-1"},
	{0xB007, 0xFFFF, "C-STORE", ClassWarning, "data set does not match SOP class", "PS3.4 table B.2-1"},
	{0xC100, 0xFFFF, "C-STORE C-FIND C-MOVE C-GET", ClassFailure, "failed: internal error, the log has the cause", "PS3.7 C.5"},
	{0xC101, 0xFFFF, "C-STORE", ClassFailure, "error: another object with this SOP Instance UID is stored, conflict refused", "PS3.4 table B.2-1"},
	{0xC000, 0xF000, "C-STORE", ClassFailure, "error: cannot understand", "PS3.4 table B.2-1"},
	{0xC000, 0xF000, "C-FIND C-MOVE C-GET", ClassFailure, "failed: unable to process", "PS3.4 tables C.4-1 to C.4-3"},
	{0xFE00, 0xFFFF, "C-FIND C-MOVE C-GET", ClassCancel, "cancelled by a C-CANCEL request", "PS3.7 C.3"},
	{0xFF00, 0xFFFF, "C-FIND C-MOVE C-GET", ClassPending, "pending", "PS3.7 C.2"},
	{0xFF01, 0xFFFF, "C-FIND", ClassPending, "pending, some optional keys were not supported", "PS3.4 table C.4-1"},
}

// Class tells the class of any status, also of one that is in no table: PS3.7
// annex C gives ranges.
func (s Status) Class() Class {
	switch {
	case s == StatusSuccess:
		return ClassSuccess
	case s == StatusCancel:
		return ClassCancel
	case s == StatusPending, s == StatusPendingUnsupportedKeys:
		return ClassPending
	case s == 0x0001, s == 0x0107, s == 0x0116, s&0xF000 == 0xB000:
		return ClassWarning
	}
	return ClassFailure
}

// String gives the four hexadecimal digits and, where there is one meaning,
// the class.
func (s Status) String() string { return fmt.Sprintf("%04X (%s)", uint16(s), s.Class()) }

// StatusError is an error that decides what goes on the wire. Comment is sent
// as Error Comment (0000,0902), cut to 64 characters, and must not hold
// patient data; Err is the cause, for the log.
type StatusError struct {
	Status  Status
	Comment string
	Err     error
}

func (e *StatusError) Error() string {
	text := "status " + e.Status.String()
	if e.Comment != "" {
		text += ": " + e.Comment
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *StatusError) Unwrap() error { return e.Err }

// ErrCancelled is the cause of a handler's context after a C-CANCEL.
var ErrCancelled = errors.New("cancelled by the peer")

// statusOf decides the final status for what a handler returned.
func statusOf(err error) (Status, string) {
	var status *StatusError
	switch {
	case err == nil:
		return StatusSuccess, ""
	case errors.As(err, &status):
		return status.Status, status.Comment
	case errors.Is(err, ErrCancelled), errors.Is(err, ErrReleased): // who releases does not wait for the rest
		return StatusCancel, ""
	}
	return StatusInternal, "internal error"
}
