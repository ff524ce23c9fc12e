package scp_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/peertest"
	"lumen/scp"
	"lumen/store"
)

func TestFindAnswersAtEveryLevelAndModel(t *testing.T) {
	n := start(t)
	for study := range 4 { // patients P0 and, with study 10 and 11, P1
		n.put(t, image(study%2+study/2*10, 1), image(study%2+study/2*10, 2))
	}
	for _, c := range []struct {
		name  string
		class string
		id    *dicom.DataSet
		want  int
	}{
		{"studies", findStudy, identifier("STUDY", "StudyInstanceUID", ""), 4},
		{"study by id", findStudy, identifier("STUDY", "PatientID", "P1", "StudyInstanceUID", ""), 2},
		{"study by name with wildcard", findStudy, identifier("STUDY", "PatientName", "doe*"), 4},
		{"study by date range", findStudy, identifier("STUDY", "StudyDate", "20260101-20260103"), 4},
		{"study by date past", findStudy, identifier("STUDY", "StudyDate", "20260103-"), 0},
		{"studies by UID list", findStudy, identifier("STUDY", "StudyInstanceUID", `1.2.826.0.1.0\1.2.826.0.1.11`), 2},
		{"series of a study", findStudy, identifier("SERIES", "StudyInstanceUID", "1.2.826.0.1.1", "SeriesInstanceUID", ""), 1},
		{"instances of a series", findStudy, identifier("IMAGE", "StudyInstanceUID", "1.2.826.0.1.1",
			"SeriesInstanceUID", "1.2.826.0.1.1.1", "SOPInstanceUID", ""), 2},
		{"instances without study", findStudy, identifier("IMAGE", "InstanceNumber", "2"), 4},
		{"patients", dict.UIDPatientRootQueryRetrieveInformationModelFind, identifier("PATIENT", "PatientID", "", "PatientName", ""), 2},
		{"one patient", dict.UIDPatientRootQueryRetrieveInformationModelFind, identifier("PATIENT", "PatientID", "P1"), 1},
		{"studies of a patient", dict.UIDPatientRootQueryRetrieveInformationModelFind, identifier("STUDY", "PatientID", "P1"), 2},
		{"patient/study only", dict.UIDPatientStudyOnlyQueryRetrieveInformationModelFind, identifier("STUDY", "PatientID", "P1"), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := n.find(t, c.class, c.id)
			if err != nil || len(got) != c.want {
				t.Fatalf("%d answers, want %d; %v", len(got), c.want, err)
			}
			for _, d := range got {
				if d.String(dict.QueryRetrieveLevel) != c.id.String(dict.QueryRetrieveLevel) ||
					d.String(dict.RetrieveAETitle) != "LUMEN" || !d.Has(dict.SpecificCharacterSet) {
					t.Errorf("level %q, retrieve AE title %q, character set %q", d.String(dict.QueryRetrieveLevel),
						d.String(dict.RetrieveAETitle), d.String(dict.SpecificCharacterSet))
				}
				for e := range c.id.All() {
					if !d.Has(e.Tag) {
						t.Errorf("%v was asked for and is missing", e.Tag)
					}
				}
			}
		})
	}
}

func TestFindOfPatientsTellsNothingOfTheirStudies(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	for _, id := range []*dicom.DataSet{identifier("PATIENT"), identifier("PATIENT", "PatientID", "", "StudyDate", "")} {
		got, err := n.find(t, dict.UIDPatientRootQueryRetrieveInformationModelFind, id)
		if err != nil || len(got) != 1 {
			t.Fatal(len(got), err)
		}
		for e := range got[0].All() {
			switch {
			case e.Tag.Group() == 0x0010:
			case e.Tag == dict.SpecificCharacterSet, e.Tag == dict.QueryRetrieveLevel, e.Tag == dict.RetrieveAETitle, e.Tag == dict.InstanceAvailability:
			default:
				t.Errorf("%v is in the answer", e.Tag)
			}
		}
		if got[0].String(dict.PatientID) != "P0" {
			t.Errorf("Patient ID %q", got[0].String(dict.PatientID))
		}
	}
}

// Patients without a Patient ID are told apart by what else is asked for.
func TestFindListsPatientsWithoutAnID(t *testing.T) {
	nobody := func(name string) func(*dicom.DataSet) {
		return func(d *dicom.DataSet) {
			d.SetString(dict.PatientID)
			d.SetString(dict.PatientName, name)
		}
	}
	n := start(t)
	n.put(t, image(1, 1), image(2, 1), image(11, 1, nobody("Empty^One")), image(12, 1, nobody("Empty^Two")), image(13, 1, nobody("Empty^Two")))
	for want, id := range map[int]*dicom.DataSet{
		3: identifier("PATIENT", "PatientID", "", "PatientName", ""),
		2: identifier("PATIENT", "PatientID", ""),
	} {
		got, err := n.find(t, dict.UIDPatientRootQueryRetrieveInformationModelFind, id)
		if err != nil || len(got) != want {
			t.Errorf("%d patients, want %d, %v", len(got), want, err)
		}
	}
}

func TestFindRefusesWhatTheModelDoesNotHave(t *testing.T) {
	n := start(t)
	for _, c := range []struct {
		name  string
		class string
		id    *dicom.DataSet
	}{
		{"no level", findStudy, identifier("")},
		{"unknown level", findStudy, identifier("FRAME")},
		{"patient level in Study Root", findStudy, identifier("PATIENT")},
		{"series level in Patient/Study Only", dict.UIDPatientStudyOnlyQueryRetrieveInformationModelFind, identifier("SERIES")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := n.find(t, c.class, c.id); statusOf(err) != dimse.StatusIdentifierDoesNotMatch {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFindStopsAtTheLimitWithAComment(t *testing.T) {
	n := start(t, func(c *scp.Config) { c.Matches = 3 })
	for i := range 3 {
		n.put(t, image(i, 1))
	}
	if got, err := n.find(t, findStudy, identifier("STUDY")); err != nil || len(got) != 3 {
		t.Fatalf("at the limit: %d answers, %v", len(got), err)
	}
	n.put(t, image(3, 1), image(3, 2), image(3, 3), image(3, 4))
	got, err := n.find(t, findStudy, identifier("STUDY"))
	var status *dimse.StatusError
	if !errors.As(err, &status) || status.Status != dimse.StatusOutOfResources || status.Comment == "" || len(got) != 3 {
		t.Errorf("one past the limit: %d answers, %v", len(got), err)
	}
	if got, err := n.find(t, findStudy, identifier("IMAGE", "StudyInstanceUID", "1.2.826.0.1.3")); err != nil || len(got) != 4 {
		t.Errorf("below a given study there is no limit: %d answers, %v", len(got), err)
	}
}

// PS3.4 table C.4-1: FF01 when a key is not supported for existence or matching.
func TestFindSaysWhichKeysItDoesNotSupport(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	for key, want := range map[string]bool{"0009,0010=SOMETHING": true, "0018,1000": true, "PatientID": false,
		"RetrieveAETitle": false, "InstanceAvailability": false, "Modality": true} {
		out := peertest.Run(t, "findscu", "-v", "-S", "-aec", "LUMEN", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=",
			"-k", key, host(n.addr), port(n.addr))
		if !strings.Contains(out, "1.2.826.0.1.1") || !strings.Contains(out, "(Pending") || strings.Contains(out, "Unsupported") != want {
			t.Errorf("%s: %s", key, out)
		}
	}
}

func TestFindMatchesInsideOfSequences(t *testing.T) {
	n := start(t)
	d := image(1, 1)
	request := new(dicom.DataSet)
	request.SetString(dict.ScheduledProcedureStepID, "S1")
	d.SetItems(dict.RequestAttributesSequence, request)
	n.put(t, d, image(2, 1))
	for step, want := range map[string]int{"S1": 1, "S*": 1, "S2": 0, "": 2} {
		key := new(dicom.DataSet)
		key.SetString(dict.ScheduledProcedureStepID, step)
		id := identifier("SERIES", "SeriesInstanceUID", "")
		id.SetItems(dict.RequestAttributesSequence, key)
		got, err := n.find(t, findStudy, id)
		if err != nil || len(got) != want {
			t.Errorf("%q: %d answers, want %d; %v", step, len(got), want, err)
		}
	}
}

func TestFindWithTheJournalDown(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	n.journal.Fail(store.ErrJournal, false)
	if got, err := n.find(t, findStudy, identifier("STUDY")); statusOf(err) != dimse.StatusOutOfResources || len(got) != 0 {
		t.Errorf("%d answers, %v", len(got), err)
	}
	n.journal.Fail(nil, false)
	if got, err := n.find(t, findStudy, identifier("STUDY")); err != nil || len(got) != 1 {
		t.Errorf("after it works again: %d answers, %v", len(got), err)
	}
}

// Fuzzy and combined matching happen when they were agreed upon, and only then.
func TestExtendedNegotiationOfFind(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1, func(d *dicom.DataSet) {
		d.SetString(dict.PatientName, "Smith^John")
		d.SetString(dict.StudyDate, "20260102")
		d.SetString(dict.StudyTime, "101500")
	}))
	for _, c := range []struct {
		name     string
		proposed []byte
		agreed   string
		fuzzy    int // matches of a name that sounds alike
		combined int // matches from an hour of one day to an earlier one of another
	}{
		{"nothing", nil, "", 0, 0},
		{"all", []byte{1, 1, 1, 1}, "\x01\x01\x01\x00", 1, 1},
		{"fuzzy matching only", []byte{0, 0, 1}, "\x00\x00\x01", 1, 0},
		{"relational queries only", []byte{1}, "\x01", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := n.dialContexts(t, dimse.PresentationContext{SOPClass: findStudy, TransferSyntaxes: plain, Extended: c.proposed})
			if got := client.Extended(findStudy); string(got) != c.agreed {
				t.Errorf("agreed % x, want % x", got, c.agreed)
			}
			count := func(pairs ...string) (matches int) {
				for _, err := range client.Find(t.Context(), findStudy, identifier("STUDY", pairs...)) {
					if err != nil {
						t.Fatal(err)
					}
					matches++
				}
				return matches
			}
			if got := count("PatientName", "Smyth"); got != c.fuzzy {
				t.Errorf("%d matches of a name that sounds alike, want %d", got, c.fuzzy)
			}
			if got := count("StudyDate", "20260101-20260103", "StudyTime", "120000-080000"); got != c.combined {
				t.Errorf("%d matches of a range over days, want %d", got, c.combined)
			}
		})
	}
}

// Relational retrieval is agreed upon for C-MOVE and C-GET; nothing else is.
func TestExtendedNegotiationOfRetrieve(t *testing.T) {
	n := start(t)
	for _, class := range []string{moveStudy, getStudy} {
		for proposed, want := range map[string]string{"\x01\x01\x01": "\x01\x00\x00", "\x00": "\x00", "": ""} {
			var info []byte
			if proposed != "" {
				info = []byte(proposed)
			}
			c := n.dialContexts(t, dimse.PresentationContext{SOPClass: class, TransferSyntaxes: plain, Extended: info})
			if got := c.Extended(class); string(got) != want {
				t.Errorf("% x is answered % x, want % x", proposed, got, want)
			}
		}
	}
}

func TestFindFromDCMTK(t *testing.T) {
	n := start(t)
	for i := range 3 {
		n.put(t, image(i, 1, func(d *dicom.DataSet) { d.SetString(dict.PatientName, "Müller^Änne") }))
	}
	out := peertest.Run(t, "findscu", "-S", "-aec", "LUMEN", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=M*",
		"-k", "StudyInstanceUID=", "-k", "ModalitiesInStudy=", "-k", "NumberOfStudyRelatedInstances=", host(n.addr), port(n.addr))
	for i := range 3 {
		if !strings.Contains(out, "[1.2.826.0.1."+strconv.Itoa(i)) {
			t.Errorf("study %d is missing in\n%s", i, out)
		}
	}
	for _, want := range []string{"ISO_IR 192", "[LUMEN ]", "[CT]"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}
