package store

import (
	"context"
	"iter"
	"time"

	"lumen/access"
)

// Position counts the records of a journal: a record's position is the number
// of records before it. Everything below a position that [Journal.Append]
// returned is durable.
type Position uint64

// Journal is where the archive records who did what, before it happens or is
// acknowledged. It is the archive's write-ahead log as well. Implementations
// are safe for concurrent use.
type Journal interface {
	// Append records events and returns when they are durable, with the position
	// after the last of them. The events of one call are adjacent. An error wraps
	// [ErrJournal], and then none of the events may be relied on; whether a later
	// Append works is the journal's business, nobody else retries.
	Append(ctx context.Context, events ...Event) (Position, error)

	// Post records an event without waiting for it to be durable. It precedes
	// every event of a later Append, which therefore makes it durable.
	Post(Event)

	// Err is nil while the journal can append. It is cheap: it is asked before
	// anything is served on the strength of an earlier record.
	Err() error

	// Replay yields what was recorded from a position on, in order, payloads
	// opened. Kinds that the archive does not know are yielded like the others.
	// An error ends the sequence.
	Replay(ctx context.Context, from Position) iter.Seq2[Recorded, error]
}

// Recorded is an event, and where and since when the journal has it.
type Recorded struct {
	Position Position
	Time     time.Time
	Event    Event
}

// Event is one thing that the journal records. It holds patient data in clear:
// the journal puts tokens in its leaf and seals the rest.
type Event struct {
	Kind      EventKind
	Outcome   Outcome
	Principal access.Principal
	Request   Request

	PatientID         string   // of the one patient concerned, if any
	IssuerOfPatientID string   // Issuer of Patient ID (0010,0021); empty: the tenant's default issuer
	StudyInstanceUID  string   // of the one study concerned, if any
	Instances         []string // SOP Instance UIDs
	Blob              string   // object name, random, safe in clear; empty when no blob is concerned
	Counts            Counts
	Detail            map[string]string // further sealed detail: a query's keys, a reason
}

// Counts says how much an event moved.
type Counts struct {
	Instances, Frames int64
	Bytes             int64
}

// Outcome is how an event ended, with the values of the DICOM
// EventOutcomeIndicator (PS3.15 A.5.2).
type Outcome int

// The outcomes.
const (
	OutcomeSuccess        Outcome = 0
	OutcomeMinorFailure   Outcome = 4  // part of it did not work, or it was refused
	OutcomeSeriousFailure Outcome = 8  // it ended early
	OutcomeMajorFailure   Outcome = 12 // someone has to act
)

// EventKind says what happened.
type EventKind int

// The kinds of event. Association events are posted by scp, start, stop,
// configuration and key events by internal/node, the others by the archive.
const (
	EventAssociationAccepted EventKind = iota + 1
	EventAssociationRejected
	EventAssociationReleased
	EventAssociationAborted
	EventStored        // Blob is in the archive from here on
	EventDuplicate     // the same content was there already, nothing was kept
	EventQuarantined   // security alert: other content under a known SOP Instance UID; Blob is kept aside
	EventRefused       // an instance was not taken
	EventQuery         // Detail holds the query
	EventRetrieveBegin // data of the study may leave to Request.Destination or Request.Peer
	EventRetrieveEnd   // Counts of what left
	EventDenied        // the principal lacks the right
	EventRecovered     // Blob was complete but unrecorded after a crash and is in the archive from here on
	EventSwept         // Blob belonged to nothing and was removed
	EventRebuilt       // the index was made again from the blobs
	EventStart
	EventStop
	EventJournalRead
	EventConfig
	EventKey
	EventDeleted
	EventExport
	EventSecurityAlert // a listener that is configured to be unsafe, and its like
	EventUnstored      // Blob was recorded as stored and is not there: a crash came first, nobody was told that it is
)

var eventNames = [...]string{
	EventAssociationAccepted: "association accepted",
	EventAssociationRejected: "association rejected",
	EventAssociationReleased: "association released",
	EventAssociationAborted:  "association aborted",
	EventStored:              "stored",
	EventDuplicate:           "duplicate",
	EventQuarantined:         "quarantined",
	EventRefused:             "refused",
	EventQuery:               "query",
	EventRetrieveBegin:       "retrieve begin",
	EventRetrieveEnd:         "retrieve end",
	EventDenied:              "denied",
	EventRecovered:           "recovered",
	EventSwept:               "swept",
	EventRebuilt:             "index rebuilt",
	EventStart:               "start",
	EventStop:                "stop",
	EventJournalRead:         "journal read",
	EventConfig:              "configuration",
	EventKey:                 "key",
	EventDeleted:             "deleted",
	EventExport:              "export",
	EventSecurityAlert:       "security alert",
	EventUnstored:            "unstored",
}

// String names the kind in lower-case words.
func (k EventKind) String() string {
	if k <= 0 || int(k) >= len(eventNames) {
		return "unknown"
	}
	return eventNames[k]
}

// Request says through what an archive call came. It is recorded, never
// decided upon: rights come from the principal alone.
type Request struct {
	ID          string // association or request id, random
	Protocol    string // "C-STORE", "C-FIND", "C-MOVE", "QIDO-RS", "WADO-RS", "STOW-RS"
	Peer        string // network address of the peer, with or without its port
	CallingAE   string // as on the wire; empty for HTTP
	Destination string // C-MOVE: the AE title that the data goes to
}
