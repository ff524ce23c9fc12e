package dicom_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// fuzzSyntaxes are those whose encodings differ.
var fuzzSyntaxes = []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.ExplicitVRBigEndian,
	dicom.DeflatedExplicitVRLittleEndian, dicom.JPEGBaseline8Bit}

func fuzzSyntax(t testing.TB, n byte) dicom.TransferSyntax {
	return syntax(t, fuzzSyntaxes[int(n)%len(fuzzSyntaxes)])
}

// addDataSets seeds a target with data sets in each syntax.
func addDataSets(f *testing.F) {
	for i, uid := range fuzzSyntaxes[:4] {
		b, err := native(1, 3, 3, make([]byte, 4)).Encode(syntax(f, uid))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	f.Add(byte(4), []byte("\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00"+
		"\xFE\xFF\x00\xE0\x02\x00\x00\x00ab\xFE\xFF\xDD\xE0\x00\x00\x00\x00"))
	f.Add(byte(1), []byte("\x09\x00\x01\x10UN\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"+
		"\x10\x00\x20\x00\x02\x00\x00\x00id\xFE\xFF\x0D\xE0\x00\x00\x00\x00\xFE\xFF\xDD\xE0\x00\x00\x00\x00"))
}

// stream is a data set as a Reader tells it. A target keeps one: buffers that
// are made for each execution cost more than what they are made for.
type stream struct {
	reader dicom.Reader
	tokens []dicom.Token
	values bytes.Buffer // one after the other
}

// read reads all of a data set. Its error is io.EOF when it has come to the end.
func (s *stream) read(src io.Reader, ts dicom.TransferSyntax) error {
	s.reader.Reset(src, ts, dicom.Limits{Elements: 10000})
	s.tokens = s.tokens[:0]
	s.values.Reset()
	for {
		t, err := s.reader.Next()
		if err != nil {
			return err
		}
		s.tokens = append(s.tokens, t)
		if t.Kind == dicom.ElementToken || t.Kind == dicom.Fragment {
			if _, err := s.values.ReadFrom(&s.reader); err != nil {
				return err
			}
		}
	}
}

func (s *stream) equal(o *stream) bool {
	return slices.Equal(s.tokens, o.tokens) && bytes.Equal(s.values.Bytes(), o.values.Bytes()) && s.reader.Findings() == o.reader.Findings()
}

func FuzzReader(f *testing.F) {
	addDataSets(f)
	ends := map[dicom.Kind]dicom.Kind{dicom.SequenceEnd: dicom.SequenceStart, dicom.ItemEnd: dicom.ItemStart,
		dicom.FragmentsEnd: dicom.FragmentsStart}
	var whole, split stream
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		ts := fuzzSyntax(t, n)
		err := whole.read(bytes.NewReader(b), ts)
		var open []dicom.Kind
		for _, tok := range whole.tokens {
			switch tok.Kind {
			case dicom.SequenceStart, dicom.ItemStart, dicom.FragmentsStart:
				open = append(open, tok.Kind)
			case dicom.SequenceEnd, dicom.ItemEnd, dicom.FragmentsEnd:
				if len(open) == 0 || open[len(open)-1] != ends[tok.Kind] {
					t.Fatalf("%v closes %v", tok.Kind, open)
				}
				open = open[:len(open)-1]
			}
		}
		if err == io.EOF && len(open) > 0 {
			t.Fatalf("the end inside of %v", open)
		}
		splitErr := split.read(iotest.OneByteReader(bytes.NewReader(b)), ts)
		if !split.equal(&whole) || (err == io.EOF) != (splitErr == io.EOF) {
			t.Fatalf("byte by byte: %v, %v; at once: %v, %v", split.tokens, splitErr, whole.tokens, err)
		}
	})
}

func FuzzScan(f *testing.F) {
	addDataSets(f)
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		ts := fuzzSyntax(t, n)
		s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.Limits{Elements: 10000})
		if err != nil {
			return
		}
		if s.Size != int64(len(b)) || s.BodyOffset > s.Size {
			t.Fatalf("size %d of %d, body at %d", s.Size, len(b), s.BodyOffset)
		}
		for e := range s.Header.All() {
			s.Header.Strings(e.Tag)
			s.Header.Ints(e.Tag)
		}
		frames, err := s.Frames()
		if err != nil {
			return
		}
		for i := range min(frames.Len(), 100) {
			extents, _, _, err := frames.Frame(i)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range extents {
				if x.Offset < 0 || x.Length < 0 || x.End() > s.Inflated {
					t.Fatalf("frame %d is at %d to %d of %d", i, x.Offset, x.End(), s.Inflated)
				}
			}
		}
		if _, err := dicom.AppendJSON(nil, s.Header, dicom.JSONOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseAndEncode(f *testing.F) {
	addDataSets(f)
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		ts := fuzzSyntax(t, n)
		d, err := dicom.ParseDataSet(b, ts)
		if err != nil {
			return
		}
		first, err := d.Encode(ts)
		if errors.Is(err, dicom.ErrOmitted) || ts.ImplicitVR && hidesSequence(d) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r := dicom.NewReader(bytes.NewReader(first), ts, dicom.Limits{})
		again, err := dicom.ReadDataSet(r, dicom.ReadOptions{})
		if r.Findings().Has(dicom.WrongSyntax) { // the first tag has another VR in ts, and just this one in the other byte order
			return
		}
		if err != nil {
			t.Fatalf("%v in %q", err, first)
		}
		second, err := again.Encode(ts)
		if err != nil {
			t.Fatalf("%v of %q", err, first)
		}
		if bytes.Equal(first, second) {
			return
		}
		// Big endian bytes of UN stay UN, and may have a VR once the order is ours.
		last, err := dicom.ParseDataSet(second, ts)
		if err != nil {
			t.Fatalf("%v in %q", err, second)
		}
		if third, err := last.Encode(ts); err != nil || !bytes.Equal(second, third) || len(first) < len(second) {
			t.Fatalf("%q became %q, then %q, %v", first, second, third, err)
		}
	})
}

func FuzzTranscode(f *testing.F) {
	addDataSets(f)
	var out bytes.Buffer
	var read stream
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		from, to := fuzzSyntax(t, n), fuzzSyntax(t, n/8)
		out.Reset()
		if dicom.Transcode(&out, bytes.NewReader(b), from, to, dicom.Limits{Elements: 10000}) != nil || from.UID == to.UID {
			return
		}
		err := read.read(bytes.NewReader(b), from)
		if err != io.EOF || read.reader.Findings().Any() || to.ImplicitVR && slices.ContainsFunc(read.tokens, isHiddenSequence) {
			return
		}
		if err := read.read(bytes.NewReader(out.Bytes()), to); err != io.EOF && !read.reader.Findings().Any() {
			t.Fatalf("what was transcoded cannot be read: %v", err)
		}
	})
}

// isHiddenSequence reports whether an element that is none in its stream is a
// sequence by the dictionary. In implicit VR the dictionary counts: it is
// read as one then, and need not be one.
func isHiddenSequence(t dicom.Token) bool {
	vr, _ := dict.VRs(t.Tag)
	return t.VR != dict.SQ && vr == dict.SQ
}

func hidesSequence(d *dicom.DataSet) bool {
	for e := range d.All() {
		if isHiddenSequence(dicom.Token{Tag: e.Tag, VR: e.VR}) || slices.ContainsFunc(e.Items, hidesSequence) {
			return true
		}
	}
	return false
}

func FuzzFileMeta(f *testing.F) {
	f.Add(dicom.FileMeta{TransferSyntaxUID: dicom.ExplicitVRLittleEndian}.AppendTo(nil))
	f.Add([]byte("DICM\x02\x00\x10\x00UI\x04\x001.2\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, r, err := dicom.ReadFileMeta(bytes.NewReader(b))
		if err != nil {
			return
		}
		rest, err := io.ReadAll(r)
		if err != nil || len(rest) > len(b) {
			t.Fatalf("%d bytes of %d, %v", len(rest), len(b), err)
		}
		m.Findings = dicom.Findings{}
		if m.ImplementationClassUID == "" {
			return // is filled in
		}
		again, _, err := dicom.ReadFileMeta(bytes.NewReader(m.AppendTo(nil)))
		if err != nil || again != m && len(b) < 60000 {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	b, err := dicom.AppendJSON(nil, sample(), dicom.JSONOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"00100010":{"vr":"PN","Value":[{"Alphabetic":"ä"},null]},"00101030":{"vr":"DS","Value":[1.5e3,"x"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := dicom.ParseJSON(b)
		if err != nil {
			return
		}
		first, _ := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
		again, err := dicom.ParseJSON(first)
		if err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		second, _ := dicom.AppendJSON(nil, again, dicom.JSONOptions{})
		third, err := dicom.ParseJSON(second)
		if err != nil {
			t.Fatalf("%v in %s", err, second)
		}
		if last, _ := dicom.AppendJSON(nil, third, dicom.JSONOptions{}); !bytes.Equal(second, last) {
			t.Fatalf("%s became %s", second, last)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("ISO_IR 192", []byte("Müller^J"))
	f.Add(`\ISO 2022 IR 87`, []byte("\x1B$B;3ED\x1B(B^a"))
	f.Add(`ISO 2022 IR 13\ISO 2022 IR 149`, []byte("\xD4\x1B$)C\xFB\xF3\\"))
	f.Add("GB18030", []byte("\x81\x30\x86\x30"))
	f.Fuzz(func(t *testing.T, terms string, b []byte) {
		c := dicom.NewCharacterSet(terms)
		for _, vr := range []dicom.VR{dict.PN, dict.LO, dict.LT} {
			values := c.Decode(vr, b)
			for _, v := range values {
				if !utf8.ValidString(v) {
					t.Fatalf("%q is no UTF-8", v)
				}
			}
			c.Encode(vr, values...)
		}
		var d dicom.DataSet
		d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte(terms))
		d.SetBytes(dict.PatientName, dict.PN, b)
		want := strings.Join(d.Strings(dict.PatientName), `\`)
		d.Recode()
		if got := strings.Join(d.Strings(dict.PatientName), `\`); got != want && !strings.Contains(want, `\`) {
			t.Fatalf("%q became %q", want, got)
		}
	})
}

func FuzzMatcher(f *testing.F) {
	f.Add(byte(0), "a*b?c", "aXbüc", true)
	f.Add(byte(4), "20240101-", "20240102", false)
	f.Add(byte(6), "20240101120000-0500-2025", "2024", false)
	f.Fuzz(func(t *testing.T, n byte, pattern, value string, fuzzy bool) {
		vrs := []dicom.VR{dict.LO, dict.PN, dict.UI, dict.CS, dict.DA, dict.TM, dict.DT, dict.IS, dict.DS}
		m, err := dicom.NewMatcher(vrs[int(n)%len(vrs)], pattern, fuzzy)
		if err == nil {
			m.Match(value)
			m.Exact()
			m.List()
			if lo, hi, ok := m.Range(); ok && lo == "" && hi == "" {
				t.Fatalf("%q is a range without ends", pattern)
			}
		}
		if len(pattern) > 50 || len(value) > 200 || !utf8.ValidString(pattern) || !utf8.ValidString(value) {
			return
		}
		if want := globByTable([]rune(pattern), []rune(value)); dicom.Glob(pattern, value) != want {
			t.Fatalf("Glob(%q, %q) = %v", pattern, value, !want)
		}
	})
}

// globByTable is Glob as its definition: reach[i] says whether what was seen of
// the pattern matches the first i characters.
func globByTable(pattern, value []rune) bool {
	reach := make([]bool, len(value)+1)
	reach[0] = true
	for _, p := range pattern {
		if p == '*' {
			for i := range value {
				reach[i+1] = reach[i+1] || reach[i]
			}
			continue
		}
		for i := len(value); i > 0; i-- {
			reach[i] = reach[i-1] && (p == '?' || p == value[i-1])
		}
		reach[0] = false
	}
	return reach[len(value)]
}

func FuzzFrameTable(f *testing.F) {
	s, err := dicom.ScanDataSet(bytes.NewReader(mustEncode(f, native(1, 3, 3, make([]byte, 4)))), syntax(f, dicom.ExplicitVRLittleEndian), dicom.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	table, err := s.Frames()
	if err != nil {
		f.Fatal(err)
	}
	b, _ := table.MarshalBinary()
	f.Add(b)
	f.Add([]byte{2, 2, 100, 10, 8, 20, 2, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var table, again dicom.FrameTable
		if table.UnmarshalBinary(b) != nil {
			return
		}
		for _, i := range []int{0, table.Len() - 1, table.Len()} {
			table.Frame(i)
		}
		first, _ := table.MarshalBinary()
		if err := again.UnmarshalBinary(first); err != nil {
			t.Fatalf("%v in % X", err, first)
		}
		if second, _ := again.MarshalBinary(); !bytes.Equal(first, second) {
			t.Fatalf("% X became % X", first, second)
		}
	})
}

func mustEncode(t testing.TB, d *dicom.DataSet) []byte {
	t.Helper()
	b, err := d.Encode(syntax(t, dicom.ExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzValues: what a parser reads and writes again is the same to it.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"20240229", "2024.02.29", "101112.5", "2024022910-0330", "+0200", "018M", "-42", "1.5e-3", "A^B^C^D^E=F=G", "=^B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := dicom.ParsePN(s); err == nil {
			if again, err := dicom.ParsePN(n.String()); err != nil || again != n {
				t.Errorf("%+v became %+v, %v", n, again, err)
			}
		}
		if d, err := dicom.ParseDA(s); err == nil {
			if again, err := dicom.ParseDA(d.Format("20060102")); err != nil || !again.Equal(d) {
				t.Errorf("%v became %v, %v", d, again, err)
			}
		}
		if a, err := dicom.ParseAS(s); err == nil {
			if again, err := dicom.ParseAS(a.String()); err != nil || again != a {
				t.Errorf("%v became %v, %v", a, again, err)
			}
		}
		if first, last, err := dicom.ParseTM(s); err == nil && (first > last || last >= 24*time.Hour) {
			t.Errorf("%q is %v to %v", s, first, last)
		}
		zone, err := dicom.ParseOffset(s)
		if err != nil {
			zone = nil
		}
		if first, last, err := dicom.ParseDT(s, zone); err == nil && first.After(last) {
			t.Errorf("%q is %v to %v", s, first, last)
		}
		dicom.ParseIS(s)
		dicom.ParseDS(s)
	})
}

// FuzzWriteJSON: whatever the stream, what comes out is JSON.
func FuzzWriteJSON(f *testing.F) {
	addDataSets(f)
	var out bytes.Buffer
	var r dicom.Reader
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		out.Reset()
		r.Reset(bytes.NewReader(b), fuzzSyntax(t, n), dicom.Limits{Elements: 10000})
		err := dicom.WriteJSON(&out, &r, dicom.JSONOptions{}, 1<<16)
		if (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && !json.Valid(out.Bytes()) {
			t.Fatalf("%q", out.Bytes())
		}
	})
}

// FuzzWriteXML: whatever the stream, what comes out is XML with one root.
func FuzzWriteXML(f *testing.F) {
	addDataSets(f)
	var out bytes.Buffer
	var r dicom.Reader
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		out.Reset()
		r.Reset(bytes.NewReader(b), fuzzSyntax(t, n), dicom.Limits{Elements: 10000})
		err := dicom.WriteXML(&out, &r, dicom.JSONOptions{}, 1<<16)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		for d := xml.NewDecoder(bytes.NewReader(out.Bytes())); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v: %q", err, out.Bytes())
			}
		}
		if bytes.Count(out.Bytes(), []byte("<NativeDicomModel ")) != 1 {
			t.Fatalf("%q", out.Bytes())
		}
	})
}
