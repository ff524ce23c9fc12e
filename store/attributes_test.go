package store_test

import (
	"slices"
	"testing"

	"lumen/dicom/dict"
	"lumen/store"
)

func TestIndexAttributesAreSortedAndUnique(t *testing.T) {
	tags := store.IndexAttributes()
	if !slices.IsSorted(tags) {
		t.Error("not in ascending order")
	}
	for i := 1; i < len(tags); i++ {
		if tags[i] == tags[i-1] {
			t.Errorf("%v is listed twice", tags[i])
		}
	}
	for _, tag := range tags {
		if _, ok := store.AttributeLevel(tag); !ok && tag != dict.SpecificCharacterSet {
			t.Errorf("%v has no level", tag)
		}
		if a, ok := dict.LookupTag(tag); !ok || a.Keyword == "" {
			t.Errorf("%v is not in the dictionary", tag)
		}
	}
}

// What a search returns unasked, and what PS3.4 lets one match on, must be in
// the index.
func TestRequiredKeysAreIndexed(t *testing.T) {
	required := map[store.Level][]dict.Tag{ // PS3.4 tables C.6-1 to C.6-4, types U and R
		store.StudyLevel: {dict.StudyDate, dict.StudyTime, dict.AccessionNumber, dict.PatientName,
			dict.PatientID, dict.StudyID, dict.StudyInstanceUID, dict.ModalitiesInStudy},
		store.SeriesLevel:   {dict.Modality, dict.SeriesNumber, dict.SeriesInstanceUID},
		store.InstanceLevel: {dict.InstanceNumber, dict.SOPInstanceUID, dict.SOPClassUID},
	}
	for _, level := range []store.Level{store.StudyLevel, store.SeriesLevel, store.InstanceLevel} {
		for _, tag := range append(store.DefaultReturn(level), required[level]...) {
			got, ok := store.AttributeLevel(tag)
			switch {
			case tag == dict.InstanceAvailability: // the same everywhere
			case !ok:
				t.Errorf("%v of level %v is not indexed", tag, level)
			case got > level:
				t.Errorf("%v is of level %v, a search of %v cannot know it", tag, got, level)
			}
		}
	}
}
