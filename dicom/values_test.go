package dicom_test

import (
	"bytes"
	"compress/zlib"
	"reflect"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		name    string
		tag     dicom.Tag
		set     []string
		strings []string
		ints    []int
		floats  []float64
	}{
		{"US", dict.Rows, []string{"65535"}, []string{"65535"}, []int{65535}, []float64{65535}},
		{"SS", dict.OverlayOrigin, []string{"-1", "2"}, []string{"-1", "2"}, []int{-1, 2}, []float64{-1, 2}},
		{"UL", dict.SimpleFrameList, []string{"4294967295"}, []string{"4294967295"}, []int{4294967295}, []float64{4294967295}},
		{"SL", dict.ReferencePixelX0, []string{"-5"}, []string{"-5"}, []int{-5}, []float64{-5}},
		{"SV", dict.SelectorSVValue, []string{"-9007199254740993"}, []string{"-9007199254740993"}, []int{-9007199254740993}, []float64{-9007199254740993}},
		{"UV", dict.SelectorUVValue, []string{"18446744073709551615"}, []string{"18446744073709551615"}, nil, []float64{18446744073709551615}},
		{"FL", dict.ExaminedBodyThickness, []string{"1.5"}, []string{"1.5"}, nil, []float64{1.5}},
		{"FD", dict.RealWorldValueSlope, []string{"0.1"}, []string{"0.1"}, nil, []float64{0.1}},
		{"IS", dict.InstanceNumber, []string{"+7", "-3"}, []string{"+7", "-3"}, []int{7, -3}, []float64{7, -3}},
		{"DS", dict.PixelSpacing, []string{"2.0", "1e1"}, []string{"2.0", "1e1"}, []int{2, 10}, []float64{2, 10}},
		{"DS, a fraction", dict.PatientWeight, []string{"70.5"}, []string{"70.5"}, nil, []float64{70.5}},
		{"DS, text", dict.PatientWeight, []string{"heavy"}, []string{"heavy"}, nil, nil},
		{"AT", dict.FrameIncrementPointer, []string{"(0018,1063)", "00181065"}, []string{"00181063", "00181065"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d dicom.DataSet
			d.SetString(c.tag, c.set...)
			if got := d.Strings(c.tag); !reflect.DeepEqual(got, c.strings) {
				t.Errorf("strings %q", got)
			}
			if got := d.Ints(c.tag); !reflect.DeepEqual(got, c.ints) {
				t.Errorf("integers %v", got)
			}
			if got := d.Floats(c.tag); !reflect.DeepEqual(got, c.floats) {
				t.Errorf("floats %v", got)
			}
		})
	}
}

func TestSetInt(t *testing.T) {
	var d dicom.DataSet
	for tag, want := range map[dicom.Tag]int{dict.Rows: 512, dict.OverlayOrigin: -1, dict.SelectorSVValue: -9, dict.InstanceNumber: 7, dict.SeriesNumber: -7} {
		d.SetInt(tag, want)
		if got, ok := d.Int(tag); !ok || got != want {
			t.Errorf("%v: %d", tag, got)
		}
	}
	d.SetInt(dict.ExaminedBodyThickness, 3)
	if got := d.Floats(dict.ExaminedBodyThickness); len(got) != 1 || got[0] != 3 {
		t.Errorf("%v", got)
	}
}

func TestCloneOfAnItemStandsAlone(t *testing.T) {
	var d, item dicom.DataSet
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 100")
	item.SetBytes(dict.PatientName, dict.PN, []byte("\xFC"))
	d.SetItems(dict.ReferencedPatientSequence, &item)
	c := d.Item(dict.ReferencedPatientSequence, 0).Clone()
	if got := c.String(dict.PatientName); got != "ü" || c.String(dict.SpecificCharacterSet) != "ISO_IR 100" {
		t.Errorf("%q in %q", got, c.String(dict.SpecificCharacterSet))
	}
}

func TestZlibInsteadOfDeflate(t *testing.T) {
	want := mustEncode(t, sample())
	for _, level := range []int{zlib.NoCompression, zlib.BestSpeed, zlib.DefaultCompression, zlib.BestCompression} {
		var b bytes.Buffer
		w, err := zlib.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(want)
		w.Close()
		ts := syntax(t, dicom.DeflatedExplicitVRLittleEndian)
		s, err := dicom.ScanDataSet(bytes.NewReader(b.Bytes()), ts, dicom.Limits{})
		if err != nil || !s.Findings.Has(dicom.ZlibWrapped) || s.Inflated != int64(len(want)) || s.Size != int64(b.Len()) {
			t.Errorf("level %d: %+v, %v", level, s, err)
		}
	}
}
