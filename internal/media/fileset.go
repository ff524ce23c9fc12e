package media

import (
	"errors"
	"fmt"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// root is the folder of all files of a set.
const root = "DICOM"

// maxNumber is the largest that has room in a component of eight characters
// after its two letters (PS3.10 clause 8.2).
const maxNumber = 999_999

// FileSet is a directory in the making. The zero value is an empty one.
type FileSet struct {
	top    record // its children are the patients
	places map[string]*place
}

// place is where the files of a study or of a series go.
type place struct {
	number int
	below  map[string]*place
	files  int
}

// Place returns the File ID of the next file of a series: components of its
// path, each of at most eight capital letters and digits.
func (s *FileSet) Place(studyUID, seriesUID string) ([]string, error) {
	study := enter(&s.places, studyUID)
	series := enter(&study.below, seriesUID)
	series.files++
	if max(study.number, series.number, series.files) > maxNumber {
		return nil, errors.New("more files than there are File IDs")
	}
	return []string{root, fmt.Sprintf("ST%06d", study.number), fmt.Sprintf("SE%06d", series.number), fmt.Sprintf("IM%06d", series.files)}, nil
}

// enter returns the place of a key, a new one with the next number.
func enter(places *map[string]*place, key string) *place {
	p, ok := (*places)[key]
	if !ok {
		if *places == nil {
			*places = map[string]*place{}
		}
		p = &place{number: len(*places) + 1}
		(*places)[key] = p
	}
	return p
}

// record is one directory record with those below it. Its content is encoded:
// the offsets in it are filled in when all records are known.
type record struct {
	encoded  []byte
	children []*record
	index    map[string]*record

	offset uint32 // in the file
}

// child returns the record of a key below r. A new one is made by encode, which
// is told its number among its siblings.
func (r *record) child(key string, encode func(number int) ([]byte, error)) (*record, error) {
	if c, ok := r.index[key]; ok {
		return c, nil
	}
	encoded, err := encode(len(r.children) + 1)
	if err != nil {
		return nil, fmt.Errorf("encode a directory record: %w", err)
	}
	c := &record{encoded: encoded}
	if r.index == nil {
		r.index = map[string]*record{}
	}
	r.index[key] = c
	r.children = append(r.children, c)
	return c, nil
}

// Add lists a file under its File ID. Header is its data set up to the pixel
// data. The first file of a patient, study or series describes it.
func (s *FileSet) Add(fileID []string, meta dicom.FileMeta, header *dicom.DataSet) error {
	at := &s.top
	for _, level := range []struct {
		kind recordType
		key  string
	}{
		{patientRecord, patientKey(header)},
		{studyRecord, header.String(dict.StudyInstanceUID)},
		{seriesRecord, header.String(dict.SeriesInstanceUID)},
	} {
		var err error
		at, err = at.child(level.key, func(number int) ([]byte, error) { return level.kind.encode(header, number, nil) })
		if err != nil {
			return err
		}
	}
	_, err := at.child(meta.MediaStorageSOPInstanceUID, func(number int) ([]byte, error) {
		return recordTypeOf(meta.MediaStorageSOPClassUID).encode(header, number, func(d *dicom.DataSet) {
			d.SetString(dict.ReferencedFileID, fileID...)
			d.SetString(dict.ReferencedSOPClassUIDInFile, meta.MediaStorageSOPClassUID)
			d.SetString(dict.ReferencedSOPInstanceUIDInFile, meta.MediaStorageSOPInstanceUID)
			d.SetString(dict.ReferencedTransferSyntaxUIDInFile, meta.TransferSyntaxUID)
		})
	})
	return err
}

// patientKey tells patients apart: by id and issuer, and those without an id by
// name.
func patientKey(header *dicom.DataSet) string {
	if id := header.String(dict.PatientID); id != "" {
		return id + "\x00" + header.String(dict.IssuerOfPatientID)
	}
	return "\x00\x00" + header.String(dict.PatientName)
}
