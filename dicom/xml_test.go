package dicom_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

func TestAppendXML(t *testing.T) {
	d, item := new(dicom.DataSet), new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.ImageType, "ORIGINAL", "", "<AXIAL>")
	d.SetString(dict.PatientName, "Müller^J^^=Ä")
	d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER"))
	d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.OB, []byte{1, 2})
	d.SetInt(dict.Rows, 512)
	item.SetString(dict.PatientID)
	d.SetItems(dict.ReferencedPatientSequence, item)
	d.Set(dicom.Element{Tag: dict.PixelData, VR: dict.OW, Length: 10, Offset: 99})
	got, err := dicom.AppendXML(nil, d, dicom.JSONOptions{BulkDataURI: func([]dicom.PathStep, dicom.Element) string { return "b?x&y" }})
	if err != nil {
		t.Fatal(err)
	}
	want := `<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">` +
		`<DicomAttribute tag="00080005" vr="CS" keyword="SpecificCharacterSet"><Value number="1">ISO_IR 192</Value></DicomAttribute>` +
		`<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">ORIGINAL</Value><Value number="3">&lt;AXIAL&gt;</Value></DicomAttribute>` +
		`<DicomAttribute tag="00081120" vr="SQ" keyword="ReferencedPatientSequence"><Item number="1"><DicomAttribute tag="00100020" vr="LO" keyword="PatientID"></DicomAttribute></Item></DicomAttribute>` +
		`<DicomAttribute tag="00090010" vr="LO"><Value number="1">MAKER</Value></DicomAttribute>` +
		`<DicomAttribute tag="00090001" vr="OB" privateCreator="MAKER"><InlineBinary>AQI=</InlineBinary></DicomAttribute>` +
		`<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1"><Alphabetic><FamilyName>Müller</FamilyName><GivenName>J</GivenName></Alphabetic><Ideographic><FamilyName>Ä</FamilyName></Ideographic></PersonName></DicomAttribute>` +
		`<DicomAttribute tag="00280010" vr="US" keyword="Rows"><Value number="1">512</Value></DicomAttribute>` +
		`<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="b?x&amp;y"/></DicomAttribute></NativeDicomModel>
`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestXMLAgreesWithDCMTK compares with dcm2xml 3.6.7 in its native format, apart
// from private attributes (DCMTK has a dictionary of some vendors'), from
// binary values (it swaps their bytes or leaves them out) and from the third group
// of names (it repeats the second one).
func TestXMLAgreesWithDCMTK(t *testing.T) {
	dcm2xml := tool(t, "dcm2xml")
	compared := 0
	for i, e := range shareddata.Valid(t) {
		if i%4 != 0 && e.CharacterSet == "" { // a quarter of those that are much alike
			continue
		}
		_, ts, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		path := e.Path
		if !ts.Deflated {
			path, body = headerFile(t, body, ts)
		}
		theirs, err := exec.Command(dcm2xml, "-q", "-nat", "+U8", path).Output()
		if err != nil {
			continue // a character set that it does not convert
		}
		d, err := dicom.ParseDataSet(body, ts)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := dicom.AppendXML(nil, d, dicom.JSONOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a, b := flatXML(t, ours), flatXML(t, theirs)
		compared++
		for k, v := range a {
			attribute, _, _ := strings.Cut(k, "/Value") // of one level
			if _, unknown := b[attribute+"@UN"]; unknown {
				continue // a standard attribute that came as UN
			}
			if w, ok := b[k]; v != w && !(w == "" && ok) && !sameFloat(v, w) && !strings.Contains(k, "Phonetic") {
				t.Errorf("%s %s: %.80q, dcm2xml has %.80q", e.Name, k, v, w)
			}
		}
	}
	if compared < 50 {
		t.Errorf("only %d files compared", compared)
	}
}

// flatXML maps the path of each text to it, without private attributes.
func flatXML(t *testing.T, b []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	var path []string
	private := 0
	dec := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			name := x.Name.Local
			for _, attr := range x.Attr {
				if attr.Name.Local == "tag" || attr.Name.Local == "number" {
					name += "-" + attr.Value
				}
			}
			if i := strings.Index(name, "-"); private > 0 || x.Name.Local == "DicomAttribute" && strings.ContainsRune("13579BDF", rune(name[i+4])) {
				private++
			}
			path = append(path, name)
			if i := slices.IndexFunc(x.Attr, func(a xml.Attr) bool { return a.Name.Local == "vr" && a.Value == "UN" }); i >= 0 && private == 0 {
				m[strings.Join(path, "/")+"@UN"] = "UN"
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			private = max(0, private-1)
		case xml.CharData:
			text := strings.TrimSpace(string(x))
			if private == 0 && text != "" && path[len(path)-1] != "InlineBinary" {
				m[strings.Join(path, "/")] += text
			}
		}
	}
}
