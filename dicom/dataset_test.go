package dicom_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func syntax(t testing.TB, uid string) dicom.TransferSyntax {
	t.Helper()
	ts, ok := dicom.LookupTransferSyntax(uid)
	if !ok {
		t.Fatalf("no transfer syntax %s", uid)
	}
	return ts
}

// uncompressed are the syntaxes that a data set can be encoded in whole.
func uncompressed(t testing.TB) []dicom.TransferSyntax {
	return []dicom.TransferSyntax{syntax(t, dicom.ImplicitVRLittleEndian), syntax(t, dicom.ExplicitVRLittleEndian),
		syntax(t, dicom.ExplicitVRBigEndian), syntax(t, dicom.DeflatedExplicitVRLittleEndian)}
}

// sample has one element of each shape.
func sample() *dicom.DataSet {
	var d, item, inner dicom.DataSet
	d.SetString(dict.SOPClassUID, dict.UIDCTImageStorage)
	d.SetString(dict.PatientName, "Doe^Jane")
	d.SetString(dict.ImageType, "ORIGINAL", "PRIMARY")
	d.SetInt(dict.Rows, 512)
	d.SetInt(dict.SeriesNumber, 7)
	d.SetInt(dict.FrameIncrementPointer, int(dict.FrameTime))
	d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("LUMEN TEST"))
	d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.UN, []byte{1, 2, 3, 4})
	d.SetBytes(dict.RedPaletteColorLookupTableData, dict.OW, []byte{1, 2, 3, 4})
	d.SetBytes(dict.ExtendedOffsetTable, dict.OV, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	d.SetString(dict.PatientID)
	inner.SetString(dict.CodeValue, "T-1")
	item.SetItems(dict.PurposeOfReferenceCodeSequence, &inner)
	d.SetItems(dict.ReferencedImageSequence, &item, new(dicom.DataSet))
	d.SetItems(dict.ProcedureCodeSequence)
	return &d
}

func TestEncodeAndParse(t *testing.T) {
	want, err := sample().Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	for _, ts := range uncompressed(t) {
		t.Run(ts.Name, func(t *testing.T) {
			b, err := sample().Encode(ts)
			if err != nil {
				t.Fatal(err)
			}
			d, err := dicom.ParseDataSet(b, ts)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Encode(syntax(t, dicom.ExplicitVRLittleEndian))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestGetters(t *testing.T) {
	d := sample()
	if got := d.String(dict.PatientName); got != "Doe^Jane" {
		t.Errorf("PatientName = %q", got)
	}
	if got := d.Strings(dict.ImageType); !reflect.DeepEqual(got, []string{"ORIGINAL", "PRIMARY"}) {
		t.Errorf("ImageType = %q", got)
	}
	if got := d.Raw(dict.SOPClassUID); string(got) != dict.UIDCTImageStorage+"\x00" {
		t.Errorf("raw SOPClassUID = %q", got)
	}
	for _, c := range []struct {
		tag  dicom.Tag
		want int
		ok   bool
	}{{dict.Rows, 512, true}, {dict.SeriesNumber, 7, true}, {dict.Columns, 0, false}, {dict.PatientName, 0, false}} {
		if got, ok := d.Int(c.tag); got != c.want || ok != c.ok {
			t.Errorf("%v: Int = %d, %v", c.tag, got, ok)
		}
	}
	if got := d.String(dict.FrameIncrementPointer); got != "00181063" {
		t.Errorf("FrameIncrementPointer = %q", got)
	}
	item := d.Item(dict.ReferencedImageSequence, 0)
	if got := item.Item(dict.PurposeOfReferenceCodeSequence, 0).String(dict.CodeValue); got != "T-1" {
		t.Errorf("CodeValue = %q", got)
	}
	if d.Item(dict.ReferencedImageSequence, 2) != nil || d.Item(dict.PatientName, 0) != nil {
		t.Error("an item that does not exist")
	}
	if !d.Has(dict.PatientID) || d.String(dict.PatientID) != "" {
		t.Error("an empty element is not there, or not empty")
	}
	d.Delete(dict.PatientID)
	if d.Has(dict.PatientID) {
		t.Error("deleted and there")
	}
	var none *dicom.DataSet
	if none.String(dict.PatientID) != "" || none.Len() != 0 || none.Item(dict.PatientName, 0) != nil {
		t.Error("a nil data set is not empty")
	}
}

func TestElementsAreSorted(t *testing.T) {
	var last dicom.Tag
	for e := range sample().All() {
		if e.Tag <= last {
			t.Errorf("%v after %v", e.Tag, last)
		}
		last = e.Tag
	}
}

func TestCloneIsIndependent(t *testing.T) {
	d := sample()
	c := d.Clone()
	c.Item(dict.ReferencedImageSequence, 0).SetString(dict.InstanceNumber, "1")
	c.Raw(dict.Rows)[0] = 9
	if d.Item(dict.ReferencedImageSequence, 0).Has(dict.InstanceNumber) || d.Raw(dict.Rows)[0] == 9 {
		t.Error("the original changed with its clone")
	}
}

func TestEncodeWithoutValue(t *testing.T) {
	b, err := sample().Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	r := dicom.NewReader(bytes.NewReader(b), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
	d, err := dicom.ReadDataSet(r, dicom.ReadOptions{MaxValue: 4})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := d.Get(dict.PatientName)
	if !e.Omitted() || string(b[e.Offset:e.Offset+e.Length]) != "Doe^Jane" {
		t.Errorf("omitted %v, value at %d, %d bytes", e.Omitted(), e.Offset, e.Length)
	}
	if _, err := d.Encode(syntax(t, dicom.ExplicitVRLittleEndian)); !errors.Is(err, dicom.ErrOmitted) {
		t.Errorf("error = %v", err)
	}
}

func TestReadUntil(t *testing.T) {
	b, err := sample().Encode(syntax(t, dicom.ImplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	r := dicom.NewReader(bytes.NewReader(b), syntax(t, dicom.ImplicitVRLittleEndian), dicom.Limits{})
	d, err := dicom.ReadDataSet(r, dicom.ReadOptions{Until: dict.PatientID})
	if err != nil || d.Has(dict.PatientID) || !d.Has(dict.PatientName) {
		t.Errorf("%d elements, %v", d.Len(), err)
	}
	if tok, err := r.Next(); err != nil || tok.Tag != dict.PatientID {
		t.Errorf("next is %v, %v", tok.Tag, err)
	}
}
