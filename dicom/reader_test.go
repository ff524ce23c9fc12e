package dicom_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// outline writes tokens down: elements as their tag and value, "(" and ")" for
// sequences, "[" and "]" for items, "<" and ">" for fragments.
func outline(src io.Reader, ts dicom.TransferSyntax) (string, dicom.Findings, error) {
	r := dicom.NewReader(src, ts, dicom.Limits{})
	var s strings.Builder
	for {
		t, err := r.Next()
		if err != nil {
			return strings.TrimSpace(s.String()), r.Findings(), err
		}
		switch t.Kind {
		case dicom.ElementToken:
			v, err := r.Value(1000)
			if err != nil {
				return s.String(), r.Findings(), err
			}
			fmt.Fprintf(&s, "%08X %v %q ", uint32(t.Tag), t.VR, v)
		case dicom.Fragment:
			v, _ := io.ReadAll(r)
			fmt.Fprintf(&s, "%q ", v)
		case dicom.SequenceStart:
			fmt.Fprintf(&s, "%08X ( ", uint32(t.Tag))
		case dicom.SequenceEnd:
			s.WriteString(") ")
		case dicom.ItemStart:
			s.WriteString("[ ")
		case dicom.ItemEnd:
			s.WriteString("] ")
		case dicom.FragmentsStart:
			fmt.Fprintf(&s, "%08X < ", uint32(t.Tag))
		case dicom.FragmentsEnd:
			s.WriteString("> ")
		}
	}
}

// Pieces of streams in little endian.
const (
	patientID    = "\x10\x00\x20\x00LO\x02\x00id"            // (0010,0020), explicit
	patientIDImp = "\x10\x00\x20\x00\x02\x00\x00\x00id"      // the same, implicit
	sopClass     = "\x08\x00\x16\x00UI\x04\x001.2\x00"       // (0008,0016), explicit
	sopClassImp  = "\x08\x00\x16\x00\x04\x00\x00\x001.2\x00" // implicit
	seqUndefined = "\x08\x00\x40\x11SQ\x00\x00\xFF\xFF\xFF\xFF"
	itemAny      = "\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"
	itemEnd      = "\xFE\xFF\x0D\xE0\x00\x00\x00\x00"
	seqEnd       = "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
)

func TestReader(t *testing.T) {
	const id = `00100020 LO "id"`
	const class = `00080016 UI "1.2\x00"`
	for _, c := range []struct {
		name, syntax, stream, want string
		findings                   string
	}{
		{"explicit", dicom.ExplicitVRLittleEndian, sopClass + patientID, class + " " + id, ""},
		{"implicit", dicom.ImplicitVRLittleEndian, sopClassImp + patientIDImp, class + " " + id, ""},
		{"big endian", dicom.ExplicitVRBigEndian, "\x00\x10\x00\x20LO\x00\x02id\x00\x28\x00\x10US\x00\x02\x02\x00", id + ` 00280010 US "\x00\x02"`, ""},
		{"sequence of undefined length", dicom.ExplicitVRLittleEndian, seqUndefined + itemAny + patientID + itemEnd + itemAny + itemEnd + seqEnd + patientID,
			"00081140 ( [ " + id + " ] [ ] ) " + id, ""},
		{"sequence with length", dicom.ExplicitVRLittleEndian, "\x08\x00\x40\x11SQ\x00\x00\x12\x00\x00\x00\xFE\xFF\x00\xE0\x0A\x00\x00\x00" + patientID + patientID,
			"00081140 ( [ " + id + " ] ) " + id, ""},
		{"empty sequence", dicom.ExplicitVRLittleEndian, "\x08\x00\x40\x11SQ\x00\x00\x00\x00\x00\x00" + patientID, "00081140 ( ) " + id, ""},
		{"sequence with length, items without", dicom.ExplicitVRLittleEndian, "\x08\x00\x40\x11SQ\x00\x00\x1A\x00\x00\x00" + itemAny + patientID + itemEnd + patientID,
			"00081140 ( [ " + id + " ] ) " + id, ""},
		{"text in a sequence", dicom.ExplicitVRLittleEndian, "\x08\x00\x40\x11SQ\x00\x00\x08\x00\x00\x00no items" + patientID,
			`00081140 UN "no items" ` + id, "no_item=1"},
		{"text in an implicit sequence", dicom.ImplicitVRLittleEndian, "\x08\x00\x40\x11\x04\x00\x00\x00text" + patientIDImp,
			`00081140 UN "text" ` + id, "no_item=1"},
		{"implicit sequence that the dictionary has as text", dicom.ImplicitVRLittleEndian, "\x32\x00\x30\x10\xFF\xFF\xFF\xFF" + itemAny + patientIDImp + itemEnd + seqEnd,
			"00321030 ( [ " + id + " ] )", "unknown_vr=1"},
		{"implicit sequence", dicom.ImplicitVRLittleEndian, "\x08\x00\x40\x11\xFF\xFF\xFF\xFF" + itemAny + patientIDImp + itemEnd + seqEnd, "00081140 ( [ " + id + " ] )", ""},
		{"implicit private sequence", dicom.ImplicitVRLittleEndian, "\x09\x00\x01\x10\xFF\xFF\xFF\xFF" + itemAny + patientIDImp + itemEnd + seqEnd, "00091001 ( [ " + id + " ] )", ""},
		{"implicit private element", dicom.ImplicitVRLittleEndian, "\x09\x00\x01\x10\x02\x00\x00\x00ab", `00091001 UN "ab"`, ""},
		{"UN of undefined length is implicit", dicom.ExplicitVRLittleEndian,
			"\x09\x00\x01\x10UN\x00\x00\xFF\xFF\xFF\xFF" + itemAny + patientIDImp + itemEnd + seqEnd + patientID, "00091001 ( [ " + id + " ] ) " + id, ""},
		{"fragments", dicom.JPEGBaseline8Bit, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00\xFE\xFF\x00\xE0\x02\x00\x00\x00ab" + seqEnd,
			`7FE00010 < "" "ab" >`, ""},
		{"US or SS by Pixel Representation", dicom.ImplicitVRLittleEndian, "\x28\x00\x03\x01\x02\x00\x00\x00\x01\x00\x28\x00\x06\x01\x02\x00\x00\x00\xFF\xFF",
			`00280103 US "\x01\x00" 00280106 SS "\xff\xff"`, ""},
		{"odd length", dicom.ExplicitVRLittleEndian, "\x10\x00\x20\x00LO\x01\x00i" + patientID, `00100020 LO "i" ` + id, "odd_length=1"},
		{"UN of undefined length that is explicit", dicom.ExplicitVRLittleEndian,
			"\x09\x00\x01\x10UN\x00\x00\xFF\xFF\xFF\xFF" + itemAny + patientID + "\x09\x00\x01\x11OB\x00\x00\x02\x00\x00\x00ab" + itemEnd +
				itemAny + patientIDImp + itemEnd + itemAny + patientID + itemEnd + seqEnd + patientID,
			"00091001 ( [ " + id + ` 00091101 OB "ab" ] [ ` + id + " ] [ " + id + " ] ) " + id, "wrong_syntax=2"},
		{"UN of undefined length with an empty item", dicom.ExplicitVRLittleEndian,
			"\x09\x00\x01\x10UN\x00\x00\xFF\xFF\xFF\xFF" + "\xFE\xFF\x00\xE0\x00\x00\x00\x00" + seqEnd + patientID, "00091001 ( [ ] ) " + id, ""},
		{"VR of the future", dicom.ExplicitVRLittleEndian, "\x10\x00\x20\x00ZZ\x00\x00\x02\x00\x00\x00id" + patientID, `00100020 UN "id" ` + id, "unknown_vr=1"},
		{"unknown VR with a short length", dicom.ExplicitVRLittleEndian, "\x10\x00\x20\x00ZZ\x02\x00id" + patientID, `00100020 UN "id" ` + id, "unknown_vr=1"},
		{"two question marks", dicom.ExplicitVRLittleEndian, "\x10\x00\x20\x00??\x02\x00id" + patientID, `00100020 UN "id" ` + id, "unknown_vr=1"},
		{"an implicit element in between", dicom.ExplicitVRLittleEndian, sopClass + patientIDImp + patientID, class + " " + id + " " + id, "implicit_element=1"},
		{"explicit though said to be implicit", dicom.ImplicitVRLittleEndian, sopClass + patientID, class + " " + id, "wrong_syntax=1"},
		{"big endian though said to be little", dicom.ExplicitVRLittleEndian, "\x00\x10\x00\x20LO\x00\x02id", id, "wrong_syntax=1"},
		{"stray delimiters", dicom.ExplicitVRLittleEndian, patientID + seqEnd + itemEnd + patientID, id + " " + id, "stray_delimiter=2"},
		{"an item with length and delimiter", dicom.ExplicitVRLittleEndian, seqUndefined + "\xFE\xFF\x00\xE0\x0A\x00\x00\x00" + patientID + itemEnd + seqEnd,
			"00081140 ( [ " + id + " ] )", "stray_delimiter=1"},
		{"an item that a sequence's end closes", dicom.ExplicitVRLittleEndian, seqUndefined + itemAny + patientID + seqEnd + patientID,
			"00081140 ( [ " + id + " ] ) " + id, "missing_delimiter=1"},
		{"an end without delimiters", dicom.ExplicitVRLittleEndian, seqUndefined + itemAny + patientID, "00081140 ( [ " + id + " ] )", "missing_delimiter=2"},
		{"a few zeros at the end", dicom.ExplicitVRLittleEndian, patientID + "\x00\x00\x00", id, "trailing_bytes=1"},
		{"an item longer than its sequence", dicom.ExplicitVRLittleEndian, "\x08\x00\x40\x11SQ\x00\x00\x10\x00\x00\x00\xFE\xFF\x00\xE0\x0A\x00\x00\x00" + patientID + patientID,
			"00081140 ( [ " + id + " ] ) " + id, "overrun=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, findings, err := outline(strings.NewReader(c.stream), syntax(t, c.syntax))
			if err != io.EOF || got != c.want || findings.String() != c.findings {
				t.Errorf("got  %s\nwant %s\nfindings %q, want %q, %v", got, c.want, findings, c.findings, err)
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		err          error
	}{
		{"a cut header", "\x10\x00\x20\x00L", io.ErrUnexpectedEOF},
		{"a cut long header", "\x10\x00\x20\x00OB\x00\x00\x02\x00", io.ErrUnexpectedEOF},
		{"a cut value", "\x10\x00\x20\x00LO\x04\x00id", io.ErrUnexpectedEOF},
		{"a claim of 4 GB", "\x10\x00\x20\x00OB\x00\x00\xF0\xFF\xFF\xFFid", io.ErrUnexpectedEOF},
		{"a cut sequence with length", "\x08\x00\x40\x11SQ\x00\x00\xFF\x00\x00\x00\xFE\xFF\x00\xE0\x0A\x00\x00\x00" + patientID, io.ErrUnexpectedEOF},
		{"undefined length of text", "\x10\x00\x20\x00UT\x00\x00\xFF\xFF\xFF\xFF" + patientID, dicom.ErrSyntax},
		{"an element where an item should be", seqUndefined + patientID, dicom.ErrSyntax},
		{"an item outside of a sequence", itemAny + patientID, dicom.ErrSyntax},
		{"a fragment of undefined length", "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF" + itemAny, dicom.ErrSyntax},
		{"a value longer than its item", seqUndefined + "\xFE\xFF\x00\xE0\x09\x00\x00\x00" + patientID, dicom.ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := outline(strings.NewReader(c.stream), syntax(t, dicom.ExplicitVRLittleEndian))
			if !errors.Is(err, c.err) && !errors.Is(err, dicom.ErrTooLong) {
				t.Errorf("error %v", err)
			}
			r := dicom.NewReader(strings.NewReader(c.stream), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
			var last error
			for last == nil {
				_, last = r.Next()
			}
			var parse *dicom.ParseError
			if !errors.As(last, &parse) || parse.Offset < 0 || parse.Offset > int64(len(c.stream)) {
				t.Errorf("error %v", last)
			}
			if _, again := r.Next(); again != last {
				t.Errorf("then %v", again)
			}
		})
	}
}

func TestReaderValue(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	stream := "\x10\x00\x20\x00UT\x00\x00\x40\x0D\x03\x00" + long + patientID
	r := dicom.NewReader(strings.NewReader(stream), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
	tok, err := r.Next()
	if err != nil || tok.Length != int64(len(long)) || tok.Start != 0 || tok.Offset != 12 {
		t.Fatalf("%+v, %v", tok, err)
	}
	if _, err := r.Value(199_999); !errors.Is(err, dicom.ErrTooLong) {
		t.Errorf("error %v", err)
	}
	if v, err := r.Value(200_000); err != nil || string(v) != long {
		t.Errorf("%d bytes, %v", len(v), err)
	}
	if tok, err = r.Next(); err != nil || tok.Tag != dict.PatientID || r.Offset() != tok.Offset {
		t.Errorf("%+v, %v", tok, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if v, err := r.Value(10); string(v) != "d" || err != nil {
		t.Errorf("the rest of the value is %q, %v", v, err)
	}
}

func TestReaderAllocatesNothingPerElement(t *testing.T) {
	for _, ts := range uncompressed(t)[:3] {
		data := header(t, ts)
		allocs := testing.AllocsPerRun(3, func() {
			r := dicom.NewReader(bytes.NewReader(data), ts, dicom.Limits{})
			for {
				if _, err := r.Next(); err != nil {
					return
				}
			}
		})
		if allocs > 10 {
			t.Errorf("%s: %v allocations for a megabyte of elements", ts.Name, allocs)
		}
	}
}

func TestReaderStopsAtTheElementLimit(t *testing.T) {
	stream := strings.Repeat(patientID, 10)
	for limit, want := range map[int64]error{10: io.EOF, 9: dicom.ErrLimit} {
		r := dicom.NewReader(strings.NewReader(stream), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{Elements: limit})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, want) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func TestReaderInPlaceAndAgain(t *testing.T) {
	stream := sopClass + seqUndefined + itemAny + patientID + itemEnd + seqEnd
	want, _, _ := outline(strings.NewReader(stream), syntax(t, dicom.ExplicitVRLittleEndian))
	r := dicom.NewBytesReader([]byte(stream), syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
	for _, src := range []io.Reader{nil, strings.NewReader(stream), strings.NewReader(patientID + stream)} {
		if src != nil {
			r.Reset(src, syntax(t, dicom.ExplicitVRLittleEndian), dicom.Limits{})
		}
		d, err := dicom.ReadDataSet(r, dicom.ReadOptions{})
		if err != nil || d.Item(dict.ReferencedImageSequence, 0).String(dict.PatientID) != "id" {
			t.Errorf("%d elements, %v; as tokens %s", d.Len(), err, want)
		}
	}
	deflated, err := sample().Encode(syntax(t, dicom.DeflatedExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	r = dicom.NewBytesReader(deflated, syntax(t, dicom.DeflatedExplicitVRLittleEndian), dicom.Limits{})
	if d, err := dicom.ReadDataSet(r, dicom.ReadOptions{}); err != nil || d.Len() != sample().Len() {
		t.Errorf("%d elements, %v", d.Len(), err)
	}
}
