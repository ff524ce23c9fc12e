package dicom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strconv"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// enhanced is an enhanced multi-frame header: per frame seven sequences with
// what a CT or MR writes into them, some twenty elements and items.
func enhanced(frames int) *dicom.DataSet {
	group := func(tag dicom.Tag, set func(*dicom.DataSet)) func(*dicom.DataSet) {
		return func(frame *dicom.DataSet) {
			var item dicom.DataSet
			set(&item)
			frame.SetItems(tag, &item)
		}
	}
	d := sample()
	d.SetString(dict.SOPClassUID, dict.UIDEnhancedCTImageStorage)
	d.SetInt(dict.NumberOfFrames, frames)
	items := make([]*dicom.DataSet, frames)
	for i := range items {
		items[i] = new(dicom.DataSet)
		for _, set := range []func(*dicom.DataSet){
			group(dict.FrameContentSequence, func(d *dicom.DataSet) {
				d.SetString(dict.FrameAcquisitionDateTime, "20240229101112.000000")
				d.SetInt(dict.FrameAcquisitionNumber, i+1)
				d.SetInt(dict.DimensionIndexValues, 1, i+1)
			}),
			group(dict.PlanePositionSequence, func(d *dicom.DataSet) {
				d.SetString(dict.ImagePositionPatient, "-158.135803", "-179.035797", strconv.Itoa(i))
			}),
			group(dict.PlaneOrientationSequence, func(d *dicom.DataSet) {
				d.SetString(dict.ImageOrientationPatient, "1", "0", "0", "0", "1", "0")
			}),
			group(dict.PixelMeasuresSequence, func(d *dicom.DataSet) { d.SetString(dict.PixelSpacing, "0.66", "0.66") }),
			group(dict.FrameVOILUTSequence, func(d *dicom.DataSet) {
				d.SetString(dict.WindowCenter, "40")
				d.SetString(dict.WindowWidth, "400")
			}),
			group(dict.DerivationImageSequence, func(d *dicom.DataSet) {
				d.SetString(dict.DerivationDescription, fmt.Sprint("Bild ", i, " für Müller"))
			}),
			group(dict.ReferencedImageSequence, func(d *dicom.DataSet) {
				d.SetString(dict.ReferencedSOPInstanceUID, fmt.Sprint("1.2.826.0.1.3680043.8.498.", i))
			}),
		} {
			set(items[i])
		}
	}
	d.SetItems(dict.PerFrameFunctionalGroupsSequence, items...)
	return d
}

func TestWriteJSONIsAppendJSON(t *testing.T) {
	uri := func(path []dicom.PathStep, e dicom.Element) string { return fmt.Sprint(path, e.Tag, e.Length) }
	opt := dicom.JSONOptions{BulkDataURI: uri, MaxInline: 64}
	for _, e := range shareddata.Valid(t) {
		_, ts, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		r := dicom.NewBytesReader(body, ts, dicom.Limits{})
		d, err := dicom.ReadDataSet(r, dicom.ReadOptions{MaxValue: 4096})
		if err != nil {
			t.Fatal(err)
		}
		pixel := false
		for _, tag := range []dicom.Tag{dict.FloatPixelData, dict.DoubleFloatPixelData, dict.PixelData} {
			if pixel {
				d.Delete(tag)
			}
			if p, ok := d.Get(tag); ok {
				p.Value, pixel = nil, true
				d.Set(p)
			}
		}
		for el := range d.Clone().All() {
			if pixel && el.Tag > dict.PixelData { // what follows pixel data is not read
				d.Delete(el.Tag)
			}
		}
		want, err := dicom.AppendJSON(nil, d, opt)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := dicom.WriteJSON(&got, dicom.NewBytesReader(body, ts, dicom.Limits{}), opt, 4096); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		var a, b any
		if err := json.Unmarshal(got.Bytes(), &a); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s differs:\n%.300s\n%.300s", e.Name, got.Bytes(), want)
		}
	}
}

// TestWriteJSONOfWhatIsCut cuts a header at every byte: what is written is JSON
// all the same, and never less than at the byte before.
func TestWriteJSONOfWhatIsCut(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b, last := mustEncode(t, enhanced(2)), 0
	for n := range b {
		var got bytes.Buffer
		err := dicom.WriteJSON(&got, dicom.NewBytesReader(b[:n], ts, dicom.Limits{}), dicom.JSONOptions{}, 64<<10)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("at %d: %v", n, err)
		}
		if !json.Valid(got.Bytes()) || got.Len() < last {
			t.Fatalf("at %d: %s", n, got.Bytes())
		}
		last = got.Len()
	}
}

// TestWriteJSONOfALargeHeader: what a DataSet leaves out is all there, in little memory.
func TestWriteJSONOfALargeHeader(t *testing.T) {
	const frames = 20_000
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b := mustEncode(t, enhanced(frames))
	runtime.GC()
	before := liveBytes()
	r := dicom.NewBytesReader(b, ts, dicom.Limits{})
	c := countItems{g: gauge{peak: before}}
	if err := dicom.WriteJSON(&c, r, dicom.JSONOptions{}, 64<<10); err != nil {
		t.Fatal(err)
	}
	if c.items != frames {
		t.Errorf("%d frames of %d", c.items, frames)
	}
	if grown := c.g.peak - before; grown > 2<<20 {
		t.Errorf("%d bytes of memory for a header of %d", grown, len(b))
	}
}

// countItems counts frames in the JSON that is written to it.
type countItems struct {
	g     gauge
	items int
	tail  []byte
	n     int
}

func (c *countItems) Write(b []byte) (int, error) {
	key := []byte(`"00209111"`) // Frame Content Sequence
	all := append(c.tail, b...)
	c.items += bytes.Count(all, key)
	c.tail = append([]byte(nil), all[max(0, len(all)-len(key)+1):]...)
	if c.n++; c.n%100 == 0 {
		runtime.GC()
		c.g.peak = max(c.g.peak, liveBytes())
	}
	return len(b), nil
}
