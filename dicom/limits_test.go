package dicom_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// TestLimitsAtAndOnePast holds each limit of what a scan keeps to the byte.
func TestLimitsAtAndOnePast(t *testing.T) {
	var d dicom.DataSet // 5 elements with 40 bytes of values
	for _, tag := range []dicom.Tag{dict.StudyDate, dict.SeriesDate, dict.PatientBirthDate, dict.AcquisitionDate, dict.ContentDate} {
		d.SetString(tag, "20240101")
	}
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b := mustEncode(t, &d)
	values := func(s *dicom.Scan) (n int) {
		for e := range s.Header.All() {
			if !e.Omitted() {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name      string
		lim       dicom.Limits
		elements  int
		values    int
		truncated bool
	}{
		{"value bytes at the limit", dicom.Limits{ValueBytes: 8}, 5, 5, false},
		{"value bytes one past it", dicom.Limits{ValueBytes: 7}, 5, 0, false},
		{"header bytes at the limit", dicom.Limits{HeaderBytes: 40}, 5, 5, false},
		{"header bytes one past it", dicom.Limits{HeaderBytes: 39}, 5, 4, true},
		{"kept elements at the limit", dicom.Limits{KeptElements: 5}, 5, 5, false},
		{"kept elements one past it", dicom.Limits{KeptElements: 4}, 4, 4, true},
		{"elements at the limit", dicom.Limits{Elements: 5}, 5, 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, c.lim)
			if err != nil {
				t.Fatal(err)
			}
			if s.Header.Len() != c.elements || values(s) != c.values || s.Truncated != c.truncated {
				t.Errorf("%d elements, %d values, truncated %v", s.Header.Len(), values(s), s.Truncated)
			}
		})
	}
	if _, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{Elements: 4}); !errors.Is(err, dicom.ErrLimit) {
		t.Errorf("elements one past the limit: %v", err)
	}
}

// TestSequencesCannotPushOutWhatMatters fills a header from its start.
func TestSequencesCannotPushOutWhatMatters(t *testing.T) {
	d := native(8, 4, 2, make([]byte, 24))
	var items []*dicom.DataSet
	for range 200 {
		var item dicom.DataSet
		item.SetString(dict.ReferencedSOPInstanceUID, "1.2.3.4.5.6.7.8")
		items = append(items, &item)
	}
	d.SetItems(dict.ReferencedStudySequence, items...)
	d.SetBytes(dict.NewTag(0x0009, 0x1002), dict.OB, make([]byte, 1500))
	d.SetBytes(dict.NewTag(0x0009, 0x1003), dict.OB, make([]byte, 1500))
	s, err := dicom.ScanDataSet(bytes.NewReader(mustEncode(t, d)), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{HeaderBytes: 4000})
	if err != nil || !s.Truncated {
		t.Fatalf("truncated %v, %v", s.Truncated, err)
	}
	for _, tag := range []dicom.Tag{dict.SOPClassUID, dict.PatientName, dict.Rows, dict.BitsAllocated} {
		if s.Header.String(tag) == "" {
			t.Errorf("%v is lost", tag)
		}
	}
	if f, err := s.Frames(); err != nil || f.Len() != 3 {
		t.Errorf("%d frames, %v", f.Len(), err)
	}
}

func TestParseDataSetSaysWhenItCannotKeepAll(t *testing.T) {
	nested := new(dicom.DataSet)
	for range 16 {
		outer := new(dicom.DataSet)
		outer.SetItems(dict.ContentSequence, nested)
		nested = outer
	}
	if _, err := dicom.ParseDataSet(mustEncode(t, nested), syntax(t, dicom.ExplicitVRLittleEndian)); err != nil {
		t.Errorf("16 deep: %v", err)
	}
	outer := new(dicom.DataSet)
	outer.SetString(dict.PatientID, "id")
	outer.SetItems(dict.ContentSequence, nested)
	d, err := dicom.ParseDataSet(mustEncode(t, outer), syntax(t, dicom.ExplicitVRLittleEndian))
	if !errors.Is(err, dicom.ErrLimit) || d.String(dict.PatientID) != "id" {
		t.Errorf("17 deep: %v", err)
	}
}

func TestDefaultLimits(t *testing.T) {
	want := dicom.Limits{HeaderBytes: 4 << 20, ValueBytes: 64 << 10, Depth: 16, KeptElements: 100_000, Elements: 10_000_000,
		Fragments: 1 << 18, InflateRatio: 100, InflateHeader: 64 << 20}
	if got := dicom.DefaultLimits(); got != want {
		t.Errorf("%+v", got)
	}
}

// Nesting has an end, whatever is kept: each open level takes memory.
func TestNestingHasAnEnd(t *testing.T) {
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	level := []byte{0x40, 0, 0x30, 0xa7, 'S', 'Q', 0, 0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff}
	for depth, fits := range map[int]bool{4096: true, 4097: false} {
		_, err := dicom.ScanDataSet(bytes.NewReader(bytes.Repeat(level, depth)), ts, dicom.DefaultLimits())
		if errors.Is(err, dicom.ErrLimit) == fits {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
}

// Elements in the worst order, and sequences that are left out again and again,
// cost no more than their number: 16 times as many took 256 times as long.
func TestDisorderIsCheap(t *testing.T) {
	descending := func(n int) []byte {
		var b []byte
		for i := n; i > 0; i-- {
			b = append(b, 0x09, 0x00, byte(i), byte(i>>8), 0, 0, 0, 0)
		}
		return b
	}
	ts := syntax(t, dicom.ImplicitVRLittleEndian)
	s, err := dicom.ScanDataSet(bytes.NewReader(descending(60_000)), ts, dicom.Limits{})
	if err != nil || s.Header.Len() != 60_000 || s.Findings[dicom.OutOfOrder] != 59_999 {
		t.Fatalf("%d elements, %v, %v", s.Header.Len(), s.Findings, err)
	}
	last := dicom.Tag(0)
	for e := range s.Header.All() {
		if e.Tag <= last {
			t.Fatalf("%v comes after %v", e.Tag, last)
		}
		last = e.Tag
	}
	moves := testing.AllocsPerRun(1, func() {
		if _, err := dicom.ParseDataSet(descending(60_000), ts); err != nil {
			t.Fatal(err)
		}
	})
	if moves > 2000 {
		t.Errorf("%v allocations", moves)
	}
}

// Of several elements with one tag the first counts, in whatever order they come.
func TestTheFirstOfDuplicatesCounts(t *testing.T) {
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	element := func(tag byte, value string) string { return "\x10\x00" + string(tag) + "\x00LO\x02\x00" + value }
	for _, c := range []struct{ stream, want string }{
		{element(0x20, "a1") + element(0x20, "a2"), "a1"},
		{element(0x40, "b1") + element(0x20, "a1") + element(0x20, "a2") + element(0x10, "c1"), "c1 a1 b1"},
		{element(0x20, "a1") + element(0x40, "b1") + element(0x20, "a2") + element(0x10, "c1") + element(0x30, "d1"), "c1 a1 d1 b1"},
	} {
		d, err := dicom.ParseDataSet([]byte(c.stream), ts)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for e := range d.All() {
			got = append(got, string(e.Value))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
