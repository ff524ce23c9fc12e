package store

import "lumen/dicom"

// Incoming is what is known of a data set before it is read.
type Incoming struct {
	SOPClassUID    string // as announced; empty: as in the data set
	SOPInstanceUID string // as announced; empty: as in the data set
	TransferSyntax dicom.TransferSyntax
	Source         SourceKind

	// CharacterSet is assumed by searches where the data set names none: a
	// defined term of (0008,0005), for senders that forget it. What is stored
	// stays as it came.
	CharacterSet string
	// RefuseConflict says that other content under a known SOP Instance UID is
	// refused with ErrConflict instead of being kept aside.
	RefuseConflict bool
}

// Receipt says what became of an instance.
type Receipt struct {
	Outcome           IngestOutcome
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUID    string
	SOPClassUID       string
	Size              int64          // bytes of the data set
	Findings          dicom.Findings // what was tolerated in it
}

// IngestOutcome is one of the ways in which an instance is acknowledged.
type IngestOutcome int

// The outcomes. In all of them nothing that was sent is lost.
const (
	Stored      IngestOutcome = iota + 1
	Duplicate                 // the same content is in the archive already
	Quarantined               // the SOP Instance UID is known with other content; this one is kept aside
)

// String names the outcome in one lower-case word.
func (o IngestOutcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Duplicate:
		return "duplicate"
	case Quarantined:
		return "quarantined"
	}
	return "unknown"
}
