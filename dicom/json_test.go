package dicom_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestAppendJSON(t *testing.T) {
	d := new(dicom.DataSet)
	d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 100"))
	d.SetString(dict.ImageType, "ORIGINAL", "", "AXIAL")
	d.SetBytes(dict.PatientName, dict.PN, []byte("M\xFCller^J=\xC4^^="))
	d.SetString(dict.PatientComments, "a \"quoted\"\r\n\\line\x01")
	d.SetString(dict.PatientWeight, "+070.50")
	d.SetString(dict.PixelSpacing, ".5", "x")
	d.SetInt(dict.Rows, 512)
	d.SetInt(dict.FrameIncrementPointer, int(dict.FrameTime))
	d.SetString(dict.PatientID)
	d.SetBytes(dict.ExaminedBodyThickness, dict.FL, []byte{0, 0, 0xC0, 0x7F})
	d.SetBytes(dict.PixelData, dict.OW, []byte{1, 2, 3, 4})
	d.SetItems(dict.ProcedureCodeSequence, new(dicom.DataSet))
	d.SetInt(dict.NewTag(0x0008, 0), 12)
	got, err := dicom.AppendJSON([]byte("x"), d, dicom.JSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := `x{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},` +
		`"00080008":{"vr":"CS","Value":["ORIGINAL",null,"AXIAL"]},` +
		`"00081032":{"vr":"SQ","Value":[{}]},` +
		`"00100010":{"vr":"PN","Value":[{"Alphabetic":"Müller^J","Ideographic":"Ä"}]},` +
		`"00100020":{"vr":"LO"},` +
		`"00101030":{"vr":"DS","Value":[70.50]},` +
		`"00104000":{"vr":"LT","Value":["a \"quoted\"\r\n\\line\u0001"]},` +
		`"00109431":{"vr":"FL","Value":["NaN"]},` +
		`"00280009":{"vr":"AT","Value":["00181063"]},` +
		`"00280010":{"vr":"US","Value":[512]},` +
		`"00280030":{"vr":"DS","Value":[0.5,"x"]},` +
		`"7FE00010":{"vr":"OW","InlineBinary":"AQIDBA=="}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestJSONBulkData(t *testing.T) {
	d, inner := new(dicom.DataSet), new(dicom.DataSet)
	inner.SetBytes(dict.EncapsulatedDocument, dict.OB, make([]byte, 20))
	d.SetItems(dict.ContentSequence, new(dicom.DataSet), inner)
	d.SetBytes(dict.RedPaletteColorLookupTableData, dict.OW, make([]byte, 4))
	d.Set(dicom.Element{Tag: dict.PixelData, VR: dict.OB, Length: -1, Offset: 1000})
	opt := dicom.JSONOptions{MaxInline: 16, BulkDataURI: func(path []dicom.PathStep, e dicom.Element) string {
		return fmt.Sprint(path, e.Tag, e.Offset)
	}}
	got, _ := dicom.AppendJSON(nil, d, opt)
	for _, want := range []string{`"00420011":{"vr":"OB","BulkDataURI":"[{(0040,A730) 1}] (0042,0011) 0"}`,
		`"00281201":{"vr":"OW","InlineBinary":`, `"7FE00010":{"vr":"OB","BulkDataURI":"[] (7FE0,0010) 1000"}`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	opt.BulkDataURI = nil
	got, _ = dicom.AppendJSON(nil, d, opt)
	if strings.Contains(string(got), "7FE00010") || strings.Contains(string(got), "00420011") {
		t.Errorf("bulk data in %s", got)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	d := sample()
	d.SetString(dict.PatientComments, "Größe")
	d.SetString(dict.PatientWeight, "70.5")
	d.SetBytes(dict.ExaminedBodyThickness, dict.FL, []byte{0, 0, 0xC0, 0x3F})
	first, err := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := dicom.ParseJSON(first)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := d.Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	got, _ := again.Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseJSON(t *testing.T) {
	d, err := dicom.ParseJSON([]byte(`{"00280010":{"vr":"US","Value":[5.12e2]},"00100010":{"vr":"PN","Value":["Doe"]},
		"PatientID":{"vr":"LO","Value":["7",null]},"7FE00010":{"vr":"OB","BulkDataURI":"u"},"00081140":{"vr":"SQ","Value":[null]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := d.Int(dict.Rows); n != 512 || d.String(dict.PatientName) != "Doe" || string(d.Raw(dict.PatientID)) != `7\` {
		t.Errorf("rows %d, name %q, id %q", n, d.String(dict.PatientName), d.Raw(dict.PatientID))
	}
	if e, _ := d.Get(dict.PixelData); !e.Omitted() || e.Length != -1 {
		t.Errorf("pixel data %+v", e)
	}
	if d.Item(dict.ReferencedImageSequence, 0) == nil {
		t.Error("a null item is not an empty item")
	}
	d, err = dicom.ParseJSONBulk([]byte(`{"7FE00010":{"vr":"OB","BulkDataURI":"u"}}`),
		func(uri string) ([]byte, error) { return []byte("of " + uri), nil })
	if err != nil || string(d.Raw(dict.PixelData)) != "of u" {
		t.Errorf("bulk data %q, %v", d.Raw(dict.PixelData), err)
	}
}

func TestParseJSONRefuses(t *testing.T) {
	deep := `{"00081140":{"vr":"SQ","Value":[`
	for name, s := range map[string]string{
		"nothing": "", "an array": "[]", "no tag": `{"nothing":{"vr":"LO"}}`, "no VR": `{"00100010":{"vr":"ZZ"}}`,
		"a number that is none":  `{"00280010":{"vr":"US","Value":["x"]}}`,
		"a number too large":     `{"00280010":{"vr":"US","Value":[65536]}}`,
		"a fraction":             `{"00280010":{"vr":"US","Value":[1.5]}}`,
		"an object for a string": `{"00100020":{"vr":"LO","Value":[{}]}}`,
		"bad base64":             `{"7FE00010":{"vr":"OB","InlineBinary":"?"}}`,
		"too deep":               strings.Repeat(deep, 20) + strings.Repeat("]}}", 20),
	} {
		if _, err := dicom.ParseJSON([]byte(s)); !errors.Is(err, dicom.ErrJSON) && !errors.Is(err, dicom.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseJSONWritesNumbersAsTheirVR(t *testing.T) {
	for _, c := range []struct{ json, want string }{
		{`{"00200013":{"vr":"IS","Value":[1.0]}}`, "1"},
		{`{"00200013":{"vr":"IS","Value":[-12e2,7,"8"]}}`, `-1200\7\8`},
		{`{"00200013":{"vr":"IS","Value":[1.5]}}`, "1.5"},
		{`{"00180050":{"vr":"DS","Value":[2.50,1e-3]}}`, `2.50\1e-3`},
		{`{"00180050":{"vr":"DS","Value":[0.12345678901234567]}}`, "0.12345678901235"},
		{`{"00180050":{"vr":"DS","Value":[-123456789.0123456789,12345678901234567890]}}`, `-123456789.01235\1.2345678901e+19`},
		{`{"00180050":{"vr":"DS","Value":[-0.000012345678901234567]}}`, "-1.23456789e-05"},
		{`{"00180050":{"vr":"DS","Value":["0.12345678901234567"]}}`, "0.12345678901234567"},
	} {
		d, err := dicom.ParseJSON([]byte(c.json))
		if err != nil {
			t.Errorf("%s: %v", c.json, err)
			continue
		}
		for e := range d.All() {
			if got := strings.TrimRight(string(e.Value), " "); got != c.want {
				t.Errorf("%s: %q, want %q", c.json, got, c.want)
			}
		}
	}
}

// PS3.18 table F.2.3-1: SV and UV are numbers or strings. JavaScript reads
// numbers of more than 53 bits as others.
func TestJSONOfLongIntegers(t *testing.T) {
	d := new(dicom.DataSet)
	d.SetBytes(dict.SelectorUVValue, dict.UV, []byte("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x07\x00\x00\x00\x00\x00\x00\x00"))
	d.SetBytes(dict.SelectorSVValue, dict.SV, []byte("\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x20\x00\x01\x00\x00\x00\x00\x00\x20\x00"))
	got, err := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"vr":"UV","Value":["18446744073709551615",7]`, `"vr":"SV","Value":["-9223372036854775808",9007199254740992,"9007199254740993"]`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	again, err := dicom.ParseJSON(got)
	if err != nil || !bytes.Equal(again.Raw(dict.SelectorUVValue), d.Raw(dict.SelectorUVValue)) || !bytes.Equal(again.Raw(dict.SelectorSVValue), d.Raw(dict.SelectorSVValue)) {
		t.Errorf("read again: %v", err)
	}
}
