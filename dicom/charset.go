package dicom

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"

	"lumen/dicom/dict"
)

// CharacterSet is a value of Specific Character Set (0008,0005): how text is
// encoded (PS3.3 section C.12.1.1.2, PS3.5 section 6.1.2). The zero value is
// the default repertoire, ISO_IR 6.
type CharacterSet struct {
	terms string // defined terms separated by backslashes
}

// NewCharacterSet returns the character set of the given defined terms: one,
// or several with code extensions, of which the first may be empty.
func NewCharacterSet(terms ...string) CharacterSet {
	return CharacterSet{terms: boundedTerms(strings.Join(terms, `\`))}
}

// maxTerms is how many bytes of a Specific Character Set are looked at, above
// what all terms together need: it is looked at for every value.
const maxTerms = 512

func boundedTerms(terms string) string { return terms[:min(len(terms), maxTerms)] }

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
	value := d.characterSetValue()
	return CharacterSet{terms: strings.TrimRight(boundedTerms(string(value[:min(len(value), maxTerms)])), " \x00")}
}

// whole is a character set that is used alone, without code extensions, and
// its defined term. Some devices name others after it, or nothing before it.
func (c CharacterSet) whole() (encoding.Encoding, string) {
	first, rest, _ := strings.Cut(c.terms, `\`)
	if strings.TrimSpace(first) == "" {
		first, _, _ = strings.Cut(rest, `\`)
	}
	switch normalTerm(first) {
	case "ISO IR 192", "UTF 8":
		return encoding.Nop, "ISO_IR 192"
	case "GB18030":
		return simplifiedchinese.GB18030, "GB18030"
	case "GBK":
		return simplifiedchinese.GBK, "GBK"
	}
	return nil, ""
}

// Terms returns the defined terms, separated by backslashes, as they may be
// sent: of a character set without code extensions its term alone, whatever
// stood beside it.
func (c CharacterSet) Terms() string {
	if _, term := c.whole(); term != "" {
		return term
	}
	return c.terms
}

// normalTerm undoes how devices misspell defined terms: in lower case, with
// other separators.
func normalTerm(term string) string {
	return strings.ToUpper(separators.Replace(strings.TrimSpace(term)))
}

var separators = strings.NewReplacer("_", " ", "-", " ")

// Decode splits a value of vr into its values and turns them into UTF-8. Bytes
// that the character set does not have are shown as PS3.5 section 6.1.2.3
// suggests: a backslash and three octal digits. Padding is kept.
func (c CharacterSet) Decode(vr VR, b []byte) []string {
	return c.decode(textDecoder{split: vr.Multiple()}, vr, b)
}

func (c CharacterSet) decode(d textDecoder, vr VR, b []byte) []string {
	if isASCIIBytes(b) {
		if vr.Multiple() {
			return strings.Split(string(b), `\`)
		}
		return []string{string(b)}
	}
	switch enc, _ := c.whole(); enc {
	case nil:
		d.iso2022(c.codings(), vr == dict.PN, b)
	case encoding.Nop:
		d.utf8(b)
	default:
		d.multibyte(enc, b)
	}
	return d.values()
}

// textDecoder gathers the values of an element.
type textDecoder struct {
	split bool // at backslashes
	raw   bool // bytes that are no characters stay as they are
	list  []string
	text  strings.Builder
}

func (d *textDecoder) values() []string { return append(d.list, d.text.String()) }

// ascii adds an ASCII character, which may separate values.
func (d *textDecoder) ascii(c byte) {
	if c == '\\' && d.split {
		d.list = append(d.list, d.text.String())
		d.text.Reset()
		return
	}
	d.text.WriteByte(c)
}

// escape shows a byte that is no character.
func (d *textDecoder) escape(c byte) {
	if d.raw {
		d.text.WriteByte(c)
		return
	}
	d.text.Write([]byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7})
}

func (d *textDecoder) utf8(b []byte) {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r < utf8.RuneSelf:
			d.ascii(b[0])
		case r == utf8.RuneError && n == 1:
			d.escape(b[0])
		default:
			d.text.Write(b[:n])
		}
		b = b[n:]
	}
}

// multibyte decodes GBK and GB18030, in which the second byte of a character
// may be a backslash.
func (d *textDecoder) multibyte(enc encoding.Encoding, b []byte) {
	dec := enc.NewDecoder()
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			d.ascii(b[0])
			b = b[1:]
			continue
		}
		n := 2
		if enc == simplifiedchinese.GB18030 && len(b) >= 4 && b[1] >= '0' && b[1] <= '9' {
			n = 4
		}
		if len(b) < n || !d.character(dec, b[:n]) {
			d.escape(b[0])
			n = 1
		}
		b = b[n:]
	}
}

// character adds what dec makes of b, if that is one character.
func (d *textDecoder) character(dec *encoding.Decoder, b []byte) bool {
	var out [utf8.UTFMax * 2]byte
	dec.Reset()
	n, used, err := dec.Transform(out[:], b, true)
	if err != nil || used != len(b) {
		return false
	}
	if r, size := utf8.DecodeRune(out[:n]); r == utf8.RuneError || size != n {
		return false
	}
	d.text.Write(out[:n])
	return true
}

// Encode joins values of vr and turns them into the character set. A character
// that it does not have becomes "?".
func (c CharacterSet) Encode(vr VR, values ...string) []byte {
	s := strings.Join(values, `\`)
	if isASCII(s) {
		return []byte(s)
	}
	switch enc, _ := c.whole(); enc {
	case nil:
		return c.encodeISO2022(vr, s)
	case encoding.Nop:
		return []byte(strings.ToValidUTF8(s, "?"))
	default:
		return encodeRunes(enc, s)
	}
}

func encodeRunes(enc encoding.Encoding, s string) []byte {
	var b []byte
	e := enc.NewEncoder()
	check := textDecoder{raw: true}
	for _, r := range s {
		from := len(b)
		b, _ = appendRune(b, e, r)
		check.text.Reset()
		check.multibyte(enc, b[from:])
		if check.text.String() != string(r) { // the euro sign of code page 936; characters for private use
			b = append(b[:from], '?')
		}
	}
	return b
}

// appendRune appends what e makes of a character; false when that is nothing.
func appendRune(b []byte, e *encoding.Encoder, r rune) ([]byte, bool) {
	var in, out [utf8.UTFMax * 2]byte
	e.Reset()
	n, _, err := e.Transform(out[:], in[:utf8.EncodeRune(in[:], r)], true)
	if err != nil || r == utf8.RuneError {
		return b, false
	}
	return append(b, out[:n]...), true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || s[i] == esc {
			return false
		}
	}
	return true
}

func isASCIIBytes(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf || c == esc {
			return false
		}
	}
	return true
}

// ascii shows text that has no character set: AE, CS, UI and the like.
func ascii(b []byte) []string {
	if isASCIIBytes(b) {
		return strings.Split(string(b), `\`)
	}
	d := textDecoder{split: true}
	for _, c := range b {
		if c >= utf8.RuneSelf || c == esc {
			d.escape(c)
		} else {
			d.ascii(c)
		}
	}
	return d.values()
}

// Recode brings all text of d and its items to UTF-8, and Specific Character
// Set to ISO_IR 192, or leaves d alone when all of it is ASCII without one.
// Bytes that are no characters of the set stay as they are.
func (d *DataSet) Recode() {
	d.recode(false)
}

func (d *DataSet) recode(item bool) {
	c := d.CharacterSet()
	for i := range d.elems {
		e := &d.elems[i]
		if e.items != nil {
			for _, item := range *e.items {
				item.recode(true)
			}
		}
	}
	needed := c.terms != ""
	for i := range d.elems {
		e := &d.elems[i]
		if e.vr.UsesCharacterSet() && !isASCIIBytes(e.value) {
			s := strings.TrimRight(strings.Join(c.decode(textDecoder{raw: true}, e.vr, e.value), `\`), " \x00")
			if len(s)&1 != 0 {
				s += " "
			}
			e.value, e.length, needed = []byte(s), int64(len(s)), true
		}
	}
	if item {
		d.Delete(dict.SpecificCharacterSet)
	} else if needed {
		d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 192"))
	}
}
