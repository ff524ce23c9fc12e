package dicom_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// open splits a file into File Meta and data set.
func open(b []byte) (dicom.FileMeta, dicom.TransferSyntax, []byte, error) {
	m, r, err := dicom.ReadFileMeta(bytes.NewReader(b))
	if err != nil {
		return m, dicom.TransferSyntax{}, nil, err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return m, dicom.TransferSyntax{}, nil, err
	}
	ts, ok := dicom.LookupTransferSyntax(m.TransferSyntaxUID)
	if !ok {
		ts, _ = dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	}
	return m, ts, body, nil
}

func TestScanEveryValidFile(t *testing.T) {
	for _, e := range shareddata.Valid(t) {
		t.Run(e.Name, func(t *testing.T) {
			m, ts, body, err := open(e.Bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			if e.TransferSyntax != "" && m.TransferSyntaxUID != e.TransferSyntax {
				t.Errorf("transfer syntax %s, the index says %s", m.TransferSyntaxUID, e.TransferSyntax)
			}
			s, err := dicom.ScanDataSet(bytes.NewReader(body), ts, dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Size != int64(len(body)) || s.Truncated || s.Findings.Any() {
				t.Errorf("size %d of %d, truncated %v, findings %v", s.Size, len(body), s.Truncated, s.Findings)
			}
			if want, _ := dict.LookupUID(s.Header.String(dict.SOPClassUID)); e.SOPClass != "" && want.Name == "" {
				t.Errorf("SOP class %q is not in the table", e.SOPClass)
			}
			frames, err := s.Frames()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := s.Header.Int(dict.NumberOfFrames)
			if !ok {
				n = 1
			}
			if s.Pixel.Tag == 0 {
				n = 0
			} else if ts.Video {
				n = 1
			}
			if frames.Len() != n {
				t.Errorf("%d frames, want %d", frames.Len(), n)
			}
			checkExtents(t, s, frames)
		})
	}
}

// checkExtents checks that frames cover the pixel data without overlap.
func checkExtents(t *testing.T, s *dicom.Scan, frames dicom.FrameTable) {
	t.Helper()
	end := s.Pixel.ValueOffset
	for i := range frames.Len() {
		extents, shift, _, err := frames.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range extents {
			if shift > 0 {
				end--
			}
			if x.Length <= 0 || x.Offset < end || x.End() > s.Inflated {
				t.Errorf("frame %d is at %d to %d, the one before ends at %d", i, x.Offset, x.End(), end)
			}
			end = x.End()
		}
	}
	b, err := frames.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var again dicom.FrameTable
	if err := again.UnmarshalBinary(b); err != nil || again.Len() != frames.Len() {
		t.Fatalf("table of %d bytes: %d frames, %v", len(b), again.Len(), err)
	}
	for i := range frames.Len() {
		x, _, _, _ := frames.Frame(i)
		y, _, _, _ := again.Frame(i)
		if len(x) != len(y) || len(x) > 0 && (x[0] != y[0] || x[len(x)-1] != y[len(y)-1]) {
			t.Fatalf("frame %d changed in the table's binary form", i)
		}
	}
}

func TestMalformedFilesCostNothing(t *testing.T) {
	for _, e := range shareddata.Files(t) {
		if !e.Malformed {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			file := e.Bytes(t)
			_, ts, body, err := open(file)
			if err != nil {
				return
			}
			before := liveBytes()
			s, err := dicom.ScanDataSet(bytes.NewReader(body), ts, dicom.Limits{})
			if grown := liveBytes() - before; grown > 16*int64(len(file))+1<<20 {
				t.Errorf("%d bytes in memory for a file of %d", grown, len(file))
			}
			if err == nil && s.Size != int64(len(body)) && !ts.Deflated {
				t.Errorf("size %d of %d", s.Size, len(body))
			}
			if err == nil {
				s.Frames()
			}
			runtime.KeepAlive(s)
		})
	}
}

func liveBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// native is a data set with 3 frames of pixel data.
func native(bits, rows, columns int, pixels []byte) *dicom.DataSet {
	d := sample()
	d.SetInt(dict.Rows, rows)
	d.SetInt(dict.Columns, columns)
	d.SetInt(dict.SamplesPerPixel, 1)
	d.SetInt(dict.BitsAllocated, bits)
	d.SetInt(dict.NumberOfFrames, 3)
	d.SetBytes(dict.PixelData, dict.OW, pixels)
	return d
}

func scan(t *testing.T, d *dicom.DataSet, ts dicom.TransferSyntax) (*dicom.Scan, []byte) {
	t.Helper()
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

func TestScanFindsHeaderAndBody(t *testing.T) {
	d := native(16, 2, 2, []byte("\x01\x02\x03\x04\x05\x06\x07\x08abcdefgh12345678"))
	for _, ts := range uncompressed(t) {
		t.Run(ts.Name, func(t *testing.T) {
			s, b := scan(t, d, ts)
			if s.Size != int64(len(b)) || s.Header.String(dict.PatientName) != "Doe^Jane" {
				t.Errorf("size %d of %d", s.Size, len(b))
			}
			if ts.Deflated {
				if s.BodyOffset != -1 || s.Inflated <= s.Size/2 {
					t.Errorf("body at %d, %d bytes inflated", s.BodyOffset, s.Inflated)
				}
				return
			}
			if i := int64(bytes.LastIndex(b, []byte{0xE0, 0x7F, 0x10, 0})); i >= 0 && s.BodyOffset != i {
				t.Errorf("body at %d, want %d", s.BodyOffset, i)
			}
			head, err := dicom.ParseDataSet(b[:s.BodyOffset], ts)
			if err != nil || head.Len() != d.Len()-1 {
				t.Errorf("the header alone has %d elements, %v", head.Len(), err)
			}
			e, _ := s.Header.Get(dict.PixelData)
			if !e.Omitted() || e.Offset != s.Pixel.ValueOffset || s.Pixel.ValueLength != 24 {
				t.Errorf("pixel data %+v, element %+v", s.Pixel, e)
			}
		})
	}
	s, b := scan(t, sample(), syntax(t, dicom.ExplicitVRLittleEndian))
	if s.BodyOffset != int64(len(b)) {
		t.Errorf("without pixel data the body is at %d of %d", s.BodyOffset, len(b))
	}
}

func TestDigestIsOfContent(t *testing.T) {
	d := native(16, 2, 2, []byte("abcdefghijklmnopqrstuvwx"))
	d.Delete(dict.NewTag(0x0009, 0x1001)) // an unknown VR cannot be swapped
	want, _ := scan(t, d, syntax(t, dicom.ExplicitVRLittleEndian))
	for _, ts := range uncompressed(t) {
		if s, _ := scan(t, d, ts); s.Digest != want.Digest {
			t.Errorf("%s: another digest", ts.Name)
		}
	}
	lengths := d.Clone()
	lengths.SetInt(dict.NewTag(0x0008, 0), 1234)
	if s, _ := scan(t, lengths, syntax(t, dicom.ExplicitVRLittleEndian)); s.Digest != want.Digest {
		t.Error("group lengths change the digest")
	}
	var b bytes.Buffer // the same with sequences of undefined length
	w := dicom.NewWriter(&b, syntax(t, dicom.ExplicitVRLittleEndian))
	writeUndefined(w, d)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := dicom.ScanDataSet(&b, syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
	if err != nil || s.Digest != want.Digest {
		t.Errorf("delimitation changes the digest, %v", err)
	}
	other := d.Clone()
	other.SetString(dict.PatientName, "Doe^John")
	if s, _ := scan(t, other, syntax(t, dicom.ExplicitVRLittleEndian)); s.Digest == want.Digest {
		t.Error("another name has the same digest")
	}
}

// Whoever writes a data set anew takes padding away or adds it: DCMTK did, of
// dcm4che's files, and what was sent both ways was held to be two contents.
func TestDigestLeavesOutPadding(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	digest := func(tag dicom.Tag, vr dicom.VR, value string, every int) [32]byte {
		t.Helper()
		var d dicom.DataSet
		d.SetBytes(tag, vr, []byte(value))
		s, err := dicom.ScanDataSet(&pieceReader{mustEncode(t, &d), every}, ts, dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest
	}
	name := digest(dict.InstitutionName, dict.LO, "HOSPITAL", 1<<20)
	for _, same := range []string{"HOSPITAL  ", "HOSPITAL\x00\x00", "HOSPITAL \x00" + strings.Repeat(" ", 60)} {
		if digest(dict.InstitutionName, dict.LO, same, 1<<20) != name {
			t.Errorf("%q is held to be another name", same)
		}
	}
	for _, other := range []string{"", "HOSPITAL A", " HOSPITAL ", "HOSP ITAL ", "HOSPITAL" + strings.Repeat(" ", 66)} {
		if digest(dict.InstitutionName, dict.LO, other, 1<<20) == name {
			t.Errorf("%q is held to be the same name", other)
		}
	}
	if digest(dict.RedPaletteColorLookupTableData, dict.OW, "ab\x00\x00", 9) == digest(dict.RedPaletteColorLookupTableData, dict.OW, "ab", 9) {
		t.Error("words of nothing count for nothing")
	}
	rapid.Check(t, func(rt *rapid.T) { // it does not matter how the value comes, or which VR the stream gives it
		value := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", " ", "\x00", strings.Repeat(" ", 40), strings.Repeat("b", 50)}), 0, 12).Draw(rt, "value"), "")
		value += strings.Repeat(" ", len(value)%2)
		if digest(dict.PatientComments, dict.UT, value, 1<<20) != digest(dict.PatientComments, dict.UN, value, rapid.IntRange(1, 70).Draw(rt, "pieces")) {
			rt.Fatalf("%q has two digests", value)
		}
	})
}

// What a scan that failed had begun is nothing to the next one.
func TestDigestForgetsWhatFailed(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	want, b := scan(t, sample(), ts)
	for cut := range b {
		src := io.MultiReader(bytes.NewReader(b[:cut]), iotest.ErrReader(io.ErrClosedPipe))
		if _, err := dicom.ScanDataSet(src, ts, dicom.Limits{}); !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{})
		if err != nil || s.Digest != want.Digest {
			t.Fatalf("after a failure at %d another digest, %v", cut, err)
		}
	}
}

// pieceReader gives at most every bytes at a time.
type pieceReader struct {
	b     []byte
	every int
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.every)], r.b)
	r.b = r.b[n:]
	return n, nil
}

func writeUndefined(w *dicom.Writer, d *dicom.DataSet) {
	for e := range d.All() {
		if e.VR != dict.SQ {
			w.WriteElement(e)
			continue
		}
		w.StartSequence(e.Tag)
		for _, item := range e.Items {
			w.StartItem()
			writeUndefined(w, item)
			w.EndItem()
		}
		w.EndSequence()
	}
}

func TestScanOfWhatIsCut(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b, err := native(8, 4, 2, make([]byte, 24)).Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dicom.ScanDataSet(bytes.NewReader(b[:len(b)-10]), ts, dicom.Limits{})
	if err != nil || !s.Truncated || !s.Findings.Has(dicom.CutShort) || s.Size != int64(len(b)-10) {
		t.Fatalf("%+v, %v", s, err)
	}
	if f, err := s.Frames(); err != nil || f.Len() != 2 {
		t.Errorf("%d frames, %v", f.Len(), err)
	}
	cause := errors.New("cable")
	_, err = dicom.ScanDataSet(io.MultiReader(bytes.NewReader(b[:len(b)-10]), failing{cause}), ts, dicom.Limits{})
	if !errors.Is(err, cause) {
		t.Errorf("an error of the source became %v", err)
	}
	_, err = dicom.ScanDataSet(strings.NewReader("no data set at all"), ts, dicom.Limits{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

func TestScanKeepsWithinLimits(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	d := native(8, 4, 2, make([]byte, 24))
	var items []*dicom.DataSet
	for range 50 {
		var item dicom.DataSet
		item.SetString(dict.ReferencedSOPInstanceUID, "1.2.3.4")
		items = append(items, &item)
	}
	d.SetItems(dict.ReferencedStudySequence, items...)
	nested := new(dicom.DataSet)
	for range 4 {
		outer := new(dicom.DataSet)
		outer.SetItems(dict.ContentSequence, nested)
		nested = outer
	}
	d.SetItems(dict.ContentSequence, nested)
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		lim       dicom.Limits
		truncated bool
		gone      dicom.Tag
		err       error
	}{
		{"all fits", dicom.Limits{Depth: 5, KeptElements: 200, Elements: 180}, false, 0, nil},
		{"too deep", dicom.Limits{Depth: 4}, true, dict.ContentSequence, nil},
		{"too many elements to keep", dicom.Limits{KeptElements: 60}, true, dict.ReferencedStudySequence, nil},
		{"too many elements at all", dicom.Limits{Elements: 60}, false, 0, dicom.ErrLimit},
		{"too many bytes", dicom.Limits{HeaderBytes: 200}, true, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, c.lim)
			if !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if s.Truncated != c.truncated || c.gone != 0 && s.Header.Has(c.gone) {
				t.Errorf("truncated %v, %v is there: %v", s.Truncated, c.gone, s.Header.Has(c.gone))
			}
			if f, err := s.Frames(); err != nil || f.Len() != 3 {
				t.Errorf("%d frames, %v", f.Len(), err)
			}
			whole, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{})
			if err != nil || whole.Digest != s.Digest {
				t.Errorf("the digest depends on limits, %v", err)
			}
		})
	}
}

func TestInflatingIsBounded(t *testing.T) {
	ts := syntax(t, dicom.DeflatedExplicitVRLittleEndian)
	b, err := native(8, 4, 2, make([]byte, 4<<20)).Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{}); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	_, err = dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{InflateHeader: 1 << 20})
	if !errors.Is(err, dicom.ErrLimit) {
		t.Errorf("error %v", err)
	}
}

// PS3.5 section 6.2.2: UN is what a writer gives that does not know an element.
func TestStandardElementsThatCameAsUNHaveTheirVR(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	d, item := new(dicom.DataSet), new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	for tag, value := range map[dicom.Tag]string{dict.PatientName: "Mü^J ", dict.SamplesPerPixel: "\x01\x00", dict.BitsAllocated: "\x08\x00",
		dict.Rows: "\x02\x00", dict.Columns: "\x03\x00", dict.SmallestImagePixelValue: "\xFF\xFF", dict.PixelAspectRatio: "1\\1 ",
		dict.FrameTime: "1.5 ", dict.TagAngleSecondAxis: "abc ", dict.NewTag(0x0009, 0x1001): "ab", dict.ReferencedImageSequence: "abcd"} {
		d.SetBytes(tag, dict.UN, []byte(value))
	}
	item.SetBytes(dict.ReferencedSOPClassUID, dict.UN, []byte("1.2\x00"))
	d.SetItems(dict.ReferencedStudySequence, item)
	d.SetBytes(dict.PixelData, dict.OB, make([]byte, 12))
	d.SetString(dict.NumberOfFrames, "2")
	encoded := mustEncode(t, d)
	s, err := dicom.ScanDataSet(bytes.NewReader(encoded), ts, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := dicom.ParseDataSet(encoded, ts)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*dicom.DataSet{s.Header, parsed} {
		if n, _ := h.Int(dict.Rows); n != 2 || h.String(dict.PatientName) != "Mü^J" || h.Item(dict.ReferencedStudySequence, 0).String(dict.ReferencedSOPClassUID) != "1.2" {
			t.Errorf("%d rows, %q", n, h.String(dict.PatientName))
		}
		for tag, want := range map[dicom.Tag]dicom.VR{dict.FrameTime: dict.DS, dict.SmallestImagePixelValue: dict.UN, // US or SS
			dict.NewTag(0x0009, 0x1001): dict.UN, dict.ReferencedImageSequence: dict.UN} {
			if e, _ := h.Get(tag); e.VR != want {
				t.Errorf("%v is %v, want %v", tag, e.VR, want)
			}
		}
	}
	if f, err := s.Frames(); err != nil || f.Len() != 2 {
		t.Errorf("%d frames, %v", f.Len(), err)
	}
	var streamed bytes.Buffer
	if err := dicom.WriteJSON(&streamed, dicom.NewReader(bytes.NewReader(encoded), ts, dicom.Limits{}), dicom.JSONOptions{}, 100); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"00280010":{"vr":"US","Value":[2]}`, `"00091001":{"vr":"UN","InlineBinary"`, `"00181063":{"vr":"DS","Value":[1.5]}`} {
		if !strings.Contains(streamed.String(), want) {
			t.Errorf("no %s in %s", want, streamed.String())
		}
	}
}
