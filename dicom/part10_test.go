package dicom_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestFileMetaRoundTrip(t *testing.T) {
	want := dicom.FileMeta{
		MediaStorageSOPClassUID: dict.UIDCTImageStorage, MediaStorageSOPInstanceUID: "1.2.3",
		TransferSyntaxUID: dicom.JPEGBaseline8Bit, ImplementationClassUID: dicom.ImplementationClassUID,
		ImplementationVersionName: dicom.ImplementationVersionName, SourceApplicationEntityTitle: "TOWER",
	}
	file := append(want.AppendTo(nil), "data set"...)
	got, r, err := dicom.ReadFileMeta(bytes.NewReader(file))
	if err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "data set" {
		t.Errorf("then %q", rest)
	}
}

func TestReadFileMetaTolerates(t *testing.T) {
	whole := dicom.FileMeta{TransferSyntaxUID: dicom.ExplicitVRLittleEndian}.AppendTo(nil)
	dataSet, err := sample().Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	implicit, err := sample().Encode(syntax(t, dicom.ImplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	bigEndian, err := sample().Encode(syntax(t, dicom.ExplicitVRBigEndian))
	if err != nil {
		t.Fatal(err)
	}
	wrongLength := bytes.Clone(whole)
	wrongLength[140] += 6
	for _, c := range []struct {
		name         string
		head, body   []byte
		syntax       string
		wantFindings bool
	}{
		{"a file as it should be", whole, dataSet, dicom.ExplicitVRLittleEndian, false},
		{"no preamble", whole[128:], dataSet, dicom.ExplicitVRLittleEndian, true},
		{"neither preamble nor prefix", whole[132:], dataSet, dicom.ExplicitVRLittleEndian, true},
		{"wrong group length", wrongLength, dataSet, dicom.ExplicitVRLittleEndian, true},
		{"no group length", append(bytes.Clone(whole[:132]), whole[144:]...), dataSet, dicom.ExplicitVRLittleEndian, false},
		{"no File Meta, explicit", nil, dataSet, dicom.ExplicitVRLittleEndian, true},
		{"no File Meta, implicit", nil, implicit, dicom.ImplicitVRLittleEndian, true},
		{"no File Meta, big endian", nil, bigEndian, dicom.ExplicitVRBigEndian, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, r, err := dicom.ReadFileMeta(io.MultiReader(bytes.NewReader(c.head), bytes.NewReader(c.body)))
			if err != nil {
				t.Fatal(err)
			}
			if m.TransferSyntaxUID != c.syntax || m.Findings.Any() != c.wantFindings {
				t.Errorf("transfer syntax %q, findings %v", m.TransferSyntaxUID, m.Findings)
			}
			if rest, _ := io.ReadAll(r); !bytes.Equal(rest, c.body) {
				t.Errorf("data set of %d bytes, want %d", len(rest), len(c.body))
			}
		})
	}
}

func TestReadFileMetaRefuses(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":       "",
		"text":          strings.Repeat("this is no DICOM file. ", 20),
		"a large claim": strings.Repeat("\x00", 128) + "DICM\x02\x00\x01\x00OB\x00\x00\xFF\xFF\xFF\x7F",
		"a cut value":   strings.Repeat("\x00", 128) + "DICM\x02\x00\x10\x00UI\x10\x001.2",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := dicom.ReadFileMeta(strings.NewReader(b)); err == nil {
				t.Error("no error")
			}
		})
	}
	cause := errors.New("cable")
	if _, _, err := dicom.ReadFileMeta(io.MultiReader(strings.NewReader("DI"), failing{cause})); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// failing is a source that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestValidUID(t *testing.T) {
	for s, want := range map[string]bool{
		"1.2.840.10008.1.1": true, strings.Repeat("1", 64): true, strings.Repeat("1", 65): false,
		"": false, "1.2/3": false, "..": true, "1.2 ": false, "1.2\x00": false, "a.b": false,
	} {
		if dicom.ValidUID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
