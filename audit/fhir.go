package audit

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The AuditEvent resource of FHIR R4 (4.0.1), as far as it is used here.
type auditEvent struct {
	ResourceType string       `json:"resourceType"`
	ID           string       `json:"id"`
	Type         fhirCoding   `json:"type"`
	Subtype      []fhirCoding `json:"subtype,omitempty"`
	Action       string       `json:"action"`
	Recorded     string       `json:"recorded"`
	Outcome      string       `json:"outcome"`
	OutcomeDesc  string       `json:"outcomeDesc,omitempty"`
	Agent        []fhirAgent  `json:"agent"`
	Source       fhirSource   `json:"source"`
	Entity       []fhirEntity `json:"entity,omitempty"`
}

type fhirCoding struct {
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

type fhirConcept struct {
	Coding []fhirCoding `json:"coding"`
}

type fhirReference struct {
	Identifier *fhirIdentifier `json:"identifier,omitempty"`
	Display    string          `json:"display,omitempty"`
}

type fhirIdentifier struct {
	System string `json:"system,omitempty"`
	Value  string `json:"value"`
}

type fhirAgent struct {
	Type      *fhirConcept  `json:"type,omitempty"`
	Who       fhirReference `json:"who"`
	Requestor bool          `json:"requestor"`
	Network   *fhirNetwork  `json:"network,omitempty"`
}

type fhirNetwork struct {
	Address string `json:"address"`
	Type    string `json:"type"` // 1 machine name, 2 IP address
}

type fhirSource struct {
	Observer fhirReference `json:"observer"`
	Type     []fhirCoding  `json:"type"`
}

type fhirEntity struct {
	What   *fhirReference `json:"what,omitempty"`
	Type   fhirCoding     `json:"type"`
	Role   *fhirCoding    `json:"role,omitempty"`
	Name   string         `json:"name,omitempty"`
	Query  string         `json:"query,omitempty"` // base64
	Detail []fhirDetail   `json:"detail,omitempty"`
}

type fhirDetail struct {
	Type  string `json:"type"`
	Value string `json:"valueString"`
}

// The code systems that FHIR gives to what DICOM names by a scheme.
const (
	fhirDCM        = "http://dicom.nema.org/resources/ontology/DCM"
	fhirLumen      = "urn:lumen:audit"
	fhirEntityType = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	fhirObjectRole = "http://terminology.hl7.org/CodeSystem/object-role"
	fhirSourceType = "http://terminology.hl7.org/CodeSystem/security-source-type"
	fhirUID        = "urn:dicom:uid"
	fhirToken      = "urn:lumen:audit:token"
)

func (c coded) fhir() fhirCoding {
	system := fhirLumen
	if c.scheme == "DCM" {
		system = fhirDCM
	}
	return fhirCoding{system, c.code, c.meaning}
}

// AppendFHIR appends an entry as an AuditEvent resource of FHIR R4 in one line.
// source identifies the observer. Without an opened payload tokens stand in
// place of identifiers, under a system of their own.
func AppendFHIR(b []byte, source string, e Entry) ([]byte, error) {
	p, err := e.payload()
	if err != nil {
		return b, err
	}
	l := e.Leaf
	m := meaningOf(l.Code)
	hash := e.Hash()
	ev := auditEvent{
		ResourceType: "AuditEvent",
		ID:           strconv.FormatUint(e.Index, 10) + "-" + fmt.Sprintf("%x", hash[:8]),
		Type:         m.event.fhir(), Action: m.action, Recorded: l.Time.Format(time.RFC3339Nano),
		Outcome: strconv.Itoa(dicomOutcome(l.Outcome)),
		Source: fhirSource{Observer: fhirReference{Identifier: &fhirIdentifier{Value: source}, Display: source},
			Type: []fhirCoding{{fhirSourceType, "4", "Application Server"}}},
		Entity: fhirEntities(e, p),
	}
	if m.kind != (coded{}) {
		ev.Subtype = []fhirCoding{m.kind.fhir()}
	}
	if l.Outcome != Success {
		ev.OutcomeDesc = l.Outcome.String()
		if p != nil && p.Detail["reason"] != "" {
			ev.OutcomeDesc = p.Detail["reason"]
		}
	}
	for _, a := range participants(source, l, p) {
		agent := fhirAgent{Who: fhirReference{Identifier: &fhirIdentifier{Value: a.id}}, Requestor: a.requestor}
		if a.role != nil {
			agent.Type = &fhirConcept{[]fhirCoding{a.role.fhir()}}
		}
		if a.address != "" {
			agent.Network = &fhirNetwork{a.address, "1"}
			if _, err := netip.ParseAddr(a.address); err == nil {
				agent.Network.Type = "2"
			}
		}
		ev.Agent = append(ev.Agent, agent)
	}
	out, err := json.Marshal(ev)
	return append(b, out...), err
}

func fhirEntities(e Entry, p *Payload) []fhirEntity {
	l := e.Leaf
	person := fhirCoding{fhirEntityType, "1", "Person"}
	object := fhirCoding{fhirEntityType, "2", "System Object"}
	role := func(code, display string) *fhirCoding { return &fhirCoding{fhirObjectRole, code, display} }
	var out []fhirEntity

	study, patient := &fhirIdentifier{fhirToken, l.Study.String()}, &fhirIdentifier{fhirToken, l.Patient.String()}
	hasStudy, hasPatient, name := l.Study != Token{}, l.Patient != Token{}, ""
	if p != nil {
		study, hasStudy = &fhirIdentifier{fhirUID, "urn:oid:" + p.StudyUID}, p.StudyUID != ""
		patient, name = &fhirIdentifier{Value: p.PatientID}, p.PatientName
		hasPatient = p.PatientID != "" || name != ""
	}
	if hasStudy {
		s := fhirEntity{What: &fhirReference{Identifier: study}, Type: object, Role: role("3", "Report")}
		if p != nil {
			for _, uid := range p.InstanceUIDs {
				s.Detail = append(s.Detail, fhirDetail{"SOP Instance UID", uid})
			}
		}
		out = append(out, s)
	}
	if hasPatient {
		s := fhirEntity{What: &fhirReference{Identifier: patient, Display: name}, Type: person, Role: role("1", "Patient")}
		if patient.Value == "" {
			s.What.Identifier = nil
		}
		out = append(out, s)
	}
	if p != nil && l.Code == Query {
		query := base64.StdEncoding.EncodeToString([]byte(queryText(p)))
		out = append(out, fhirEntity{Type: object, Role: role("24", "Query"), Query: query})
	}
	record := fhirEntity{What: &fhirReference{Identifier: &fhirIdentifier{fhirLumen, strconv.FormatUint(e.Index, 10)}},
		Type: object, Role: role("13", "Security Resource"), Name: string(l.Code)}
	for _, kv := range details(e, p) {
		if kv[1] != "" {
			record.Detail = append(record.Detail, fhirDetail{kv[0], kv[1]})
		}
	}
	return append(out, record)
}
