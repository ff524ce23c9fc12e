package media_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/media"
)

// add places a file with a header of its own and returns its File ID.
func add(t *testing.T, s *media.FileSet, class string, header *dicom.DataSet) string {
	t.Helper()
	id, err := s.Place(header.String(dict.StudyInstanceUID), header.String(dict.SeriesInstanceUID))
	if err != nil {
		t.Fatal(err)
	}
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: class, MediaStorageSOPInstanceUID: header.String(dict.SOPInstanceUID),
		TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
	}
	if err := s.Add(id, meta, header); err != nil {
		t.Fatal(err)
	}
	return strings.Join(id, "/")
}

// header is what a file has of each level: keys and nothing else.
func header(patient, study, series, instance string) *dicom.DataSet {
	d := &dicom.DataSet{}
	d.SetString(dict.PatientID, patient)
	d.SetString(dict.StudyInstanceUID, study)
	d.SetString(dict.SeriesInstanceUID, series)
	d.SetString(dict.SOPInstanceUID, instance)
	return d
}

func directory(t *testing.T, s *media.FileSet) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteDICOMDIR(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFileIDsFollowStudiesAndSeries(t *testing.T) {
	var s media.FileSet
	legal := regexp.MustCompile(`^[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,7}$`) // PS3.10 clause 8.2, 8.5
	for _, c := range []struct{ study, series, want string }{
		{"1.1", "1.1.1", "DICOM/ST000001/SE000001/IM000001"},
		{"1.1", "1.1.1", "DICOM/ST000001/SE000001/IM000002"},
		{"1.1", "1.1.2", "DICOM/ST000001/SE000002/IM000001"},
		{"1.2", "1.2.1", "DICOM/ST000002/SE000001/IM000001"},
		{"1.1", "1.1.1", "DICOM/ST000001/SE000001/IM000003"},
	} {
		got, err := s.Place(c.study, c.series)
		if id := strings.Join(got, "/"); err != nil || id != c.want || !legal.MatchString(id) {
			t.Errorf("%s/%s: %s, %v, want %s", c.study, c.series, id, err, c.want)
		}
	}
}

// The records are followed as a reader does, by their offsets.
func TestOffsetsLeadToEveryRecord(t *testing.T) {
	var s media.FileSet
	want := map[string]bool{}
	for i := range 24 {
		study := fmt.Sprintf("2.25.%d", i%4)
		want[add(t, &s, dict.UIDVLEndoscopicImageStorage, header(fmt.Sprint("P", i%2), study, study+"."+fmt.Sprint(i%3), fmt.Sprintf("2.25.9.%d", i)))] = true
	}
	b := directory(t, &s)
	meta, data, err := dicom.ReadFileMeta(bytes.NewReader(b))
	if err != nil || meta.MediaStorageSOPClassUID != dict.UIDMediaStorageDirectoryStorage {
		t.Fatalf("File Meta: %v, %v", meta, err)
	}
	ts, _ := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	d, err := dicom.ReadDataSet(dicom.NewReader(data, ts, dicom.DefaultLimits()), dicom.ReadOptions{MaxValue: 1 << 20, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var levels [8]int
	var follow func(offset, level int)
	follow = func(offset, level int) {
		for offset != 0 {
			length := int(b[offset+4]) | int(b[offset+5])<<8
			record, err := dicom.ParseDataSet(b[offset+8:offset+8+length], ts)
			if err != nil || !bytes.Equal(b[offset:offset+4], []byte{0xfe, 0xff, 0, 0xe0}) {
				t.Fatalf("no record at %d: %v", offset, err)
			}
			levels[level]++
			if id := record.Strings(dict.ReferencedFileID); len(id) > 0 {
				delete(want, strings.Join(id, "/"))
			}
			lower, _ := record.Int(dict.OffsetOfReferencedLowerLevelDirectoryEntity)
			follow(lower, level+1)
			offset, _ = record.Int(dict.OffsetOfTheNextDirectoryRecord)
		}
	}
	first, _ := d.Int(dict.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity)
	follow(first, 0)
	if levels != [8]int{2, 4, 12, 24} || len(want) > 0 {
		t.Errorf("records by level: %v; %d files not found", levels, len(want))
	}
	if n := len(d.Items(dict.DirectoryRecordSequence)); n != 2+4+12+24 {
		t.Errorf("%d records in the sequence", n)
	}
}

// dciodvfy knows what each type of record must have. It is asked about files
// that lack everything, in every storage class there is.
func TestDirectoryIsValidWhateverFilesLack(t *testing.T) {
	needs(t, "dciodvfy", "dcmdump")
	var s media.FileSet
	for i, class := range dict.StorageSOPClasses() {
		d := header("", "2.25.1", fmt.Sprintf("2.25.1.%d", i), fmt.Sprintf("2.25.2.%d", i))
		d.SetItems(dict.ConceptNameCodeSequence, code()) // a report without a title is none
		add(t, &s, class, d)
	}
	name := filepath.Join(t.TempDir(), "DICOMDIR")
	if err := os.WriteFile(name, directory(t, &s), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "dcmdump", "-q", name).CombinedOutput(); err != nil || len(out) == 0 {
		t.Errorf("dcmdump: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), "dciodvfy", name).CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		switch {
		case !strings.HasPrefix(line, "Error"):
		case strings.Contains(line, "Type 1C"), strings.Contains(line, "<ReferencedImageEvidenceSequence>"):
			// 1C as well (PS3.3 F.5.28); that the condition is not met it cannot see
		case strings.Contains(line, "Unrecognized enumerated value"): // types younger than Debian's dciodvfy of 2022
		default:
			t.Error(line)
		}
	}
}

func code() *dicom.DataSet {
	d := &dicom.DataSet{}
	d.SetString(dict.CodeValue, "121111")
	d.SetString(dict.CodingSchemeDesignator, "DCM")
	d.SetString(dict.CodeMeaning, "Summary")
	return d
}

// What the first file has is copied in its character set, in today's form.
func TestRecordsCopyWhatFilesHave(t *testing.T) {
	var s media.FileSet
	d := header("77", "2.25.1", "2.25.1.1", "2.25.1.1.1")
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 100")
	d.SetBytes(dict.PatientName, dict.PN, []byte("M\xfcller^\xc4nne"))
	d.SetBytes(dict.StudyDate, dict.DA, []byte("1999.05.24"))
	d.SetBytes(dict.StudyTime, dict.TM, []byte("15:26:10"))
	d.SetString(dict.Modality, "ES")
	add(t, &s, dict.UIDVLEndoscopicImageStorage, d)
	add(t, &s, dict.UIDVLEndoscopicImageStorage, header("77", "2.25.1", "2.25.1.1", "2.25.1.1.2"))
	_, data, err := dicom.ReadFileMeta(bytes.NewReader(directory(t, &s)))
	if err != nil {
		t.Fatal(err)
	}
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	set, err := dicom.ReadDataSet(dicom.NewReader(data, ts, dicom.DefaultLimits()), dicom.ReadOptions{MaxValue: 1 << 20, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	got := map[dicom.Tag]string{}
	for _, r := range set.Items(dict.DirectoryRecordSequence) {
		types = append(types, r.String(dict.DirectoryRecordType))
		for _, tag := range []dicom.Tag{dict.PatientName, dict.PatientID, dict.StudyDate, dict.StudyTime, dict.Modality, dict.InstanceNumber} {
			if r.Has(tag) {
				got[tag] = r.String(tag)
			}
		}
	}
	if want := "PATIENT STUDY SERIES IMAGE IMAGE"; strings.Join(types, " ") != want {
		t.Errorf("records %q", types)
	}
	for tag, want := range map[dicom.Tag]string{
		dict.PatientName: "Müller^Änne", dict.PatientID: "77", dict.StudyDate: "19990524", dict.StudyTime: "152610",
		dict.Modality: "ES", dict.InstanceNumber: "2",
	} {
		if got[tag] != want {
			t.Errorf("%v is %q, want %q", tag, got[tag], want)
		}
	}
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}
