package audit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"lumen/audit"
)

// shown renders the golden records in a format.
func shown(t *testing.T, format audit.Format, opened bool) []string {
	t.Helper()
	h, _ := memHome(t)
	l := h.open(t)
	if _, err := l.Append(t.Context(), goldenRecords()...); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	open := openPayload
	if !opened {
		open = nil
	}
	var b bytes.Buffer
	if err := audit.Show(&b, format, "lumen.test", openReader(t, h).Entries(t.Context(), 0, open)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != len(goldenRecords()) {
		t.Fatalf("%d lines for %d records:\n%s", len(lines), len(goldenRecords()), b.String())
	}
	return lines
}

var formats = []audit.Format{audit.FormatText, audit.FormatJSON, audit.FormatDICOM, audit.FormatFHIR}

func TestSealedShowsNoPatientData(t *testing.T) {
	for _, f := range formats {
		all := strings.Join(shown(t, f, false), "\n")
		for _, secret := range []string{"PAT-0815", "ller", "1.2.826", "TOWER", "WORKSTATION", "192.0.2", "EVIL"} {
			if strings.Contains(all, secret) {
				t.Errorf("%s shows %q without the payload", f, secret)
			}
		}
	}
}

func TestOpenedShowsEverything(t *testing.T) {
	for _, f := range formats {
		lines := shown(t, f, true)
		for _, part := range []string{"PAT-0815", "Müller^Käthe", "1.2.826.0.1.3680043.10.99.1.1", "TOWER1", "192.0.2.7"} {
			if !strings.Contains(lines[1], part) {
				t.Errorf("%s lacks %q: %s", f, part, lines[1])
			}
		}
		if strings.ContainsAny(strings.Join(lines, ""), "\x1b") {
			t.Errorf("%s lets an escape sequence through", f)
		}
	}
}

// schema is PS3.15 A.5.1 as far as AppendDICOM goes: for each element the
// attributes that it must and may have, and its children in their order.
var schema = map[string]struct {
	must, may []string
	children  []string
}{
	"AuditMessage": {nil, nil, []string{"EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification"}},
	"EventIdentification": {[]string{"EventActionCode", "EventDateTime", "EventOutcomeIndicator"}, nil,
		[]string{"EventID", "EventTypeCode", "EventOutcomeDescription"}},
	"EventID":                   {[]string{"csd-code", "codeSystemName", "originalText"}, nil, nil},
	"EventTypeCode":             {[]string{"csd-code", "codeSystemName", "originalText"}, nil, nil},
	"EventOutcomeDescription":   {},
	"ActiveParticipant":         {[]string{"UserID", "UserIsRequestor"}, []string{"NetworkAccessPointID", "NetworkAccessPointTypeCode"}, []string{"RoleIDCode"}},
	"RoleIDCode":                {[]string{"csd-code", "codeSystemName", "originalText"}, nil, nil},
	"AuditSourceIdentification": {[]string{"AuditSourceID"}, nil, []string{"AuditSourceTypeCode"}},
	"AuditSourceTypeCode":       {[]string{"csd-code"}, nil, nil},
	"ParticipantObjectIdentification": {[]string{"ParticipantObjectID", "ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole"}, nil,
		[]string{"ParticipantObjectIDTypeCode", "ParticipantObjectName", "ParticipantObjectQuery", "ParticipantObjectDetail", "ParticipantObjectDescription"}},
	"ParticipantObjectIDTypeCode":  {[]string{"csd-code", "codeSystemName", "originalText"}, nil, nil},
	"ParticipantObjectName":        {},
	"ParticipantObjectQuery":       {},
	"ParticipantObjectDetail":      {[]string{"type", "value"}, nil, nil},
	"ParticipantObjectDescription": {nil, nil, []string{"SOPClass"}},
	"SOPClass":                     {[]string{"NumberOfInstances"}, nil, []string{"Instance"}},
	"Instance":                     {[]string{"UID"}, nil, nil},
}

type node struct {
	name     string
	attr     map[string]string
	children []*node
	text     string
}

func (n *node) find(name string) []*node {
	var out []*node
	for _, c := range n.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

func parseXML(t *testing.T, s string) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	root := &node{}
	stack := []*node{root}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return root.children[0]
		}
		if err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		top := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &node{name: tok.Name.Local, attr: map[string]string{}}
			for _, a := range tok.Attr {
				n.attr[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(tok)
		}
	}
}

func checkSchema(t *testing.T, n *node) {
	t.Helper()
	s, ok := schema[n.name]
	if !ok {
		t.Errorf("element %s is not in the schema", n.name)
	}
	for _, a := range s.must {
		if _, ok := n.attr[a]; !ok {
			t.Errorf("%s lacks the attribute %s", n.name, a)
		}
	}
	for a := range n.attr {
		if !slices.Contains(s.must, a) && !slices.Contains(s.may, a) {
			t.Errorf("%s has the attribute %s", n.name, a)
		}
	}
	last := 0
	for _, c := range n.children {
		at := slices.Index(s.children, c.name)
		if at < last {
			t.Errorf("%s has %s out of order", n.name, c.name)
		}
		last = at
		checkSchema(t, c)
	}
}

func TestDICOMAuditMessages(t *testing.T) {
	for _, opened := range []bool{true, false} {
		for i, line := range shown(t, audit.FormatDICOM, opened) {
			m := parseXML(t, line)
			checkSchema(t, m)
			event := m.find("EventIdentification")[0]
			if _, err := time.Parse(time.RFC3339Nano, event.attr["EventDateTime"]); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
			if len(m.find("ActiveParticipant")) == 0 {
				t.Errorf("record %d has no participant", i)
			}
			for _, o := range m.find("ParticipantObjectIdentification") {
				if len(o.find("ParticipantObjectName"))+len(o.find("ParticipantObjectQuery")) != 1 {
					t.Errorf("record %d has an object without name and query, or with both", i)
				}
				for _, d := range o.find("ParticipantObjectDetail") {
					if _, err := base64.StdEncoding.DecodeString(d.attr["value"]); err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				}
			}
		}
	}
	lines := shown(t, audit.FormatDICOM, true)
	stored := parseXML(t, lines[1])
	for _, want := range []struct{ element, attr, value string }{
		{"EventIdentification", "EventActionCode", "C"},
		{"EventIdentification", "EventOutcomeIndicator", "0"},
		{"ActiveParticipant", "UserID", "TOWER1"},
		{"ActiveParticipant", "NetworkAccessPointID", "192.0.2.7"},
		{"ActiveParticipant", "NetworkAccessPointTypeCode", "2"},
		{"AuditSourceIdentification", "AuditSourceID", "lumen.test"},
		{"ParticipantObjectIdentification", "ParticipantObjectID", "1.2.826.0.1.3680043.10.99.1"},
	} {
		if got := stored.find(want.element)[0].attr[want.attr]; got != want.value {
			t.Errorf("%s/@%s = %q, want %q", want.element, want.attr, got, want.value)
		}
	}
	move := parseXML(t, lines[2]).find("ActiveParticipant")
	if len(move) != 3 || move[2].attr["UserID"] != "VIEWER" || move[0].attr["NetworkAccessPointTypeCode"] != "1" {
		t.Errorf("C-MOVE has the participants %+v", move)
	}
}

// Another XML reader than the one of Go's library reads the messages.
func TestDICOMAuditMessagesForOthers(t *testing.T) {
	script := "import sys, xml.etree.ElementTree as e\n" +
		"print(' '.join(e.fromstring(l).find('EventIdentification/EventID').get('csd-code') for l in sys.stdin))"
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", script)
	cmd.Stdin = strings.NewReader(strings.Join(shown(t, audit.FormatDICOM, true), "\n"))
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("python3 is needed")
	}
	if got := strings.TrimSpace(string(out)); got != "110100 110104 110102 110112 association" {
		t.Errorf("read as %q, %v", got, err)
	}
}

func TestFHIRAuditEvents(t *testing.T) {
	for _, opened := range []bool{true, false} {
		for i, line := range shown(t, audit.FormatFHIR, opened) {
			var ev struct {
				ResourceType, ID, Action, Recorded, Outcome string
				Type                                        struct{ System, Code string }
				Agent                                       []struct{ Requestor *bool }
				Source                                      struct{ Observer map[string]any }
				Entity                                      []map[string]any
			}
			if err := json.Unmarshal([]byte(line), &ev); err != nil {
				t.Fatal(err)
			}
			requestors := 0
			for _, a := range ev.Agent {
				if a.Requestor == nil {
					t.Errorf("record %d: an agent does not say whether it asked", i)
				} else if *a.Requestor {
					requestors++
				}
			}
			if ev.ResourceType != "AuditEvent" || ev.ID == "" || !strings.Contains("CRUDE", ev.Action) || ev.Type.Code == "" ||
				ev.Type.System == "" || requestors != 1 || len(ev.Source.Observer) == 0 ||
				!slices.Contains([]string{"0", "4", "8", "12"}, ev.Outcome) {
				t.Errorf("record %d: %s", i, line)
			}
			if _, err := time.Parse(time.RFC3339Nano, ev.Recorded); err != nil {
				t.Error(err)
			}
			for _, e := range ev.Entity {
				if e["name"] != nil && e["query"] != nil {
					t.Errorf("record %d: an entity has a name and a query (sev-1)", i)
				}
			}
			if strings.Contains(line, `""`) && !strings.Contains(line, `"valueString":""`) {
				t.Errorf("record %d has an empty string, which FHIR forbids: %s", i, line)
			}
		}
	}
}

func TestEveryCodeIsRendered(t *testing.T) {
	for _, code := range []audit.Code{audit.Start, audit.Stop, audit.Rebuilt, audit.JournalRead, audit.RetrieveBegin, audit.Recovered,
		audit.Swept, audit.Stored, audit.Duplicate, audit.Refused, audit.RetrieveEnd, audit.Deleted, audit.Exported, audit.Imported,
		audit.Query, audit.Denied, audit.Quarantined, audit.SecurityAlert, audit.ConfigChange, audit.KeyOperation,
		audit.AssociationAccepted, audit.AssociationRejected, audit.AssociationReleased, audit.AssociationAborted,
		audit.JournalRecordsLost, audit.JournalTailDiscarded, "110199/of-later-versions", "new"} {
		e := audit.Entry{Leaf: audit.Leaf{Code: code, Time: time.Unix(0, 0).UTC()}}
		if _, err := e.Leaf.AppendBinary(nil); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		b, err := audit.AppendDICOM(nil, "lumen", e)
		if err != nil {
			t.Fatal(err)
		}
		checkSchema(t, parseXML(t, string(b)))
		if b, err = audit.AppendFHIR(nil, "lumen", e); err != nil || !json.Valid(b) {
			t.Errorf("%s: %s, %v", code, b, err)
		}
	}
	if _, err := audit.ParseFormat("pdf"); err == nil {
		t.Error("pdf is a format")
	}
}
