package dicom_test

import (
	"bytes"
	"io"
	"testing"

	"pgregory.net/rapid"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// pieces hands out b in pieces of the given sizes, then byte by byte.
type pieces struct {
	b     []byte
	sizes []int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(p.sizes) > 0 {
		n, p.sizes = p.sizes[0], p.sizes[1:]
	}
	n = copy(to, p.b[:min(n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

// anyDataSet draws a data set with nested sequences.
func anyDataSet(t *rapid.T, depth int) *dicom.DataSet {
	d := new(dicom.DataSet)
	for range rapid.IntRange(0, 6).Draw(t, "elements") {
		tag := rapid.SampledFrom([]dicom.Tag{dict.PatientName, dict.Rows, dict.PixelSpacing, dict.ImageType,
			dict.RedPaletteColorLookupTableData, dict.NewTag(0x0009, 0x1001), dict.ExtendedOffsetTable, dict.SelectorUVValue,
			dict.PixelData, dict.TextValue, dict.StudyInstanceUID, dict.ExaminedBodyThickness}).Draw(t, "tag")
		vr, _ := dict.VRs(tag)
		if vr == 0 {
			vr = dict.UN
		}
		unit := vr.Unit()
		value := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 2*unit, 2*unit).Draw(t, "value"), rapid.IntRange(0, 300).Draw(t, "times"))
		d.SetBytes(tag, vr, value)
	}
	if depth < 4 && rapid.Bool().Draw(t, "sequence") {
		var items []*dicom.DataSet
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			items = append(items, anyDataSet(t, depth+1))
		}
		d.SetItems(dict.ContentSequence, items...)
	}
	return d
}

func TestTokensDoNotDependOnHowBytesAreSplit(t *testing.T) {
	syntaxes := uncompressed(t)
	rapid.Check(t, func(t *rapid.T) {
		ts := rapid.SampledFrom(syntaxes).Draw(t, "syntax")
		d := anyDataSet(t, 0)
		var b bytes.Buffer
		w := dicom.NewWriter(&b, ts)
		if rapid.Bool().Draw(t, "undefined length") {
			writeUndefined(w, d)
		} else {
			w.WriteDataSet(d)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		cut := b.Bytes()[:b.Len()-rapid.IntRange(0, min(b.Len(), 20)).Draw(t, "cut off")]
		sizes := rapid.SliceOf(rapid.IntRange(1, 70000)).Draw(t, "sizes")
		var whole, split stream
		err, splitErr := whole.read(bytes.NewReader(cut), ts), split.read(&pieces{cut, sizes}, ts)
		if !split.equal(&whole) || (err == io.EOF) != (splitErr == io.EOF) {
			t.Fatalf("%v, %v; at once %v, %v", split.tokens, splitErr, whole.tokens, err)
		}
		a, errA := dicom.ScanDataSet(bytes.NewReader(cut), ts, dicom.Limits{})
		c, errC := dicom.ScanDataSet(&pieces{cut, sizes}, ts, dicom.Limits{})
		if (errA == nil) != (errC == nil) || errA == nil && (a.Digest != c.Digest || a.BodyOffset != c.BodyOffset || a.Header.Len() != c.Header.Len()) {
			t.Fatalf("the scan depends on it: %v, %v", errA, errC)
		}
	})
}
