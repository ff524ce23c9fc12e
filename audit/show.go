package audit

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Format is how entries are shown.
type Format string

// The formats.
const (
	FormatText  Format = "text"  // one line an entry, for people
	FormatJSON  Format = "json"  // one object a line, everything that there is
	FormatDICOM Format = "dicom" // one audit message a line, PS3.15 A.5
	FormatFHIR  Format = "fhir"  // one AuditEvent resource a line, FHIR R4
)

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatText, FormatJSON, FormatDICOM, FormatFHIR:
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: use text, json, dicom or fhir", s)
}

// Show writes entries one a line. Where an entry's payload is opened names and
// UIDs are shown, otherwise only what the leaf says. source names the node and
// journal that recorded them.
func Show(w io.Writer, format Format, source string, entries iter.Seq2[Entry, error]) error {
	var line []byte
	for e, err := range entries {
		if err != nil {
			return err
		}
		switch line = line[:0]; format {
		case FormatText:
			line, err = appendText(line, e)
		case FormatJSON:
			line, err = appendJSON(line, e)
		case FormatDICOM:
			line, err = AppendDICOM(line, source, e)
		case FormatFHIR:
			line, err = AppendFHIR(line, source, e)
		default:
			return fmt.Errorf("unknown format %q", format)
		}
		if err != nil {
			return fmt.Errorf("show record %d: %w", e.Index, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// payload parses what was opened; nil when nothing was.
func (e Entry) payload() (*Payload, error) {
	if e.Payload == nil {
		return nil, nil
	}
	p, err := ParsePayload(e.Payload)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// appendText renders an entry for people. Values from the payload are quoted
// where they hold anything but plain characters: they came from the network.
func appendText(b []byte, e Entry) ([]byte, error) {
	p, err := e.payload()
	if err != nil {
		return b, err
	}
	l := e.Leaf
	b = fmt.Appendf(b, "%d %s %s", e.Index, l.Time.Format("2006-01-02T15:04:05.000000Z"), l.Code)
	if l.Outcome != Success {
		b = fmt.Appendf(b, " [%s]", l.Outcome)
	}
	put := func(name, value string) {
		if value != "" {
			b = append(b, ' ')
			b = append(append(b, name...), '=')
			b = append(b, plain(value)...)
		}
	}
	number := func(name string, n int64) {
		if n != 0 {
			put(name, strconv.FormatInt(n, 10))
		}
	}
	if p == nil {
		put("actor", shortToken(l.Actor))
		put("patient", shortToken(l.Patient))
		put("study", shortToken(l.Study))
	} else {
		put("actor", p.Actor)
		put("peer", p.Peer)
		put("protocol", p.Protocol)
		put("destination", p.Destination)
		put("patient", p.PatientID)
		put("name", p.PatientName)
		put("study", p.StudyUID)
	}
	number("instances", l.Instances)
	number("frames", l.Frames)
	number("bytes", l.Bytes)
	put("request", l.Request)
	put("object", l.Object)
	if p != nil {
		put("uids", strings.Join(p.InstanceUIDs, ","))
		for _, k := range slices.Sorted(maps.Keys(p.Detail)) {
			put(plain(k), p.Detail[k])
		}
	}
	return b, nil
}

// shortToken is enough of a token to recognise it.
func shortToken(t Token) string {
	if t == (Token{}) {
		return ""
	}
	return "#" + hex.EncodeToString(t[:6])
}

func plain(s string) string {
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == '\\' || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// entryJSON is an entry as JSON: the leaf's fields, and the payload's when it
// is opened.
type entryJSON struct {
	Index     uint64   `json:"index"`
	Time      string   `json:"time"`
	Code      Code     `json:"code"`
	Outcome   Outcome  `json:"outcome"`
	Actor     Token    `json:"actor_token,omitzero"`
	Patient   Token    `json:"patient_token,omitzero"`
	Study     Token    `json:"study_token,omitzero"`
	Instances int64    `json:"instances,omitempty"`
	Frames    int64    `json:"frames,omitempty"`
	Bytes     int64    `json:"bytes,omitempty"`
	Request   string   `json:"request,omitempty"`
	Object    string   `json:"object,omitempty"`
	LeafHash  string   `json:"leaf_hash"`
	Sealed    string   `json:"payload_sha256,omitempty"`
	Payload   *Payload `json:"payload,omitempty"`
}

func appendJSON(b []byte, e Entry) ([]byte, error) {
	p, err := e.payload()
	if err != nil {
		return b, err
	}
	l := e.Leaf
	j := entryJSON{
		Index: e.Index, Time: l.Time.Format(time.RFC3339Nano), Code: l.Code, Outcome: l.Outcome,
		Actor: l.Actor, Patient: l.Patient, Study: l.Study, Instances: l.Instances, Frames: l.Frames, Bytes: l.Bytes,
		Request: l.Request, Object: l.Object, LeafHash: e.Hash().String(), Payload: p,
	}
	if l.Payload != [32]byte{} {
		j.Sealed = hex.EncodeToString(l.Payload[:])
	}
	line, err := json.Marshal(j)
	return append(b, line...), err
}
