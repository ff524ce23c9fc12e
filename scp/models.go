package scp

import (
	"slices"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/store"
)

// model is a query/retrieve information model (PS3.4 annex C.6).
type model uint8

const (
	patientRoot model = iota + 1
	studyRoot
	patientStudyOnly
)

// classes are the SOP classes of the models (PS3.4 table C.6-1 and following).
var classes = [...]struct {
	model           model
	find, move, get string
}{
	{patientRoot, dict.UIDPatientRootQueryRetrieveInformationModelFind,
		dict.UIDPatientRootQueryRetrieveInformationModelMove, dict.UIDPatientRootQueryRetrieveInformationModelGet},
	{studyRoot, dict.UIDStudyRootQueryRetrieveInformationModelFind,
		dict.UIDStudyRootQueryRetrieveInformationModelMove, dict.UIDStudyRootQueryRetrieveInformationModelGet},
	{patientStudyOnly, dict.UIDPatientStudyOnlyQueryRetrieveInformationModelFind,
		dict.UIDPatientStudyOnlyQueryRetrieveInformationModelMove, dict.UIDPatientStudyOnlyQueryRetrieveInformationModelGet},
}

// Model is a query/retrieve information model that is offered, for the
// conformance statement.
type Model struct {
	Find, Move, Get string   // SOP classes
	Levels          []string // as in Query/Retrieve Level (0008,0052), the top first
}

// Models lists the information models that a [Server] offers.
func Models() []Model {
	var list []Model
	for _, c := range classes {
		m := Model{Find: c.find, Move: c.move, Get: c.get}
		for l := levelPatient; l <= levelImage; l++ {
			if c.model.has(l) {
				m.Levels = append(m.Levels, l.String())
			}
		}
		list = append(list, m)
	}
	return list
}

// has reports whether a level is one of the model.
func (m model) has(l level) bool {
	return (l > levelPatient || m != studyRoot) && (l <= levelStudy || m != patientStudyOnly)
}

func findClasses() (list []string) {
	for _, c := range classes {
		list = append(list, c.find)
	}
	return list
}

func moveClasses() (list []string) {
	for _, c := range classes {
		list = append(list, c.move)
	}
	return list
}

func getClasses() (list []string) {
	for _, c := range classes {
		list = append(list, c.get)
	}
	return list
}

func modelOf(sopClass string) model {
	for _, c := range classes {
		if slices.Contains([]string{c.find, c.move, c.get}, sopClass) {
			return c.model
		}
	}
	return 0
}

// level is a query/retrieve level.
type level uint8

const (
	levelPatient level = iota + 1
	levelStudy
	levelSeries
	levelImage
)

var levels = map[string]level{"PATIENT": levelPatient, "STUDY": levelStudy, "SERIES": levelSeries, "IMAGE": levelImage}

// String returns the level as Query/Retrieve Level (0008,0052) names it.
func (l level) String() string {
	for name, of := range levels {
		if of == l {
			return name
		}
	}
	return ""
}

// levelOf reads the level of an identifier, and checks that the model has it.
func levelOf(m model, identifier *dicom.DataSet) (level, error) {
	l, ok := levels[identifier.String(dict.QueryRetrieveLevel)]
	switch {
	case !ok:
		return 0, mismatch("no valid Query/Retrieve Level")
	case !m.has(l):
		return 0, mismatch("the information model does not have this level")
	}
	return l, nil
}

func (l level) store() store.Level {
	switch l {
	case levelSeries:
		return store.SeriesLevel
	case levelImage:
		return store.InstanceLevel
	}
	return store.StudyLevel
}

// mismatch is A900: the identifier does not fit the SOP class.
func mismatch(comment string) error {
	return &dimse.StatusError{Status: dimse.StatusIdentifierDoesNotMatch, Comment: comment}
}

// Positions in the extended negotiation of C-FIND (PS3.4 table C.5-1).
const (
	relationalQueries = iota
	combinedDateTime
	fuzzyNames
	findOptions // those past it are answered with 0
)

// agreeFind answers the extended negotiation of a FIND class. Relational
// queries work in any case.
func agreeFind(_ string, info []byte) []byte {
	answer := make([]byte, min(len(info), 8))
	for i := range answer {
		if i < findOptions && info[i] == 1 {
			answer[i] = 1
		}
	}
	return answer
}

// agreeRetrieve answers the extended negotiation of a MOVE or GET class:
// relational retrieval (PS3.4 table C.5-2).
func agreeRetrieve(_ string, info []byte) []byte {
	answer := make([]byte, min(len(info), 8))
	if len(answer) > 0 && info[0] == 1 {
		answer[0] = 1
	}
	return answer
}

func agreed(extended []byte, option int) bool { return option < len(extended) && extended[option] == 1 }
