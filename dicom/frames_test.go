package dicom_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestNativeFrames(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	for _, c := range []struct {
		name                string
		bits, rows, columns int
		length              int
		frames              int
		last                dicom.Extent // relative to the value
		shift               uint8
		lastBits            int64
	}{
		{"16 bits", 16, 4, 4, 96, 3, dicom.Extent{Offset: 64, Length: 32}, 0, 0},
		{"8 bits, odd size", 8, 3, 3, 28, 3, dicom.Extent{Offset: 18, Length: 9}, 0, 0},
		{"1 bit, whole bytes", 1, 4, 4, 6, 3, dicom.Extent{Offset: 4, Length: 2}, 0, 0},
		{"1 bit, inside of a byte", 1, 3, 3, 4, 3, dicom.Extent{Offset: 2, Length: 2}, 2, 9},
		{"a last frame that is short", 16, 4, 4, 80, 3, dicom.Extent{Offset: 64, Length: 16}, 0, 0},
		{"frames that are not there", 16, 4, 4, 32, 1, dicom.Extent{Offset: 0, Length: 32}, 0, 0},
		{"32 bits", 32, 1, 1, 12, 3, dicom.Extent{Offset: 8, Length: 4}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := scan(t, native(c.bits, c.rows, c.columns, make([]byte, c.length)), ts)
			f, err := s.Frames()
			if err != nil || f.Len() != c.frames {
				t.Fatalf("%d frames, %v", f.Len(), err)
			}
			x, shift, bits, err := f.Frame(c.frames - 1)
			c.last.Offset += s.Pixel.ValueOffset
			if err != nil || len(x) != 1 || x[0] != c.last || shift != c.shift || bits != c.lastBits {
				t.Errorf("last frame %v (want %v), shift %d, %d bits, %v", x, c.last, shift, bits, err)
			}
			if _, _, _, err := f.Frame(c.frames); !errors.Is(err, dicom.ErrNoFrame) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// encapsulated writes pixel data as fragments; tables come first.
func encapsulated(t *testing.T, frames int, offsets []byte, fragments ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := dicom.NewWriter(&b, syntax(t, dicom.JPEGBaseline8Bit))
	d := sample()
	d.Delete(dict.ExtendedOffsetTable)
	d.SetInt(dict.NumberOfFrames, frames)
	w.WriteDataSet(d)
	w.StartFragments(dict.PixelData, dict.OB)
	w.StartFragment(int64(len(offsets)))
	w.Write(offsets)
	for _, f := range fragments {
		w.StartFragment(int64(len(f)))
		io.WriteString(w, f)
	}
	w.EndSequence()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncapsulatedFrames(t *testing.T) {
	const soi, mid, eoi = "\xFF\xD8\xFF\xE0", "\x11\x22\x33\x44", "\x55\x66\xFF\xD9"
	for _, c := range []struct {
		name      string
		frames    int
		offsets   string
		fragments []string
		want      string // fragments of each frame
		mismatch  bool
	}{
		{"one frame of many fragments", 1, "", []string{soi, mid, eoi}, "3", false},
		{"a fragment for each frame", 3, "", []string{"aa", "bb", "cc"}, "111", false},
		{"by the basic offset table", 2, "\x00\x00\x00\x00\x18\x00\x00\x00", []string{mid, mid, mid}, "21", false},
		{"by markers", 2, "", []string{soi, mid, eoi, soi, eoi}, "32", false},
		{"by markers, padded", 2, "", []string{soi, "\xFF\xD9\x00\x00"[:4], soi, "aa\xFF\xD9\x00\x00"[:6]}, "22", false},
		{"a table that does not fit, then markers", 2, "\x00\x00\x00\x00\x19\x00\x00\x00", []string{soi, eoi, soi}, "21", true},
		{"a table that is too short", 3, "\x00\x00\x00\x00", []string{"aa", "bb", "cc"}, "111", true},
		{"frames that cannot be told apart", 2, "", []string{"aa", "bb", "cc"}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := encapsulated(t, c.frames, []byte(c.offsets), c.fragments...)
			s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, dicom.JPEGBaseline8Bit), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.Frames()
			if s.Findings.Has(dicom.TableMismatch) != c.mismatch {
				t.Errorf("findings %v", s.Findings)
			}
			if c.want == "" {
				if !errors.Is(err, dicom.ErrFrames) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got, content strings.Builder
			for i := range f.Len() {
				x, _, _, err := f.Frame(i)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteByte('0' + byte(len(x)))
				for _, e := range x {
					content.Write(b[e.Offset:e.End()])
				}
			}
			if got.String() != c.want || content.String() != strings.Join(c.fragments, "") {
				t.Errorf("fragments of the frames %s, want %s; content %q", got.String(), c.want, content.String())
			}
		})
	}
}

// Each frame of RLE has a header (PS3.5 annex G.5), and one fragment; some
// writers split frames.
func TestFramesOfRLEStartWithTheirHeader(t *testing.T) {
	header := string([]byte{3, 0, 0, 0, 64, 0, 0, 0, 70, 0, 0, 0}) + strings.Repeat("\x00", 52)
	b := encapsulated(t, 2, nil, header+"aa", "\x03\x00\x00\x00bb", header+"cc")
	s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, dicom.RLELossless), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Frames()
	if err != nil || f.Len() != 2 {
		t.Fatalf("%d frames, %v", f.Len(), err)
	}
	if x, _, _, _ := f.Frame(0); len(x) != 2 {
		t.Errorf("the first frame is %v", x)
	}
}

// What has no markers is told apart by its number of fragments, or a table.
func TestFramesWithoutMarkers(t *testing.T) {
	const bot = "\x00\x00\x00\x00\x14\x00\x00\x00"
	for _, uid := range []string{dicom.RLELossless, "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"} {
		for _, c := range []struct {
			offsets   string
			fragments []string
			frames    int // 0: they cannot be told apart
		}{
			{"", []string{"\x01\x00\x00\x00aaaa", "\x01\x00\x00\x00bbbb"}, 2},
			{"\x00\x00\x00\x00\x10\x00\x00\x00", []string{"\x01\x00\x00\x00aaaa", "\x01\x00\x00\x00bbbb"}, 2},
			{bot, []string{"\x01\x00\x00\x00aaaaaaaa", "\x01\x00\x00\x00", "\x02\x00\x00\x00"}, 2},
			{"", []string{"\x01\x00\x00\x00", "\x01\x00\x00\x00", "\x02\x00\x00\x00"}, 0},
		} {
			b := encapsulated(t, 2, []byte(c.offsets), c.fragments...)
			s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, uid), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if f, err := s.Frames(); f.Len() != c.frames || (err != nil) != (c.frames == 0) {
				t.Errorf("%s, %d fragments: %d frames, %v", uid, len(c.fragments), f.Len(), err)
			}
		}
	}
}

func TestExtendedOffsetTable(t *testing.T) {
	numbers := func(list ...uint64) []byte {
		var b []byte
		for _, n := range list {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
		return b
	}
	for _, c := range []struct {
		name     string
		offsets  []byte
		want     string
		mismatch bool
	}{
		{"fits", numbers(0, 20), "21", false},
		{"does not fit", numbers(0, 21), "", true},
		{"has too few entries", numbers(0), "", true},
		{"is empty", nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := new(dicom.DataSet)
			d.SetInt(dict.NumberOfFrames, 2)
			d.SetBytes(dict.ExtendedOffsetTable, dict.OV, c.offsets)
			d.SetBytes(dict.ExtendedOffsetTableLengths, dict.OV, numbers(4, 2))
			var b bytes.Buffer
			w := dicom.NewWriter(&b, syntax(t, dicom.JPEG2000Lossless))
			w.WriteDataSet(d)
			w.StartFragments(dict.PixelData, dict.OB)
			w.StartFragment(0)
			for _, f := range []string{"ab", "cd", "ef"} {
				w.StartFragment(2)
				io.WriteString(w, f)
			}
			w.EndSequence()
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := dicom.ScanDataSet(&b, syntax(t, dicom.JPEG2000Lossless), dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.Frames()
			if s.Findings.Has(dicom.TableMismatch) != c.mismatch || errors.Is(err, dicom.ErrFrames) != (c.want == "") {
				t.Fatalf("findings %v, %v", s.Findings, err)
			}
			got := ""
			for i := range f.Len() {
				x, _, _, _ := f.Frame(i)
				got += string(rune('0' + len(x)))
			}
			if got != c.want || len(s.Pixel.ExtendedLengths) != 2 || s.Pixel.ExtendedLengths[1] != 2 {
				t.Errorf("fragments of the frames %q, want %q; lengths %v", got, c.want, s.Pixel.ExtendedLengths)
			}
		})
	}
}

// PS3.3 section C.7.6.3.1.8: a fragment has even length, and the table tells
// how much of it is the frame.
func TestExtendedOffsetTableLengthsLeaveOutThePadding(t *testing.T) {
	for _, c := range []struct {
		frames  int
		lengths []uint64
		want    []int64
	}{
		{2, []uint64{3, 1}, []int64{3, 1}},
		{2, []uint64{4, 2}, []int64{4, 2}},
		{2, []uint64{2, 3}, []int64{4, 2}}, // not a matter of padding
		{2, []uint64{3}, []int64{4, 2}},
		{1, []uint64{5}, []int64{5}},
	} {
		d := new(dicom.DataSet)
		d.SetInt(dict.NumberOfFrames, c.frames)
		var offsets, lengths []byte
		for i := range c.frames {
			offsets = binary.LittleEndian.AppendUint64(offsets, uint64(20*i))
		}
		for _, n := range c.lengths {
			lengths = binary.LittleEndian.AppendUint64(lengths, n)
		}
		d.SetBytes(dict.ExtendedOffsetTable, dict.OV, offsets)
		d.SetBytes(dict.ExtendedOffsetTableLengths, dict.OV, lengths)
		var b bytes.Buffer
		w := dicom.NewWriter(&b, syntax(t, dicom.JPEG2000Lossless))
		w.WriteDataSet(d)
		w.StartFragments(dict.PixelData, dict.OB)
		w.StartFragment(0)
		for _, f := range []string{"ab", "cd", "ef"} {
			w.StartFragment(2)
			io.WriteString(w, f)
		}
		w.EndSequence()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := dicom.ScanDataSet(&b, syntax(t, dicom.JPEG2000Lossless), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		table, err := s.Frames()
		if err != nil {
			t.Fatal(err)
		}
		stored, _ := table.MarshalBinary()
		var again dicom.FrameTable
		if err := again.UnmarshalBinary(stored); err != nil {
			t.Fatal(err)
		}
		for _, f := range []dicom.FrameTable{table, again} {
			var got []int64
			for i := range f.Len() {
				var n int64
				extents, _, _, _ := f.Frame(i)
				for _, x := range extents {
					n += x.Length
				}
				got = append(got, n)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("lengths %v: frames of %v bytes, want %v", c.lengths, got, c.want)
			}
		}
		if s.Pixel.Fragments[2].Length != 2 {
			t.Error("the fragments themselves were changed")
		}
	}
}

// PS3.5 annex A.4.11: each frame is native, in fragments of its own.
func TestEncapsulatedUncompressedFramesHaveNoPadding(t *testing.T) {
	d := native(8, 1, 3, nil)
	d.Delete(dict.PixelData)
	d.SetInt(dict.NumberOfFrames, 2)
	head := mustEncode(t, d)
	b := append(head, encapsulated(t, 2, nil, "abc\x00", "def\x00")...)
	b = append(head[:len(head):len(head)], b[bytes.Index(b, []byte("\xE0\x7F\x10\x00")):]...)
	s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, dicom.EncapsulatedUncompressedExplicitVRLittleEndian), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Frames()
	if err != nil {
		t.Fatal(err)
	}
	if x, _, _, err := f.Frame(1); err != nil || len(x) != 1 || string(b[x[0].Offset:x[0].End()]) != "def" {
		t.Errorf("the second frame is %v, %v", x, err)
	}
}

func TestVideoIsOneFrame(t *testing.T) {
	b := encapsulated(t, 100, nil, "aa", "bb", "cc")
	s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, dicom.MPEG4HP41F), dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Frames()
	if err != nil || f.Len() != 1 {
		t.Fatalf("%d frames, %v", f.Len(), err)
	}
	if x, _, _, _ := f.Frame(0); len(x) != 3 {
		t.Errorf("%d fragments", len(x))
	}
}

func TestFragmentsAreBounded(t *testing.T) {
	b := encapsulated(t, 3, nil, "aa", "bb", "cc")
	for _, c := range []struct {
		limit int
		err   error
	}{{3, nil}, {2, dicom.ErrFrames}} {
		s, err := dicom.ScanDataSet(bytes.NewReader(b), syntax(t, dicom.JPEGBaseline8Bit), dicom.Limits{Fragments: c.limit})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Frames(); !errors.Is(err, c.err) || s.Pixel.FragmentsOverflow != (c.err != nil) {
			t.Errorf("limit %d: %d fragments, %v", c.limit, len(s.Pixel.Fragments), err)
		}
	}
}

func TestSubsampledNativeFrames(t *testing.T) {
	for _, c := range []struct {
		photometric string
		length      int
		frame       int64
	}{{"YBR_FULL_422", 3 * 2 * 16, 32}, {"YBR_PARTIAL_420", 3 * 24, 24}, {"YBR_FULL_422", 3 * 48, 48}, {"RGB", 3 * 48, 48}} {
		d := native(8, 4, 4, make([]byte, c.length))
		d.SetInt(dict.SamplesPerPixel, 3)
		d.SetString(dict.PhotometricInterpretation, c.photometric)
		s, _ := scan(t, d, syntax(t, dicom.ExplicitVRLittleEndian))
		f, err := s.Frames()
		if err != nil || f.Len() != 3 {
			t.Fatalf("%d frames, %v", f.Len(), err)
		}
		if x, _, _, _ := f.Frame(2); x[0].Length != c.frame || x[0].Offset-s.Pixel.ValueOffset != 2*c.frame {
			t.Errorf("%s with %d bytes: the third frame is %v", c.photometric, c.length, x)
		}
	}
}

func TestSecondPixelDataDoesNotCount(t *testing.T) {
	var b bytes.Buffer
	w := dicom.NewWriter(&b, syntax(t, dicom.JPEGBaseline8Bit))
	d := new(dicom.DataSet)
	d.SetInt(dict.Rows, 1)
	w.WriteDataSet(d)
	for _, f := range []string{"ab", "cdef"} {
		w.StartFragments(dict.PixelData, dict.OB)
		w.StartFragment(0)
		w.StartFragment(int64(len(f)))
		io.WriteString(w, f)
		w.EndSequence()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := dicom.ScanDataSet(&b, syntax(t, dicom.JPEGBaseline8Bit), dicom.Limits{})
	if err != nil || len(s.Pixel.Fragments) != 1 || s.Pixel.Fragments[0].Length != 2 || !s.Findings.Has(dicom.Duplicate) {
		t.Errorf("%+v, %v", s, err)
	}
}
