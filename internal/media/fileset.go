package media

import (
	"fmt"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// FileSet is a directory in the making. The zero value is an empty one.
type FileSet struct {
	root  record // its children are the patients
	count int
}

// record is one directory record with those below it.
type record struct {
	kind     string // Directory Record Type (0004,1430)
	number   int    // among its siblings, from 1
	data     *dicom.DataSet
	children []*record
	index    map[string]*record

	offset int64 // in the file; set when it is laid out
}

// child returns the record of a key below r, which make makes when it is new.
func (r *record) child(kind, key string, make func() *dicom.DataSet) *record {
	if c, ok := r.index[key]; ok {
		return c
	}
	c := &record{kind: kind, number: len(r.children) + 1, data: make()}
	if r.index == nil {
		r.index = map[string]*record{}
	}
	r.index[key] = c
	r.children = append(r.children, c)
	return c
}

// The attributes that records copy (PS3.3 F.5), the required ones first; those
// are written even when the file has none.
var copied = map[string]struct{ required, optional []dicom.Tag }{
	"PATIENT": {[]dicom.Tag{dict.PatientName, dict.PatientID}, []dicom.Tag{dict.PatientBirthDate, dict.PatientSex}},
	"STUDY": {[]dicom.Tag{dict.StudyDate, dict.StudyTime, dict.AccessionNumber, dict.StudyInstanceUID, dict.StudyID},
		[]dicom.Tag{dict.StudyDescription}},
	"SERIES": {[]dicom.Tag{dict.Modality, dict.SeriesInstanceUID, dict.SeriesNumber}, nil},
	"IMAGE":  {[]dicom.Tag{dict.InstanceNumber}, nil},
}

// Add takes a file in whose data set, up to the pixel data, is header and
// returns its File ID: components of the path, each valid on any medium.
func (s *FileSet) Add(meta dicom.FileMeta, header *dicom.DataSet) (fileID []string) {
	describe := func(kind string) func() *dicom.DataSet {
		return func() *dicom.DataSet { return directoryRecord(kind, header) }
	}
	patient := s.root.child("PATIENT", header.String(dict.PatientID)+"\x00"+header.String(dict.PatientName), describe("PATIENT"))
	study := patient.child("STUDY", header.String(dict.StudyInstanceUID), describe("STUDY"))
	series := study.child("SERIES", header.String(dict.SeriesInstanceUID), describe("SERIES"))
	s.count++
	fileID = []string{
		fmt.Sprintf("PAT%05d", patient.number), fmt.Sprintf("STU%05d", study.number),
		fmt.Sprintf("SER%05d", series.number), fmt.Sprintf("I%07d", s.count),
	}
	kind := instanceKind(meta.MediaStorageSOPClassUID)
	series.child(kind, meta.MediaStorageSOPInstanceUID, func() *dicom.DataSet {
		d := directoryRecord(kind, header)
		d.SetString(dict.ReferencedFileID, fileID...)
		d.SetString(dict.ReferencedSOPClassUIDInFile, meta.MediaStorageSOPClassUID)
		d.SetString(dict.ReferencedSOPInstanceUIDInFile, meta.MediaStorageSOPInstanceUID)
		d.SetString(dict.ReferencedTransferSyntaxUIDInFile, meta.TransferSyntaxUID)
		return d
	})
	return fileID
}

// directoryRecord makes a record of a kind with attributes of header.
func directoryRecord(kind string, header *dicom.DataSet) *dicom.DataSet {
	d := &dicom.DataSet{}
	d.SetInt(dict.OffsetOfTheNextDirectoryRecord, 0)
	d.SetInt(dict.RecordInUseFlag, 0xffff)
	d.SetInt(dict.OffsetOfReferencedLowerLevelDirectoryEntity, 0)
	d.SetString(dict.DirectoryRecordType, kind)
	attributes, ok := copied[kind]
	if !ok {
		attributes = copied["IMAGE"]
	}
	if e, ok := header.Get(dict.SpecificCharacterSet); ok && len(e.Value) > 0 {
		d.Set(e)
	}
	for _, tag := range attributes.required {
		if e, ok := header.Get(tag); ok {
			d.Set(e)
		} else {
			d.SetString(tag)
		}
	}
	for _, tag := range attributes.optional {
		if e, ok := header.Get(tag); ok {
			d.Set(e)
		}
	}
	return d
}

// instanceKind is the record type of a SOP class (PS3.3 table F.4-1); what is
// not named otherwise is an IMAGE.
func instanceKind(sopClass string) string {
	uid, _ := dict.LookupUID(sopClass)
	for _, k := range []struct{ part, kind string }{
		{"Waveform", "WAVEFORM"}, {"Presentation State", "PRESENTATION"}, {"Key Object Selection", "KEY OBJECT DOC"},
		{" SR ", "SR DOCUMENT"}, {"Report", "SR DOCUMENT"}, {"Procedure Log", "SR DOCUMENT"}, {"Encapsulated", "ENCAP DOC"},
		{"RT Dose", "RT DOSE"}, {"RT Structure", "RT STRUCTURE SET"}, {"RT Plan", "RT PLAN"}, {"RT Ion Plan", "RT PLAN"},
		{"Treatment Record", "RT TREAT RECORD"}, {"Spectroscopy", "SPECTROSCOPY"}, {"Raw Data", "RAW DATA"},
		{"Registration", "REGISTRATION"}, {"Fiducials", "FIDUCIAL"}, {"Real World Value", "VALUE MAP"},
		{"Surface Segmentation", "SURFACE"}, {"Measurements", "MEASUREMENT"},
	} {
		if strings.Contains(uid.Name, k.part) {
			return k.kind
		}
	}
	return "IMAGE"
}
