package dicom_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
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

// models are the two models, each written in both ways.
var models = []struct {
	name    string
	write   func(io.Writer, *dicom.Reader, dicom.JSONOptions, int) error
	append  func([]byte, *dicom.DataSet, dicom.JSONOptions) ([]byte, error)
	content func([]byte) (any, error) // to compare, whatever the order of attributes
}{
	{"JSON", dicom.WriteJSON, dicom.AppendJSON, jsonContent},
	{"XML", dicom.WriteXML, dicom.AppendXML, xmlContent},
}

func jsonContent(b []byte) (v any, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

// xmlNode is an element of XML with all that is in it.
type xmlNode struct {
	Name  xml.Name
	Attr  []xml.Attr
	Text  string
	Nodes []xmlNode
}

func (n *xmlNode) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	n.Name, n.Attr = start.Name, start.Attr
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			n.Text += string(t)
		case xml.StartElement:
			var child xmlNode
			if err := child.UnmarshalXML(d, t); err != nil {
				return err
			}
			n.Nodes = append(n.Nodes, child)
		case xml.EndElement:
			slices.SortStableFunc(n.Nodes, func(a, b xmlNode) int {
				return strings.Compare(fmt.Sprint(a.Attr), fmt.Sprint(b.Attr))
			})
			return nil
		}
	}
}

func xmlContent(b []byte) (any, error) {
	var n xmlNode
	err := xml.Unmarshal(b, &n)
	return n, err
}

func TestWriteIsAppend(t *testing.T) {
	uri := func(path []dicom.PathStep, e dicom.Element) string { return fmt.Sprint(path, e.Tag, e.Length) }
	opt := dicom.JSONOptions{BulkDataURI: uri, MaxInline: 64}
	private := sample()
	for _, group := range []uint16{0x0009, 0x0029} {
		private.SetBytes(dict.NewTag(group, 0x0010), dict.LO, []byte("A <MAKER>"))
		private.SetBytes(dict.NewTag(group, 0x0011), dict.LO, []byte("ANOTHER "))
		private.SetBytes(dict.NewTag(group, 0x1001), dict.LO, []byte("one "))
		private.SetBytes(dict.NewTag(group, 0x1101), dict.OB, []byte{1, 2})
		private.SetBytes(dict.NewTag(group, 0x1201), dict.OB, []byte{3, 4}) // in no block
	}
	private.SetBytes(dict.NewTag(0x0031, 0x1001), dict.OB, []byte{5, 6}) // nor this one
	check := func(name string, body []byte, ts dicom.TransferSyntax) {
		d := untilPixelData(t, body, ts)
		for _, m := range models {
			appended, err := m.append(nil, d, opt)
			if err != nil {
				t.Fatal(err)
			}
			var written bytes.Buffer
			if err := m.write(&written, dicom.NewBytesReader(body, ts, dicom.Limits{}), opt, 4096); err != nil {
				t.Fatalf("%s of %s: %v", m.name, name, err)
			}
			got, err := m.content(written.Bytes())
			if err != nil {
				t.Fatalf("%s of %s: %v", m.name, name, err)
			}
			want, err := m.content(appended)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s of %s differs:\n%.300s\n%.300s", m.name, name, written.Bytes(), appended)
			}
		}
	}
	check("private blocks", mustEncode(t, private), syntax(t, dicom.ExplicitVRLittleEndian))
	for _, e := range shareddata.Valid(t) {
		_, ts, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		check(e.Name, body, ts)
	}
}

// untilPixelData reads what a model that is written has: no value of pixel
// data, and nothing that follows it.
func untilPixelData(t *testing.T, body []byte, ts dicom.TransferSyntax) *dicom.DataSet {
	t.Helper()
	d, err := dicom.ReadDataSet(dicom.NewBytesReader(body, ts, dicom.Limits{}), dicom.ReadOptions{MaxValue: 4096})
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
		if pixel && el.Tag > dict.PixelData {
			d.Delete(el.Tag)
		}
	}
	return d
}

// TestWriteOfWhatIsCut cuts a header at every byte: what is written is a model
// all the same, and never less than at the byte before.
func TestWriteOfWhatIsCut(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b := mustEncode(t, enhanced(2))
	for _, m := range models {
		last := 0
		for n := range b {
			var got bytes.Buffer
			err := m.write(&got, dicom.NewBytesReader(b[:n], ts, dicom.Limits{}), dicom.JSONOptions{}, 64<<10)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s at %d: %v", m.name, n, err)
			}
			if _, err := m.content(got.Bytes()); err != nil || got.Len() < last {
				t.Fatalf("%s at %d: %v, %s", m.name, n, err, got.Bytes())
			}
			last = got.Len()
		}
	}
}

// TestWriteOfALargeHeader: what a DataSet leaves out is all there, in little memory.
func TestWriteOfALargeHeader(t *testing.T) {
	const frames = 20_000
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b := mustEncode(t, enhanced(frames))
	for _, m := range models {
		runtime.GC()
		before := liveBytes()
		r := dicom.NewBytesReader(b, ts, dicom.Limits{})
		c := countItems{g: gauge{peak: before}}
		if err := m.write(&c, r, dicom.JSONOptions{}, 64<<10); err != nil {
			t.Fatal(err)
		}
		if c.items != frames {
			t.Errorf("%s: %d frames of %d", m.name, c.items, frames)
		}
		if grown := c.g.peak - before; grown > 2<<20 {
			t.Errorf("%s: %d bytes of memory for a header of %d", m.name, grown, len(b))
		}
	}
}

// TestWriteForgetsWhoReservedBlocks: of the groups that are read no more can follow.
func TestWriteForgetsWhoReservedBlocks(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	var b []byte
	for group := uint16(0x0009); group < 0x0200; group += 2 {
		for block := byte(0x10); block != 0; block++ {
			b = append(b, byte(group), byte(group>>8), block, 0, 'L', 'O', 0, 1)
			b = append(b, bytes.Repeat([]byte{'x'}, 256)...)
		}
	}
	for _, m := range models {
		runtime.GC()
		before := liveBytes()
		c := countItems{g: gauge{peak: before}}
		if err := m.write(&c, dicom.NewBytesReader(b, ts, dicom.Limits{}), dicom.JSONOptions{}, 64<<10); err != nil {
			t.Fatal(err)
		}
		if grown := c.g.peak - before; grown > 2<<20 {
			t.Errorf("%s: %d bytes of memory for %d of names", m.name, grown, len(b))
		}
	}
}

// countItems counts frames in the model that is written to it.
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
