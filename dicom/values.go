package dicom

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"lumen/dicom/dict"
)

// Raw returns the value bytes of t as they are, little-endian; nil when t is
// absent, empty, omitted or a sequence.
func (d *DataSet) Raw(t Tag) []byte {
	if i, ok := d.find(t); ok {
		return d.elems[i].value
	}
	return nil
}

// String returns the first value of t as text, decoded by the data set's
// Specific Character Set and trimmed of padding; "" when there is none.
// Binary numbers are given in decimal.
func (d *DataSet) String(t Tag) string {
	if v := d.Strings(t); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Strings returns all values of t as text, as [DataSet.String] does. An empty
// value among others is "".
func (d *DataSet) Strings(t Tag) []string {
	i, ok := d.find(t)
	if !ok || len(d.elems[i].value) == 0 {
		return nil
	}
	e := d.elems[i].element()
	switch {
	case e.VR.Text():
		return d.textValues(e)
	case e.VR == dict.UN:
		return d.textValues(e) // what an implicit stream has of a private element
	case e.VR == dict.AT:
		var list []string
		for v := e.Value; len(v) >= 4; v = v[4:] {
			list = append(list, hexTag(attribute(v)))
		}
		return list
	case e.VR.Number():
		return numberStrings(e)
	}
	return nil
}

// textValues splits and decodes a text value.
func (d *DataSet) textValues(e Element) []string {
	vr := e.VR
	if vr == dict.UN {
		vr = dict.LO
	}
	var list []string
	if vr.UsesCharacterSet() {
		list = d.CharacterSet().Decode(vr, e.Value)
	} else if vr.Multiple() {
		list = ascii(e.Value)
	} else {
		list = []string{strings.Join(ascii(e.Value), `\`)}
	}
	for i, s := range list {
		list[i] = trim(vr, s)
	}
	return list
}

// trim removes what PS3.5 table 6.2-1 calls padding: leading spaces count in
// LT, ST, UT and PN only.
func trim(vr VR, s string) string {
	s = strings.TrimRight(s, " \x00")
	switch vr {
	case dict.LT, dict.ST, dict.UT, dict.UC, dict.UR:
		return s
	}
	return strings.TrimLeft(s, " ")
}

func attribute(v []byte) Tag {
	return Tag(binary.LittleEndian.Uint16(v))<<16 | Tag(binary.LittleEndian.Uint16(v[2:]))
}

// hexTag is a tag as DICOM JSON writes it: eight digits.
func hexTag(t Tag) string {
	s := t.String()
	return s[1:5] + s[6:10]
}

func numberStrings(e Element) []string {
	var list []string
	unit := e.VR.Unit()
	for v := e.Value; len(v) >= unit; v = v[unit:] {
		switch e.VR {
		case dict.FL:
			list = append(list, strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 'g', -1, 32))
		case dict.FD:
			list = append(list, strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(v)), 'g', -1, 64))
		case dict.UV:
			list = append(list, strconv.FormatUint(binary.LittleEndian.Uint64(v), 10))
		default:
			n, _ := integer(e.VR, v)
			list = append(list, strconv.FormatInt(n, 10))
		}
	}
	return list
}

// integer reads the first binary integer of v.
func integer(vr VR, v []byte) (int64, bool) {
	if len(v) < vr.Unit() {
		return 0, false
	}
	switch vr {
	case dict.US:
		return int64(binary.LittleEndian.Uint16(v)), true
	case dict.SS:
		return int64(int16(binary.LittleEndian.Uint16(v))), true
	case dict.UL:
		return int64(binary.LittleEndian.Uint32(v)), true
	case dict.SL:
		return int64(int32(binary.LittleEndian.Uint32(v))), true
	case dict.SV:
		return int64(binary.LittleEndian.Uint64(v)), true
	case dict.UV:
		n := binary.LittleEndian.Uint64(v)
		return int64(n), n <= math.MaxInt64
	}
	return 0, false
}

// Int returns the first value of t as an integer: of US, SS, UL, SL, UV, SV,
// or of IS and DS where it is a whole number.
func (d *DataSet) Int(t Tag) (int, bool) {
	if v := d.Ints(t); len(v) > 0 {
		return v[0], true
	}
	return 0, false
}

// Ints returns all values of t as integers, nil when one of them is none.
func (d *DataSet) Ints(t Tag) []int {
	i, ok := d.find(t)
	if !ok {
		return nil
	}
	e := d.elems[i].element()
	var list []int
	if e.VR.Text() {
		for _, s := range d.Strings(t) {
			n, err := strconv.Atoi(strings.TrimPrefix(s, "+"))
			if err != nil {
				f, ferr := strconv.ParseFloat(s, 64)
				if n = int(f); ferr != nil || float64(n) != f || math.Abs(f) > 1<<53 {
					return nil
				}
			}
			list = append(list, n)
		}
		return list
	}
	for v := e.Value; len(v) > 0 && len(v) >= e.VR.Unit(); v = v[e.VR.Unit():] {
		n, ok := integer(e.VR, v)
		if !ok {
			return nil
		}
		list = append(list, int(n))
	}
	return list
}

// Floats returns all values of t as floating-point numbers: of DS, IS and the
// binary numbers. It is nil when one of them is none.
func (d *DataSet) Floats(t Tag) []float64 {
	if i, ok := d.find(t); ok && d.elems[i].vr == dict.AT {
		return nil
	}
	var list []float64
	for _, s := range d.Strings(t) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil
		}
		list = append(list, f)
	}
	return list
}

// SetBytes sets t to a raw value, little-endian. It is padded to an even
// length.
func (d *DataSet) SetBytes(t Tag, vr VR, b []byte) {
	if len(b)&1 != 0 {
		b = append(b[:len(b):len(b)], vr.Pad())
	}
	d.Set(Element{Tag: t, VR: vr, Value: b})
}

// SetString sets t to text values, with the VR of the dictionary (LO where it
// has none). Text is encoded in the data set's Specific Character Set; where
// that is the default one and the text needs more, it becomes ISO_IR 192, which
// all present values agree with. What a character set does not have becomes "?".
// A backslash separates values. No values make an empty element. Values of
// binary numbers are written as such. Setting Specific Character Set itself does
// not change text that is there: see [DataSet.Recode].
func (d *DataSet) SetString(t Tag, values ...string) {
	vr, _ := dict.VRs(t)
	if vr == 0 {
		vr = dict.LO
	}
	d.setText(t, vr, values)
}

func (d *DataSet) setText(t Tag, vr VR, values []string) {
	joined := strings.Join(values, `\`)
	switch {
	case vr.UsesCharacterSet():
		if !isASCII(joined) && len(d.characterSetValue()) == 0 {
			d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 192"))
		}
		d.SetBytes(t, vr, d.CharacterSet().Encode(vr, values...))
	case vr.Number():
		d.SetBytes(t, vr, parseNumbers(vr, values))
	default:
		d.SetBytes(t, vr, []byte(joined))
	}
}

// parseNumbers encodes decimal numbers, or tags for AT. What is none becomes 0.
func parseNumbers(vr VR, values []string) []byte {
	var b []byte
	for _, s := range values {
		switch vr {
		case dict.FL, dict.FD:
			f, _ := strconv.ParseFloat(s, 64)
			b = appendFloat(b, vr, f)
		case dict.AT:
			n, _ := strconv.ParseUint(strings.Trim(strings.Replace(s, ",", "", 1), "()"), 16, 32)
			b = appendTag(b, Tag(n))
		case dict.UV:
			n, _ := strconv.ParseUint(s, 10, 64)
			b = binary.LittleEndian.AppendUint64(b, n)
		default:
			n, _ := strconv.ParseInt(s, 10, 64)
			b = appendInt(b, vr, n)
		}
	}
	return b
}

// SetInt sets t to integers in the form of its VR: a binary number, or decimal
// text.
func (d *DataSet) SetInt(t Tag, values ...int) {
	vr, _ := dict.VRs(t)
	if !vr.Number() {
		list := make([]string, len(values))
		for i, n := range values {
			list[i] = strconv.Itoa(n)
		}
		d.SetString(t, list...)
		return
	}
	var b []byte
	for _, n := range values {
		switch vr {
		case dict.FL, dict.FD:
			b = appendFloat(b, vr, float64(n))
		case dict.AT:
			b = appendTag(b, Tag(n))
		default:
			b = appendInt(b, vr, int64(n))
		}
	}
	d.SetBytes(t, vr, b)
}

func appendTag(b []byte, t Tag) []byte {
	b = binary.LittleEndian.AppendUint16(b, t.Group())
	return binary.LittleEndian.AppendUint16(b, t.Element())
}

func appendInt(b []byte, vr VR, n int64) []byte {
	switch vr.Unit() {
	case 2:
		return binary.LittleEndian.AppendUint16(b, uint16(n))
	case 4:
		return binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

func appendFloat(b []byte, vr VR, f float64) []byte {
	if vr == dict.FL {
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f)))
	}
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}
