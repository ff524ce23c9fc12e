package audit

import "fmt"

// Outcome is the EventOutcomeIndicator of PS3.15 A.5.2.
type Outcome int

// The outcomes.
const (
	Success        Outcome = 0
	MinorFailure   Outcome = 4  // part of it did not work, or it was refused
	SeriousFailure Outcome = 8  // it ended early
	MajorFailure   Outcome = 12 // someone has to act
)

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case MinorFailure:
		return "minor failure"
	case SeriousFailure:
		return "serious failure"
	case MajorFailure:
		return "major failure"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// Code says what happened: a DICOM audit event identifier (PS3.16 CID 400),
// where there is one, and after a slash what it was in Lumen's words. At most 24
// characters of [0-9a-z/-].
type Code string

// The codes that Lumen records.
const (
	Start                Code = "110100/start"
	Stop                 Code = "110100/stop"
	Rebuilt              Code = "110100/rebuilt"
	JournalRead          Code = "110101/read"
	RetrieveBegin        Code = "110102/retrieve"
	Recovered            Code = "110103/recovered"
	Swept                Code = "110103/swept"
	Unstored             Code = "110103/unstored"
	Stored               Code = "110104/stored"
	Duplicate            Code = "110104/duplicate"
	Refused              Code = "110104/refused"
	RetrieveEnd          Code = "110104/retrieved"
	Deleted              Code = "110105/deleted"
	Exported             Code = "110106/exported"
	Imported             Code = "110107/imported"
	Query                Code = "110112/query"
	Denied               Code = "110113/denied"
	Quarantined          Code = "110113/quarantined"
	SecurityAlert        Code = "110113/alert"
	ConfigChange         Code = "110113/config"
	KeyOperation         Code = "110113/key"
	AssociationAccepted  Code = "association/accepted"
	AssociationRejected  Code = "association/rejected"
	AssociationReleased  Code = "association/released"
	AssociationAborted   Code = "association/aborted"
	JournalRecordsLost   Code = "journal/lost"      // Instances: how many posted records found no room
	JournalTailDiscarded Code = "journal/discarded" // Bytes: the torn tail that recovery after a crash cut
)
