package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The conditions that callers branch on; they are wrapped.
var (
	// ErrFull says that there is no room on the disk. The log works again when there is.
	ErrFull = errors.New("no space for the journal")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrLocked says that another process appends to this journal.
	ErrLocked = errors.New("journal is in use by another process")
	// ErrInvalid says that a record does not fit the format: it is a mistake of
	// the caller, and the log is well.
	ErrInvalid = errors.New("not a record that the journal can hold")
	// ErrTampered says that the journal's files contradict each other or their
	// signatures.
	ErrTampered = errors.New("journal does not agree with its checkpoints")
)

// Record is one thing to be recorded. Actor, Patient and Study are given in
// clear and leave only tokens; whoever is to know them later needs them in the
// payload as well.
type Record struct {
	Time                     time.Time // zero: now
	Code                     Code
	Outcome                  Outcome
	Actor, Patient, Study    string // empty: none
	Request                  string // association or request id: [0-9A-Za-z_-], at most 64
	Object                   string // random object name: as Request, and '/', at most 160
	Instances, Frames, Bytes int64
	Payload                  []byte // sealed; see [Payload.Encode]
}

// item is a record that is ready to be written.
type item struct {
	body []byte // of the entry frame
	hash tlog.Hash
}

// encode makes the frame body of a record. It runs in the caller's goroutine:
// what is expensive is done in parallel.
func (l *Log) encode(r Record) (item, error) {
	leaf := Leaf{
		Outcome: r.Outcome, Time: r.Time, Code: r.Code,
		Actor: l.token("actor", r.Actor), Patient: l.token("patient", r.Patient), Study: l.token("study", r.Study),
		Instances: r.Instances, Frames: r.Frames, Bytes: r.Bytes,
		Request: r.Request, Object: r.Object,
	}
	if leaf.Time.IsZero() {
		leaf.Time = l.cfg.Clock.Now()
	}
	leaf.Time = leaf.Time.UTC().Round(0)
	var sealed []byte
	if len(r.Payload) > 0 {
		if l.cfg.Seal == nil {
			return item{}, invalid("payload without a sealer")
		}
		var err error
		if sealed, err = l.cfg.Seal(Month(leaf.Time), r.Payload); err != nil {
			return item{}, err
		}
		leaf.Payload = sha256.Sum256(sealed)
	}
	body := make([]byte, 2, 2+leafFixed+len(r.Request)+len(r.Object)+len(sealed))
	body, err := leaf.AppendBinary(body)
	if err != nil {
		return item{}, err
	}
	binary.BigEndian.PutUint16(body, uint16(len(body)-2))
	hash := tlog.RecordHash(body[2:])
	body = append(body, sealed...)
	if len(body) > l.maxBody() {
		return item{}, invalid("payload too large")
	}
	return item{body, hash}, nil
}

func (l *Log) token(kind, value string) Token {
	if value == "" {
		return Token{}
	}
	return l.cfg.Token(kind, value)
}

// Month names the payload key of a time: "2006-01" in UTC.
func Month(t time.Time) string { return t.UTC().Format("2006-01") }

// splitEntry takes the body of an entry frame apart.
func splitEntry(body []byte) (leaf, sealed []byte, err error) {
	if len(body) < 2 {
		return nil, nil, errors.New("entry is too short")
	}
	n := int(binary.BigEndian.Uint16(body))
	if n > len(body)-2 {
		return nil, nil, errors.New("leaf is longer than its entry")
	}
	return body[2 : 2+n], body[2+n:], nil
}

// Entry is one record as the journal has it.
type Entry struct {
	Index   uint64 // leaves before it
	Leaf    Leaf
	Encoded []byte // the leaf's bytes: what the tree hashes
	Sealed  []byte // the sealed payload; empty without one
	Payload []byte // opened; nil where there is nothing to open it with
}

// Hash is the entry's leaf hash (RFC 6962, section 2.1).
func (e Entry) Hash() tlog.Hash { return tlog.RecordHash(e.Encoded) }

// parseEntry decodes an entry frame into memory of its own.
func parseEntry(index uint64, body []byte) (Entry, error) {
	body = append([]byte(nil), body...)
	encoded, sealed, err := splitEntry(body)
	if err != nil {
		return Entry{}, err
	}
	leaf, err := ParseLeaf(encoded)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Index: index, Leaf: leaf, Encoded: encoded, Sealed: sealed}, nil
}
