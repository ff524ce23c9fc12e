package store_test

import (
	"errors"
	"slices"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

func entity(level store.Level, uid string, values ...any) *store.Entity {
	e := &store.Entity{Level: level, UID: uid, Attributes: new(dicom.DataSet)}
	for i := 0; i < len(values); i += 2 {
		e.Attributes.SetString(values[i].(dicom.Tag), values[i+1].(string))
	}
	return e
}

func TestQueryMatches(t *testing.T) {
	study := entity(store.StudyLevel, "1.2.3",
		dict.PatientName, "Müller^Änne", dict.PatientID, "P-17", dict.StudyDate, "20240229", dict.StudyTime, "101530.5",
		dict.StudyDescription, "Coloscopy, total", dict.AccessionNumber, "a7")
	study.Modalities = []string{"ES", "SR"}
	for _, c := range []struct {
		name  string
		tag   dicom.Tag
		value string
		want  bool
	}{
		{"universal", dict.PatientName, "", true},
		{"star is universal, absent values included", dict.StudyID, "*", true},
		{"single value", dict.PatientID, "P-17", true},
		{"single value, other case", dict.PatientID, "p-17", false},
		{"padding does not count", dict.PatientID, "P-17 ", true},
		{"name without regard to case", dict.PatientName, "MÜLLER^änne", true},
		{"name with empty components", dict.PatientName, "Müller^Änne^^", true},
		{"name, family only", dict.PatientName, "Müller", false},
		{"name prefix", dict.PatientName, "mül*", true},
		{"name infix", dict.PatientName, "*ÄN*", true},
		{"one character", dict.PatientName, "M?ller^*", true},
		{"text pattern, other case", dict.StudyDescription, "colo*", false},
		{"text pattern", dict.StudyDescription, "Colo*total", true},
		{"absent value", dict.StudyID, "1", false},
		{"date", dict.StudyDate, "20240229", true},
		{"date range", dict.StudyDate, "20240201-20240229", true},
		{"date range, open end", dict.StudyDate, "20240301-", false},
		{"date range, open start", dict.StudyDate, "-20240229", true},
		{"time range", dict.StudyTime, "1015-1016", true},
		{"time of lower precision", dict.StudyTime, "10", true},
		{"time outside", dict.StudyTime, "-1015", true},
		{"time before", dict.StudyTime, "-101529", false},
		{"UID", dict.StudyInstanceUID, "1.2.3", true},
		{"UID list", dict.StudyInstanceUID, `1.2.4\1.2.3`, true},
		{"UID list without it", dict.StudyInstanceUID, `1.2.4\1.2`, false},
		{"a modality of the study", dict.ModalitiesInStudy, "SR", true},
		{"one of several modalities", dict.ModalitiesInStudy, `CT\ES`, true},
		{"no modality of the study", dict.ModalitiesInStudy, "CT", false},
		{"an attribute that is not kept", dict.PixelData, "x", true},
		{"a key of a level below", dict.Modality, "CT", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := store.NewQuery(store.StudyLevel)
			if err := q.Match(c.tag, c.value); err != nil {
				t.Fatal(err)
			}
			if got := q.Matches(study); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestQueryMatchesDateAndTimeAsOneRangeWhenAsked(t *testing.T) {
	first := entity(store.StudyLevel, "1", dict.StudyDate, "20240105", dict.StudyTime, "0900")
	inside := entity(store.StudyLevel, "2", dict.StudyDate, "20240106", dict.StudyTime, "0300")
	for _, combined := range []bool{false, true} {
		q := store.NewQuery(store.StudyLevel)
		q.CombinedDateTime = combined
		for tag, v := range map[dicom.Tag]string{dict.StudyDate: "20240105-20240107", dict.StudyTime: "1000-1800"} {
			if err := q.Match(tag, v); err != nil {
				t.Fatal(err)
			}
		}
		if q.Matches(first) {
			t.Errorf("combined %v: matched before the start", combined)
		}
		if q.Matches(inside) != combined {
			t.Errorf("combined %v: night of the second day", combined)
		}
	}
}

func TestQueryRefusesWhatItCannotRead(t *testing.T) {
	for tag, v := range map[dicom.Tag]string{dict.StudyDate: "20241345", dict.StudyTime: "9-10"} {
		if err := store.NewQuery(store.StudyLevel).Match(tag, v); err == nil {
			t.Errorf("%v: no error", tag)
		}
	}
}

func TestQueryTellsWhatItCouldNotMatch(t *testing.T) {
	q := store.NewQuery(store.StudyLevel)
	for tag, v := range map[dicom.Tag]string{dict.Modality: "CT", dict.PatientID: "1", dict.SeriesNumber: ""} {
		if err := q.Match(tag, v); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.Unsupported(); !slices.Equal(got, []dicom.Tag{dict.Modality}) {
		t.Errorf("got %v", got)
	}
}

// Sequence matching (PS3.4 C.2.2.2.6): one item has all that is asked of items.
func TestQueryMatchesInsideOfSequences(t *testing.T) {
	item := func(step, procedure string) *dicom.DataSet {
		d := new(dicom.DataSet)
		d.SetString(dict.ScheduledProcedureStepID, step)
		d.SetString(dict.RequestedProcedureID, procedure)
		return d
	}
	series := entity(store.SeriesLevel, "1.2.3")
	series.Attributes.SetItems(dict.RequestAttributesSequence, item("S1", "P1"), item("S2", "P2"))
	step, procedure := []dicom.Tag{dict.RequestAttributesSequence, dict.ScheduledProcedureStepID},
		[]dicom.Tag{dict.RequestAttributesSequence, dict.RequestedProcedureID}
	for _, c := range []struct {
		step, procedure string
		want            bool
	}{
		{"S1", "", true}, {"", "P2", true}, {"S*", "P?", true}, {"S3", "", false},
		{"S1", "P1", true}, {"S1", "P2", false}, {"", "", true},
	} {
		q := store.NewQuery(store.SeriesLevel)
		if err := errors.Join(q.MatchItem(step, c.step), q.MatchItem(procedure, c.procedure)); err != nil {
			t.Fatal(err)
		}
		if got := q.Matches(series); got != c.want || len(q.Unsupported()) > 0 {
			t.Errorf("%q and %q: %v, want %v", c.step, c.procedure, got, c.want)
		}
		if !q.Assembly().Match(entity(store.StudyLevel, "1"), series).Attributes.Has(dict.RequestAttributesSequence) {
			t.Error("the sequence is not returned")
		}
	}
	q := store.NewQuery(store.StudyLevel)
	if err := q.MatchItem(step, "S1"); err != nil || len(q.Unsupported()) != 1 || !q.Matches(entity(store.StudyLevel, "1")) {
		t.Errorf("of a level below: %v, %v", q.Unsupported(), err)
	}
}

func TestQueryTellsWhatNoMatchHas(t *testing.T) {
	q := store.NewQuery(store.StudyLevel)
	for _, tag := range []dicom.Tag{dict.PatientID, dict.Modality, dict.InstanceAvailability, dict.NumberOfPatientRelatedStudies, dict.SpecificCharacterSet} {
		if err := q.Match(tag, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.Unknown(); !slices.Equal(got, []dicom.Tag{dict.Modality, dict.NumberOfPatientRelatedStudies}) {
		t.Errorf("got %v", got)
	}
}

func tags(d *dicom.DataSet) (list []dicom.Tag) {
	for e := range d.All() {
		list = append(list, e.Tag)
	}
	return list
}

func TestAssemblyReturnsWhatWasAsked(t *testing.T) {
	study := entity(store.StudyLevel, "1.2", dict.PatientName, "A", dict.StudyDescription, "D")
	study.Series, study.Instances = 2, 30
	q := store.NewQuery(store.StudyLevel)
	q.Return = []dicom.Tag{dict.NumberOfStudyRelatedInstances, dict.PatientSex, dict.PixelData}
	if err := q.Match(dict.PatientName, "a"); err != nil {
		t.Fatal(err)
	}
	m := q.Assembly().Match(study)
	want := []dicom.Tag{dict.PatientName, dict.PatientSex, dict.StudyInstanceUID, dict.NumberOfStudyRelatedInstances}
	if got := tags(m.Attributes); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if n, _ := m.Attributes.Int(dict.NumberOfStudyRelatedInstances); n != 30 {
		t.Errorf("%d instances", n)
	}
	if m.StudyInstanceUID != "1.2" || m.SeriesInstanceUID != "" {
		t.Error("unique keys differ")
	}
}

func TestAssemblyDefaultsIncludeTheLevelsThatAreNotNamed(t *testing.T) {
	path := []*store.Entity{entity(store.StudyLevel, "1.2", dict.PatientName, "A"), entity(store.SeriesLevel, "1.2.1", dict.Modality, "ES")}
	q := store.NewQuery(store.SeriesLevel)
	if m := q.Assembly().Match(path...); !m.Attributes.Has(dict.PatientName) || !m.Attributes.Has(dict.Modality) {
		t.Error("without a study, its attributes are missing")
	}
	if err := q.Match(dict.StudyInstanceUID, "1.2"); err != nil {
		t.Fatal(err)
	}
	if m := q.Assembly().Match(path...); m.Attributes.Has(dict.PatientName) || !m.Attributes.Has(dict.Modality) {
		t.Error("with a study, its attributes are there")
	}
	q.All = true
	if m := q.Assembly().Match(path...); !m.Attributes.Has(dict.PatientName) {
		t.Error("includefield=all lacks the study's attributes")
	}
}

func TestAssemblyJoinsCharacterSets(t *testing.T) {
	latin := &store.Entity{Level: store.StudyLevel, UID: "1", Attributes: new(dicom.DataSet)}
	latin.Attributes.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 100"))
	latin.Attributes.SetBytes(dict.PatientName, dict.PN, []byte("M\xfcller"))
	utf8 := entity(store.SeriesLevel, "2", dict.SeriesDescription, "Żołądek")
	q := store.NewQuery(store.SeriesLevel)
	m := q.Assembly().Match(latin, utf8)
	if got := m.Attributes.String(dict.PatientName); got != "Müller" {
		t.Errorf("name is %q", got)
	}
	if got := m.Attributes.String(dict.SeriesDescription); got != "Żołądek" {
		t.Errorf("description is %q", got)
	}
	alone := store.NewQuery(store.StudyLevel).Assembly().Match(latin)
	if got := string(alone.Attributes.Raw(dict.PatientName)); got != "M\xfcller" {
		t.Errorf("bytes were not kept: %q", got)
	}
}

func TestAssemblyTellsACharacterSetWithoutExtensionsAlone(t *testing.T) {
	study := &store.Entity{Level: store.StudyLevel, UID: "1", Attributes: new(dicom.DataSet)}
	study.Attributes.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte(`ISO_IR 192\ISO 2022 IR 100`))
	study.Attributes.SetBytes(dict.PatientName, dict.PN, []byte("Müller"))
	m := store.NewQuery(store.StudyLevel).Assembly().Match(study)
	if got := string(m.Attributes.Raw(dict.SpecificCharacterSet)); got != "ISO_IR 192" {
		t.Errorf("character set is %q", got)
	}
	if got := m.Attributes.String(dict.PatientName); got != "Müller" {
		t.Errorf("name is %q", got)
	}
}
