package audit

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The audit message of PS3.15 A.5.1, as far as it is used here. The order of
// the fields is the order of the schema.
type auditMessage struct {
	XMLName      xml.Name         `xml:"AuditMessage"`
	Event        xmlEvent         `xml:"EventIdentification"`
	Participants []xmlParticipant `xml:"ActiveParticipant"`
	Source       xmlSource        `xml:"AuditSourceIdentification"`
	Objects      []xmlObject      `xml:"ParticipantObjectIdentification"`
}

type xmlEvent struct {
	Action   string    `xml:"EventActionCode,attr"`
	DateTime string    `xml:"EventDateTime,attr"`
	Outcome  int       `xml:"EventOutcomeIndicator,attr"`
	ID       xmlCoded  `xml:"EventID"`
	Type     *xmlCoded `xml:"EventTypeCode"`
	Why      string    `xml:"EventOutcomeDescription,omitempty"`
}

type xmlCoded struct {
	Code   string `xml:"csd-code,attr"`
	System string `xml:"codeSystemName,attr"`
	Text   string `xml:"originalText,attr"`
}

type xmlParticipant struct {
	UserID     string    `xml:"UserID,attr"`
	Requestor  bool      `xml:"UserIsRequestor,attr"`
	Access     string    `xml:"NetworkAccessPointID,attr,omitempty"`
	AccessType string    `xml:"NetworkAccessPointTypeCode,attr,omitempty"`
	Role       *xmlCoded `xml:"RoleIDCode"`
}

type xmlSource struct {
	ID   string        `xml:"AuditSourceID,attr"`
	Type xmlSourceType `xml:"AuditSourceTypeCode"`
}

type xmlSourceType struct {
	Code string `xml:"csd-code,attr"`
}

type xmlObject struct {
	ID          string          `xml:"ParticipantObjectID,attr"`
	Type        string          `xml:"ParticipantObjectTypeCode,attr"`
	Role        string          `xml:"ParticipantObjectTypeCodeRole,attr"`
	IDType      xmlCoded        `xml:"ParticipantObjectIDTypeCode"`
	Name        *string         `xml:"ParticipantObjectName"`
	Query       *string         `xml:"ParticipantObjectQuery"`
	Details     []xmlDetail     `xml:"ParticipantObjectDetail"`
	Description *xmlDescription `xml:"ParticipantObjectDescription"`
}

type xmlDetail struct {
	Type  string `xml:"type,attr"`
	Value string `xml:"value,attr"` // base64
}

type xmlDescription struct {
	SOPClass xmlSOPClass `xml:"SOPClass"`
}

type xmlSOPClass struct {
	Number    string        `xml:"NumberOfInstances,attr"`
	Instances []xmlInstance `xml:"Instance"`
}

type xmlInstance struct {
	UID string `xml:"UID,attr"`
}

// The roles of PS3.16 CID 402.
var (
	roleApplication = dcm("110150", "Application")
	roleDestination = dcm("110152", "Destination Role ID")
	roleSource      = dcm("110153", "Source Role ID")
)

// participant is one of the parties of an event, for both renderings.
type participant struct {
	id, address string
	requestor   bool
	role        *coded
}

// participants are the actor, the node and, for C-MOVE, the destination. Where
// the payload is sealed the tokens stand for the names.
func participants(source string, l Leaf, p *Payload) []participant {
	actor, node := participant{id: "#" + l.Actor.String(), requestor: true}, participant{id: source}
	if p != nil {
		actor.id, actor.address = p.Actor, host(p.Peer)
	}
	var third []participant
	switch code := l.Code; {
	case incoming(code):
		actor.role, node.role = &roleSource, &roleDestination
	case code == RetrieveBegin || code == RetrieveEnd || code == Exported:
		node.role = &roleSource
		if p != nil && p.Destination != "" && p.Destination != p.Actor {
			third = append(third, participant{id: p.Destination, role: &roleDestination})
		} else {
			actor.role = &roleDestination
		}
	case code == Query:
		actor.role, node.role = &roleSource, &roleDestination
	case code == Start || code == Stop:
		node.role = &roleApplication
	}
	if actor.id == "" || actor.id == "#-" {
		node.requestor = true
		return append([]participant{node}, third...)
	}
	return append([]participant{actor, node}, third...)
}

// host is an address without its port.
func host(peer string) string {
	if h, _, err := net.SplitHostPort(peer); err == nil {
		return h
	}
	return peer
}

// AppendDICOM appends an entry as an audit message in XML (PS3.15 A.5.1) in one
// line. source is the AuditSourceID. Without an opened payload tokens stand in
// place of names and identifiers, marked by a leading #.
func AppendDICOM(b []byte, source string, e Entry) ([]byte, error) {
	p, err := e.payload()
	if err != nil {
		return b, err
	}
	l := e.Leaf
	m := meaningOf(l.Code)
	msg := auditMessage{
		Event: xmlEvent{Action: m.action, DateTime: l.Time.Format(time.RFC3339Nano), Outcome: dicomOutcome(l.Outcome),
			ID: *xmlCode(&m.event)},
		Source:  xmlSource{ID: source, Type: xmlSourceType{"4"}},
		Objects: xmlObjects(source, e, p),
	}
	if m.kind != (coded{}) {
		msg.Event.Type = xmlCode(&m.kind)
	}
	if l.Outcome != Success {
		msg.Event.Why = l.Outcome.String()
		if p != nil && p.Detail["reason"] != "" {
			msg.Event.Why = p.Detail["reason"]
		}
	}
	for _, a := range participants(source, l, p) {
		x := xmlParticipant{UserID: a.id, Requestor: a.requestor, Role: xmlCode(a.role)}
		if a.address != "" {
			x.Access, x.AccessType = a.address, "1"
			if _, err := netip.ParseAddr(a.address); err == nil {
				x.AccessType = "2"
			}
		}
		msg.Participants = append(msg.Participants, x)
	}
	out, err := xml.Marshal(msg)
	if err != nil {
		return b, fmt.Errorf("encode audit message: %w", err)
	}
	return append(b, out...), nil
}

// dicomOutcome is one of the four that the schema admits.
func dicomOutcome(o Outcome) int {
	switch {
	case o == Success:
		return 0
	case o <= MinorFailure:
		return 4
	case o <= SeriousFailure:
		return 8
	}
	return 12
}

func xmlCode(c *coded) *xmlCoded {
	if c == nil {
		return nil
	}
	return &xmlCoded{c.code, c.scheme, c.meaning}
}

// xmlObjects are the study, the patient, the query, and the record itself.
func xmlObjects(source string, e Entry, p *Payload) []xmlObject {
	l := e.Leaf
	var out []xmlObject
	add := func(o xmlObject, id coded, name string) {
		o.IDType = *xmlCode(&id)
		if o.Query == nil {
			o.Name = &name
		}
		out = append(out, o)
	}
	study, patient, name := tokenID(l.Study), tokenID(l.Patient), ""
	if p != nil {
		study, patient, name = p.StudyUID, p.PatientID, p.PatientName
	}
	if study != "" {
		o := xmlObject{ID: study, Type: "2", Role: "3", Description: &xmlDescription{SOPClass: xmlSOPClass{
			Number: strconv.FormatInt(l.Instances, 10)}}}
		if p != nil {
			for _, uid := range p.InstanceUIDs {
				o.Description.SOPClass.Instances = append(o.Description.SOPClass.Instances, xmlInstance{uid})
			}
		}
		add(o, dcm("110180", "Study Instance UID"), "")
	}
	if patient != "" || name != "" {
		add(xmlObject{ID: patient, Type: "1", Role: "1"}, coded{"2", "RFC-3881", "Patient Number"}, name)
	}
	if p != nil && l.Code == Query {
		query := base64.StdEncoding.EncodeToString([]byte(queryText(p)))
		add(xmlObject{ID: p.Protocol, Type: "2", Role: "24", Query: &query}, coded{"10", "RFC-3881", "Search Criteria"}, "")
	}
	record := xmlObject{ID: source + "#" + strconv.FormatUint(e.Index, 10), Type: "2", Role: "13"}
	detail := func(k, v string) {
		if v != "" {
			record.Details = append(record.Details, xmlDetail{k, base64.StdEncoding.EncodeToString([]byte(v))})
		}
	}
	for _, kv := range details(e, p) {
		detail(kv[0], kv[1])
	}
	add(record, lumen("record", "Journal Record"), string(l.Code))
	return out
}

func tokenID(t Token) string {
	if t == (Token{}) {
		return ""
	}
	return "#" + t.String()
}

// queryText is a query's keys, one a line.
func queryText(p *Payload) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p.Detail)) {
		fmt.Fprintf(&b, "%s=%s\n", k, p.Detail[k])
	}
	return b.String()
}

// details are the facts of a record that have no place of their own in the
// renderings, so that nothing is lost.
func details(e Entry, p *Payload) [][2]string {
	l := e.Leaf
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	out := [][2]string{
		{"leaf hash", e.Hash().String()}, {"request", l.Request}, {"object", l.Object},
		{"instances", number(l.Instances)}, {"frames", number(l.Frames)}, {"bytes", number(l.Bytes)},
	}
	if p != nil {
		out = append(out, [2]string{"protocol", p.Protocol})
		if p.StudyUID == "" {
			out = append(out, [2]string{"instance uids", strings.Join(p.InstanceUIDs, "\\")})
		}
		if l.Code == Query {
			return out // its details are the query
		}
		for _, k := range slices.Sorted(maps.Keys(p.Detail)) {
			out = append(out, [2]string{"detail " + k, p.Detail[k]})
		}
	}
	return out
}
