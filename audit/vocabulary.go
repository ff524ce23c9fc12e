package audit

import "strings"

// coded is a coded value: the codes of PS3.16 have the scheme DCM, ours 99LUMEN.
type coded struct{ code, scheme, meaning string }

func dcm(code, meaning string) coded   { return coded{code, "DCM", meaning} }
func lumen(code, meaning string) coded { return coded{code, "99LUMEN", meaning} }

// dicomEvents are the audit event identifiers of PS3.16 CID 400 that occur.
var dicomEvents = map[string]string{
	"110100": "Application Activity",
	"110101": "Audit Log Used",
	"110102": "Begin Transferring DICOM Instances",
	"110103": "DICOM Instances Accessed",
	"110104": "DICOM Instances Transferred",
	"110105": "DICOM Study Deleted",
	"110106": "Export",
	"110107": "Import",
	"110108": "Network Entry",
	"110109": "Order Record",
	"110110": "Patient Record",
	"110111": "Procedure Record",
	"110112": "Query",
	"110113": "Security Alert",
	"110114": "User Authentication",
}

// meaning says how a code is told to others.
type meaning struct {
	event  coded
	kind   coded  // EventTypeCode; zero: none
	action string // C, R, U, D or E
}

// meanings are the codes whose type or action the event identifier does not tell.
var meanings = map[Code]meaning{
	Start:         {kind: dcm("110120", "Application Start"), action: "E"},
	Stop:          {kind: dcm("110121", "Application Stop"), action: "E"},
	Stored:        {action: "C"},
	Duplicate:     {action: "C"},
	Refused:       {action: "C"},
	Recovered:     {action: "C"},
	Swept:         {action: "D"},
	Unstored:      {action: "D"},
	Deleted:       {action: "D"},
	Imported:      {action: "C"},
	Query:         {action: "E"},
	RetrieveBegin: {action: "E"},
	Denied:        {kind: dcm("110132", "Use of Restricted Function"), action: "E"},
	Quarantined:   {action: "E"},
	SecurityAlert: {action: "E"},
	ConfigChange:  {kind: dcm("110131", "Software Configuration"), action: "E"},
	KeyOperation:  {kind: dcm("110129", "Security Configuration"), action: "E"},
	Rebuilt:       {action: "E"},

	AssociationAccepted:  {event: lumen("association", "Association"), action: "E"},
	AssociationRejected:  {event: lumen("association", "Association"), action: "E"},
	AssociationReleased:  {event: lumen("association", "Association"), action: "E"},
	AssociationAborted:   {event: lumen("association", "Association"), action: "E"},
	JournalRecordsLost:   {event: lumen("journal", "Journal"), action: "E"},
	JournalTailDiscarded: {event: lumen("journal", "Journal"), action: "E"},
}

// meaningOf is complete for every valid code, also for one that a later version
// wrote: then the code itself is what is told.
func meaningOf(c Code) meaning {
	m := meanings[c]
	first, rest, _ := strings.Cut(string(c), "/")
	if m.event == (coded{}) {
		if text, ok := dicomEvents[first]; ok {
			m.event = dcm(first, text)
		} else {
			m.event = lumen(first, first)
		}
	}
	if m.kind == (coded{}) && rest != "" {
		m.kind = lumen(string(c), strings.ReplaceAll(rest, "/", " "))
	}
	if m.action == "" {
		m.action = "R"
	}
	return m
}

// incoming reports whether data came from the actor, rather than went to it.
func incoming(c Code) bool {
	switch c {
	case Stored, Duplicate, Refused, Quarantined, Imported:
		return true
	}
	return false
}
