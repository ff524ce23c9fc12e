package wado_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// identified is a data set of an instance of its own study.
func identified(class, uid, modality string) *dicom.DataSet {
	var d dicom.DataSet
	d.SetString(dict.SOPClassUID, class)
	d.SetString(dict.SOPInstanceUID, uid+".3")
	d.SetString(dict.StudyInstanceUID, uid+".1")
	d.SetString(dict.SeriesInstanceUID, uid+".2")
	d.SetString(dict.Modality, modality)
	d.SetString(dict.PatientName, "Müller^Änne")
	d.SetString(dict.PatientID, "4711")
	return &d
}

// withItem is a data set with one sequence of one item.
func withItem(d *dicom.DataSet, sequence dicom.Tag, set func(item *dicom.DataSet)) {
	var item dicom.DataSet
	set(&item)
	d.SetItems(sequence, &item)
}

// enhancedCT has functional groups for each of its frames: 17 elements and items.
func enhancedCT(frames int) *dicom.DataSet {
	d := identified(dict.UIDEnhancedCTImageStorage, "1.2.3.20000", "CT")
	d.SetInt(dict.NumberOfFrames, frames)
	d.SetInt(dict.SamplesPerPixel, 1)
	d.SetInt(dict.Rows, 2)
	d.SetInt(dict.Columns, 2)
	d.SetInt(dict.BitsAllocated, 8)
	items := make([]*dicom.DataSet, frames)
	for i := range items {
		f := new(dicom.DataSet)
		withItem(f, dict.FrameContentSequence, func(d *dicom.DataSet) {
			d.SetString(dict.FrameAcquisitionDateTime, "20240229101112.000000")
			d.SetInt(dict.FrameAcquisitionNumber, i+1)
			d.SetInt(dict.DimensionIndexValues, 1, i+1)
		})
		withItem(f, dict.PlanePositionSequence, func(d *dicom.DataSet) {
			d.SetString(dict.ImagePositionPatient, "-158.135803", "-179.035797", strconv.Itoa(i))
		})
		withItem(f, dict.PlaneOrientationSequence, func(d *dicom.DataSet) {
			d.SetString(dict.ImageOrientationPatient, "1", "0", "0", "0", "1", "0")
		})
		withItem(f, dict.PixelMeasuresSequence, func(d *dicom.DataSet) { d.SetString(dict.PixelSpacing, "0.66", "0.66") })
		withItem(f, dict.FrameVOILUTSequence, func(d *dicom.DataSet) {
			d.SetString(dict.WindowCenter, "40")
			d.SetString(dict.WindowWidth, "400")
		})
		items[i] = f
	}
	d.SetItems(dict.PerFrameFunctionalGroupsSequence, items...)
	d.SetBytes(dict.PixelData, dict.OB, make([]byte, 4*frames))
	return d
}

// structureSet has regions of many contours, 150 points each.
func structureSet(regions, contours int) *dicom.DataSet {
	d := identified(dict.UIDRTStructureSetStorage, "1.2.3.30000", "RTSTRUCT")
	points := strings.TrimSuffix(strings.Repeat(`-12.5\30.25\-7\`, 150), `\`)
	var rois []*dicom.DataSet
	for r := range regions {
		roi := new(dicom.DataSet)
		var list []*dicom.DataSet
		for range contours {
			c := new(dicom.DataSet)
			c.SetString(dict.ContourGeometricType, "CLOSED_PLANAR")
			c.SetInt(dict.NumberOfContourPoints, 150)
			c.SetString(dict.ContourData, points)
			list = append(list, c)
		}
		roi.SetItems(dict.ContourSequence, list...)
		roi.SetInt(dict.ReferencedROINumber, r+1)
		rois = append(rois, roi)
	}
	d.SetItems(dict.ROIContourSequence, rois...)
	return d
}

// putDataSet stores d and returns what there is of it.
func (f *fixture) putDataSet(d *dicom.DataSet) instance {
	f.t.Helper()
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := d.Encode(ts)
	if err != nil {
		f.t.Fatal(err)
	}
	i, err := f.putAs("", append(dicom.FileMeta{TransferSyntaxUID: ts.UID}.AppendTo(nil), data...))
	if err != nil || i.outcome != store.Stored {
		f.t.Fatalf("%v, %v", i.outcome, err)
	}
	return i
}

// Headers with more elements than a data set in memory may have go in whole:
// they are found, come back bit by bit, and their metadata has everything.
func TestLargeHeadersGoInWhole(t *testing.T) {
	for _, c := range []struct {
		name     string
		d        *dicom.DataSet
		sequence string // of the data set
		items    int
		xml      bool // is read as XML too: the test has a tree of all its values
		last     func(item jsonObject) bool
	}{
		{"enhanced CT of 20 000 frames", enhancedCT(20_000), "52009230", 20_000, true, func(item jsonObject) bool {
			var position jsonObject
			json.Unmarshal(item["00209113"].Value[0], &position)
			return string(position["00200032"].Value[2]) == "19999"
		}},
		{"structure set of 30 000 contours", structureSet(30, 1000), "30060039", 30, false, func(item jsonObject) bool {
			var contour jsonObject
			json.Unmarshal(item["30060040"].Value[999], &contour)
			return len(contour["30060050"].Value) == 450 && string(item["30060084"].Value[0]) == "30"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			i := f.putDataSet(c.d)
			c.d = nil
			a := f.get("/instances?PatientID=4711&includefield=PatientName")
			if a.status != 200 || !bytes.Contains(a.body, []byte(i.uid)) || !bytes.Contains(a.body, []byte("Müller^Änne")) {
				t.Errorf("QIDO-RS: %d %.300s", a.status, a.body)
			}
			for _, path := range []string{i.path(), i.seriesPath()} {
				a = f.get(path + "/metadata")
				var list []jsonObject
				if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 || len(list) != 1 {
					t.Fatalf("metadata: %d, %v", a.status, err)
				}
				items := list[0][c.sequence].Value
				if len(items) != c.items {
					t.Fatalf("%d items of %d", len(items), c.items)
				}
				var last jsonObject
				if err := json.Unmarshal(items[c.items-1], &last); err != nil || !c.last(last) {
					t.Errorf("last item: %v", err)
				}
			}
			if c.xml {
				models := documents(t, f.get(i.seriesPath()+"/metadata", "Accept", acceptXML))
				if n := len(models[0].items(c.sequence)); len(models) != 1 || n != c.items {
					t.Errorf("XML: %d documents, %d items of %d", len(models), n, c.items)
				}
			}
			a = f.get(i.path(), "Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
			parts := a.parts(t)
			if len(parts) != 1 || !bytes.HasSuffix(parts[0].body, i.data) {
				t.Error("the instance does not come back bit by bit")
			}
		})
	}
}

// Of an instance that its sender cut inside the header, metadata has what was there.
func TestMetadataOfACutHeader(t *testing.T) {
	f := newFixture(t)
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := enhancedCT(10_000).Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	i, err := f.putAs("", append(dicom.FileMeta{TransferSyntaxUID: ts.UID}.AppendTo(nil), data[:2<<20]...))
	if err != nil {
		t.Fatal(err)
	}
	a := f.get(i.path() + "/metadata")
	var list []jsonObject
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 || len(list) != 1 {
		t.Fatalf("%d, %v", a.status, err)
	}
	if n := len(list[0]["52009230"].Value); n < 1000 || n >= 10_000 || list[0]["00100010"].VR != "PN" {
		t.Errorf("%d frames", n)
	}
	models := documents(t, f.get(i.path()+"/metadata", "Accept", acceptXML))
	if n := len(models[0].items("52009230")); n != len(list[0]["52009230"].Value) || models[0].value(dict.StudyInstanceUID) == "" {
		t.Errorf("XML: %d frames", n)
	}
}

// A small header, too, and one of which nobody can tell where it ends.
func TestMetadataOfASmallCutHeader(t *testing.T) {
	for _, uid := range []string{dicom.ExplicitVRLittleEndian, dicom.DeflatedExplicitVRLittleEndian} {
		f := newFixture(t)
		ts, _ := dicom.LookupTransferSyntax(uid)
		d := identified(dict.UIDVLEndoscopicImageStorage, "1.2.3.20000", "ES")
		comments := []byte("Polyp")
		for i := range 600 { // which does not deflate well
			comments = append(comments, byte('a'+i*i*7919>>5%26))
		}
		d.SetBytes(dict.ImageComments, dict.LT, comments)
		data, err := d.Encode(ts)
		if err != nil {
			t.Fatal(err)
		}
		i, err := f.putAs("", append(dicom.FileMeta{TransferSyntaxUID: ts.UID}.AppendTo(nil), data[:len(data)-200]...))
		if err != nil {
			t.Fatal(err)
		}
		a := f.get(i.path() + "/metadata")
		var list []jsonObject
		if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 || len(list) != 1 || list[0]["0020000D"].VR != "UI" {
			t.Errorf("%s: %d, %v: %s", ts.Name, a.status, err, a.body)
		}
	}
}
