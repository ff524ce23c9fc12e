package store

import (
	"lumen/dicom"
	"lumen/dicom/dict"
)

// patientSet is the patients of a retrieval, in the order of their first
// instances: one, unless a device put several into one study. A record of the
// journal names one patient at most, so each has a record.
type patientSet struct {
	list []patient
	seen map[patient]struct{} // made with the second
}

type patient struct{ id, issuer string }

// add takes the patient of one instance in. One without an id is nobody.
func (s *patientSet) add(attributes *dicom.DataSet) {
	p := patient{attributes.String(dict.PatientID), attributes.String(dict.IssuerOfPatientID)}
	if p.id == "" || s.has(p) {
		return
	}
	s.list = append(s.list, p)
	if len(s.list) == 1 {
		return
	}
	if s.seen == nil {
		s.seen = map[patient]struct{}{s.list[0]: {}}
	}
	s.seen[p] = struct{}{}
}

func (s *patientSet) has(p patient) bool {
	if len(s.list) == 1 {
		return s.list[0] == p
	}
	_, ok := s.seen[p]
	return ok
}

// holds reports whether all of the others are in s.
func (s *patientSet) holds(others patientSet) bool {
	for _, p := range others.list {
		if !s.has(p) {
			return false
		}
	}
	return true
}

// events makes e an event of each patient; one without a patient when there is
// none.
func (s *patientSet) events(e Event) []Event {
	events := []Event{e}
	for i, p := range s.list {
		if i > 0 {
			events = append(events, e)
		}
		events[i].PatientID, events[i].IssuerOfPatientID = p.id, p.issuer
	}
	return events
}
