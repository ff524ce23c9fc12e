package dicom

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"lumen/dicom/dict"
)

// PathStep leads from a data set into an item of one of its sequences.
type PathStep struct {
	Tag  Tag
	Item int // counted from 0
}

// JSONOptions say how bulk data is written. The zero value writes what is in
// memory inline and leaves out the rest.
type JSONOptions struct {
	// BulkDataURI returns the URI of a value that is omitted or longer than
	// MaxInline; "" leaves the attribute out. path leads to the data set that
	// the element is in, and is valid during the call.
	BulkDataURI func(path []PathStep, e Element) string
	// MaxInline is the size of the longest binary value (OB, OW, UN and so on)
	// that is written inline, in bytes; 0 is no bound. Longer ones are omitted.
	MaxInline int
}

// AppendJSON appends d as an object of the DICOM JSON model (PS3.18 annex F).
// Text becomes UTF-8, and Specific Character Set ISO_IR 192 where there is one.
// Group lengths are left out. Numbers that JSON does not have (NaN, infinity,
// a malformed IS or DS), and those of SV and UV beyond 2^53, are strings.
func AppendJSON(dst []byte, d *DataSet, opt JSONOptions) ([]byte, error) {
	w := jsonWriter{model{b: dst, opt: opt}}
	w.dataSet(d)
	return w.b, nil
}

// model is what has been written of a JSON or XML model.
type model struct {
	b    appender
	opt  JSONOptions
	path []PathStep // to the data set that is being written
}

func (m *model) put(s string) { m.b = append(m.b, s...) }

// uri returns the URI of a value; "" leaves the attribute out.
func (m *model) uri(e Element) string {
	if m.opt.BulkDataURI == nil {
		return ""
	}
	return m.opt.BulkDataURI(m.path, e)
}

type jsonWriter struct{ model }

func (w *jsonWriter) written() *model { return &w.model }

func (w *jsonWriter) dataSet(d *DataSet) {
	w.b = append(w.b, '{')
	first := true
	for e := range d.All() {
		if e.Tag.GroupLength() {
			continue
		}
		if e.Tag == dict.SpecificCharacterSet { // is written as it is here, whatever it was
			e.VR, e.Items = dict.CS, nil
		}
		mark := len(w.b)
		w.attribute(d, e.Tag, e.VR, first)
		if !w.value(d, e) {
			w.b = w.b[:mark]
			continue
		}
		w.endAttribute()
		first = false
	}
	w.b = append(w.b, '}')
}

func (w *jsonWriter) attribute(_ *DataSet, t Tag, vr VR, first bool) {
	if !first {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, hexTag(t)...)
	w.b = append(w.b, `":{"vr":"`...)
	w.b = append(w.b, vr.String()...)
	w.b = append(w.b, '"')
}

func (w *jsonWriter) endAttribute() { w.b = append(w.b, '}') }

func (w *jsonWriter) item(n int) {
	if n == 0 {
		w.put(`,"Value":[{`)
		return
	}
	w.put(",{")
}

func (w *jsonWriter) endItem() { w.b = append(w.b, '}') }

func (w *jsonWriter) endItems(n int) {
	if n > 0 {
		w.b = append(w.b, ']')
	}
}

// value writes what follows the VR; false leaves the attribute out.
func (w *jsonWriter) value(d *DataSet, e Element) bool {
	switch {
	case e.Tag == dict.SpecificCharacterSet:
		w.b = append(w.b, `,"Value":["ISO_IR 192"]`...)
	case e.VR == dict.SQ:
		w.items(e)
	case e.Omitted():
		return w.bulk(e)
	case len(e.Value) == 0:
	case e.VR.Text():
		w.text(e.VR, d.Strings(e.Tag))
	case e.VR.Number():
		w.numbers(e)
	default:
		if w.opt.MaxInline > 0 && len(e.Value) > w.opt.MaxInline {
			return w.bulk(e)
		}
		w.b = append(w.b, `,"InlineBinary":"`...)
		w.b = base64.StdEncoding.AppendEncode(w.b, e.Value)
		w.b = append(w.b, '"')
	}
	return true
}

func (w *jsonWriter) bulk(e Element) bool {
	uri := w.uri(e)
	if uri == "" {
		return false
	}
	w.b = append(w.b, `,"BulkDataURI":`...)
	w.b = appendJSONString(w.b, uri)
	return true
}

func (w *jsonWriter) items(e Element) {
	if len(e.Items) == 0 {
		return
	}
	w.b = append(w.b, `,"Value":[`...)
	for i, item := range e.Items {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.path = append(w.path, PathStep{e.Tag, i})
		w.dataSet(item)
		w.path = w.path[:len(w.path)-1]
	}
	w.b = append(w.b, ']')
}

// text writes text values; empty ones among others are null.
func (w *jsonWriter) text(vr VR, values []string) {
	if vr == dict.PN { // carets at the end mean nothing (PS3.5 section 6.2.1)
		for i, v := range values {
			values[i] = trimName(v)
		}
	}
	if len(values) == 1 && values[0] == "" {
		return
	}
	w.b = append(w.b, `,"Value":[`...)
	for i, v := range values {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		switch {
		case v == "":
			w.b = append(w.b, "null"...)
		case vr == dict.PN:
			w.name(v)
		case vr == dict.IS || vr == dict.DS:
			w.decimal(v)
		default:
			w.b = appendJSONString(w.b, v)
		}
	}
	w.b = append(w.b, ']')
}

// trimName removes the delimiters at the end of each component group, and of
// the name.
func trimName(v string) string {
	if !strings.ContainsAny(v, "^=") {
		return v
	}
	groups := strings.Split(v, "=")
	for i, g := range groups {
		groups[i] = strings.TrimRight(g, "^ ")
	}
	return strings.TrimRight(strings.Join(groups, "="), "=")
}

var nameGroups = [...]string{`"Alphabetic":`, `"Ideographic":`, `"Phonetic":`}

// name writes the component groups of a person name that are not empty.
func (w *jsonWriter) name(v string) {
	w.b = append(w.b, '{')
	first := true
	for i, group := range strings.SplitN(v, "=", len(nameGroups)) {
		if group == "" {
			continue
		}
		if !first {
			w.b = append(w.b, ',')
		}
		first = false
		w.b = append(w.b, nameGroups[i]...)
		w.b = appendJSONString(w.b, group)
	}
	w.b = append(w.b, '}')
}

// decimal writes an IS or DS: as a number with the digits that it has, as far
// as JSON takes them.
func (w *jsonWriter) decimal(v string) {
	if n, ok := jsonNumber(v); ok {
		w.b = append(w.b, n...)
		return
	}
	w.b = appendJSONString(w.b, v)
}

// jsonNumber makes a JSON number (RFC 8259 section 6) of a decimal string:
// without a plus sign or leading zeros, with digits on both sides of a point.
func jsonNumber(s string) (string, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, "xXpP_") {
		return "", false
	}
	sign := ""
	switch s[0] {
	case '-':
		sign, s = "-", s[1:]
	case '+':
		s = s[1:]
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction + exponent, true
}

// numbers writes binary numbers, and tags of AT as strings.
func (w *jsonWriter) numbers(e Element) {
	unit := e.VR.Unit()
	if e.VR == dict.AT {
		unit = 4
	}
	if len(e.Value) < unit {
		return
	}
	w.b = append(w.b, `,"Value":[`...)
	for i, v := 0, e.Value; len(v) >= unit; i, v = i+1, v[unit:] {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		switch e.VR {
		case dict.AT:
			w.b = append(append(append(w.b, '"'), hexTag(attribute(v))...), '"')
		case dict.FL:
			w.float(float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 32)
		case dict.FD:
			w.float(math.Float64frombits(binary.LittleEndian.Uint64(v)), 64)
		case dict.UV:
			n := binary.LittleEndian.Uint64(v)
			w.quoted(n > 1<<53, func(b []byte) []byte { return strconv.AppendUint(b, n, 10) })
		case dict.SV:
			n, _ := integer(e.VR, v)
			w.quoted(n > 1<<53 || n < -1<<53, func(b []byte) []byte { return strconv.AppendInt(b, n, 10) })
		default:
			n, _ := integer(e.VR, v)
			w.b = strconv.AppendInt(w.b, n, 10)
		}
	}
	w.b = append(w.b, ']')
}

// quoted writes a number, as a string where JavaScript's numbers are too small.
func (w *jsonWriter) quoted(quote bool, number func([]byte) []byte) {
	if !quote {
		w.b = number(w.b)
		return
	}
	w.b = append(number(append(w.b, '"')), '"')
}

// float writes the shortest number that reads back the same.
func (w *jsonWriter) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		w.b = append(w.b, `"NaN"`...)
	case math.IsInf(f, 1):
		w.b = append(w.b, `"Infinity"`...)
	case math.IsInf(f, -1):
		w.b = append(w.b, `"-Infinity"`...)
	default:
		w.b = strconv.AppendFloat(w.b, f, 'g', -1, bits)
	}
}

// appendJSONString appends s as a JSON string; s is UTF-8, what is not becomes
// U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[from:i]...), "\uFFFD"...)
				i++
				from = i
				continue
			}
			i += n
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
