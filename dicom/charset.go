package dicom

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"lumen/dicom/dict"
)

// CharacterSet is a value of Specific Character Set (0008,0005): how text is
// encoded (PS3.3 section C.12.1.1.2). The zero value is the default repertoire,
// ISO_IR 6.
type CharacterSet struct {
	terms string // defined terms separated by backslashes
}

// characterSetValue returns the raw value that holds for d.
func (d *DataSet) characterSetValue() []byte {
	for ; d != nil; d = d.outer {
		if i, ok := d.find(dict.SpecificCharacterSet); ok {
			return d.elems[i].value
		}
	}
	return nil
}

// CharacterSet returns the character set of d's text: its own, or that of the
// data set whose item it is.
func (d *DataSet) CharacterSet() CharacterSet {
	return CharacterSet{terms: strings.TrimRight(string(d.characterSetValue()), " \x00")}
}

// decode splits a value and turns it into UTF-8.
func (c CharacterSet) decode(vr VR, b []byte) []string {
	if !vr.Multiple() {
		return []string{c.decodeOne(b)}
	}
	parts := bytes.Split(b, []byte{'\\'})
	list := make([]string, len(parts))
	for i, part := range parts {
		list[i] = c.decodeOne(part)
	}
	return list
}

func (c CharacterSet) decodeOne(b []byte) string {
	switch {
	case isASCIIBytes(b):
		return string(b)
	case c.terms == "ISO_IR 192":
		return utf8Text(b)
	case c.terms == "ISO_IR 100" || c.terms == "ISO 2022 IR 100":
		return latin1(b)
	}
	return ascii(b)
}

// encode joins values and turns them into the character set.
func (c CharacterSet) encode(_ VR, values []string) []byte {
	s := strings.Join(values, `\`)
	if c.terms == "ISO_IR 192" || isASCII(s) {
		return []byte(s)
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r < 0x80, r < 0x100 && strings.HasSuffix(c.terms, "IR 100"):
			b = append(b, byte(r))
		default:
			b = append(b, '?')
		}
	}
	return b
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 || s[i] == 0x1B {
			return false
		}
	}
	return true
}

func isASCIIBytes(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0x1B {
			return false
		}
	}
	return true
}

// ascii shows bytes that are not ASCII as PS3.5 section 6.1.2.3 suggests:
// a backslash and three octal digits.
func ascii(b []byte) string {
	if isASCIIBytes(b) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		if c >= 0x80 || c == 0x1B {
			escape(&s, c)
		} else {
			s.WriteByte(c)
		}
	}
	return s.String()
}

func escape(s *strings.Builder, c byte) {
	s.Write([]byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7})
}

func latin1(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

// utf8Text escapes what is not UTF-8.
func utf8Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			escape(&s, b[0])
		} else {
			s.Write(b[:n])
		}
		b = b[n:]
	}
	return s.String()
}
