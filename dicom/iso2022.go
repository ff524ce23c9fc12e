package dicom

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"

	"lumen/dicom/dict"
)

const esc = 0x1B

// coding is a code element of ISO 2022 that DICOM uses: a coded character set
// that is designated to G0 (bytes 21 to 7E) or to G1 (bytes A0 to FF).
type coding struct {
	number   int    // of the ISO registry: ISO_IR 100, ISO 2022 IR 100
	about    string // for the conformance statement
	escape   string // designates it, without ESC
	g0       bool
	wide     bool // two bytes a character
	table    *charmap.Charmap
	multi    encoding.Encoding
	prefix   byte // of a character in multi, 0 for none
	katakana bool // JIS X 0201
}

// codings are the defined terms of PS3.3 tables C.12-2 to C.12-4.
var codings = [...]coding{
	{number: 6, about: "default repertoire", escape: "(B", g0: true},
	{number: 100, about: "Latin alphabet No. 1", escape: "-A", table: charmap.ISO8859_1},
	{number: 101, about: "Latin alphabet No. 2", escape: "-B", table: charmap.ISO8859_2},
	{number: 109, about: "Latin alphabet No. 3", escape: "-C", table: charmap.ISO8859_3},
	{number: 110, about: "Latin alphabet No. 4", escape: "-D", table: charmap.ISO8859_4},
	{number: 144, about: "Cyrillic", escape: "-L", table: charmap.ISO8859_5},
	{number: 127, about: "Arabic", escape: "-G", table: charmap.ISO8859_6},
	{number: 126, about: "Greek", escape: "-F", table: charmap.ISO8859_7},
	{number: 138, about: "Hebrew", escape: "-H", table: charmap.ISO8859_8},
	{number: 148, about: "Latin alphabet No. 5", escape: "-M", table: charmap.ISO8859_9},
	{number: 203, about: "Latin alphabet No. 9", escape: "-b", table: charmap.ISO8859_15},
	{number: 13, about: "Japanese, JIS X 0201", escape: ")I", katakana: true},
	{number: 166, about: "Thai", escape: "-T", table: charmap.Windows874},
	{number: 87, about: "Japanese, JIS X 0208", escape: "$B", g0: true, wide: true, multi: japanese.EUCJP},
	{number: 159, about: "Japanese, JIS X 0212", escape: "$(D", g0: true, wide: true, multi: japanese.EUCJP, prefix: 0x8F},
	{number: 149, about: "Korean, KS X 1001", escape: "$)C", wide: true, multi: korean.EUCKR},
	{number: 58, about: "Simplified Chinese, GB 2312", escape: "$)A", wide: true, multi: simplifiedchinese.GBK},
	{number: 14, about: "", escape: "(J", g0: true}, // the letters of JIS X 0201, read as ASCII
	{number: 42, about: "", escape: "$@", g0: true, wide: true, multi: japanese.EUCJP},
}

var asciiCoding, chineseCoding, romajiCoding = &codings[0], &codings[16], &codings[17]

// CharacterSetTerm is a character set of the standard.
type CharacterSetTerm struct{ Term, About string }

// CharacterSets lists the defined terms of Specific Character Set that text is
// decoded from: alone, and with code extensions where the term begins with
// ISO 2022.
func CharacterSets() []CharacterSetTerm {
	var single, extended []CharacterSetTerm
	for i := range codings {
		c := &codings[i]
		if c.about == "" {
			continue
		}
		number := strconv.Itoa(c.number)
		if !c.wide {
			single = append(single, CharacterSetTerm{"ISO_IR " + number, c.about})
		}
		extended = append(extended, CharacterSetTerm{"ISO 2022 IR " + number, c.about})
	}
	single = append(single, CharacterSetTerm{"ISO_IR 192", "Unicode in UTF-8"},
		CharacterSetTerm{"GB18030", "Chinese, GB 18030"}, CharacterSetTerm{"GBK", "Simplified Chinese, GBK"})
	return append(single, extended...)
}

// codings returns the code elements of the defined terms; the first one is
// what a value starts with. Terms that are not known are left out.
func (c CharacterSet) codings() []*coding {
	var list []*coding
	for i, term := range strings.Split(c.terms, `\`) {
		if found := findCoding(normalTerm(term)); found != nil {
			list = append(list, found)
		} else if i == 0 {
			list = append(list, asciiCoding)
		}
	}
	return list
}

func findCoding(term string) *coding {
	switch term {
	case "":
		return asciiCoding
	case "ISO 2022 GBK", "ISO 2022 58": // names of a withdrawn draft
		return chineseCoding
	}
	i := strings.LastIndex(term, "IR ")
	if i < 0 || !strings.HasPrefix(term, "ISO") {
		return nil
	}
	for j := range codings {
		if strconv.Itoa(codings[j].number) == term[i+3:] {
			return &codings[j]
		}
	}
	return nil
}

// initial returns what is designated at the start of a value and after each
// delimiter (PS3.5 section 6.1.2.5.3).
func initial(list []*coding) (g0, g1 *coding) {
	first := list[0]
	switch {
	case first.katakana:
		return romajiCoding, first
	case first.g0 && first.wide:
		return asciiCoding, nil // not allowed as the first one
	case first.g0:
		return first, nil
	}
	return asciiCoding, first
}

// iso2022 decodes text with code extensions. Escape sequences are followed
// whether their character set was announced or not.
func (d *textDecoder) iso2022(list []*coding, name bool, b []byte) {
	g0, g1 := initial(list)
	for len(b) > 0 {
		c := b[0]
		n := 1
		switch {
		case c == esc:
			if found := designated(b[1:]); found != nil {
				n += len(found.escape)
				if found.g0 {
					g0 = found
				} else {
					g1 = found
				}
			} else {
				d.escape(c)
			}
		case c < 0x20: // a new line or page
			d.ascii(c)
			g0, g1 = initial(list)
		case c < 0x80 && g0.wide && c > 0x20 && c < 0x7F:
			n = d.wide(g0, b)
		case c < 0x80:
			d.ascii(c)
			if c == '\\' && d.split || name && (c == '^' || c == '=') {
				g0, g1 = initial(list)
			}
		case g1 != nil && g1.wide:
			n = d.wide(g1, b)
		case g1 != nil && g1.katakana && d.shiftJIS(b):
			n = 2
		default:
			d.single(g1, c)
		}
		b = b[n:]
	}
}

// designated finds the code element of an escape sequence.
func designated(b []byte) *coding {
	for i := range codings {
		e := codings[i].escape
		if len(b) >= len(e) && string(b[:len(e)]) == e {
			return &codings[i]
		}
	}
	return nil
}

// shiftJIS adds a character of two bytes in Shift JIS, which is no character
// set of the standard: some devices announce it as ISO_IR 13, whose Katakana it
// has at the same place.
func (d *textDecoder) shiftJIS(b []byte) bool {
	if len(b) < 2 || b[0] > 0xA0 && b[0] < 0xE0 {
		return false
	}
	return d.character(japanese.ShiftJIS.NewDecoder(), b[:2])
}

// single adds the character of a byte from 80 on.
func (d *textDecoder) single(g1 *coding, c byte) {
	r := utf8.RuneError
	switch {
	case g1 == nil:
	case g1.katakana && c >= 0xA1 && c <= 0xDF:
		r = 0xFF61 + rune(c-0xA1)
	case g1.table != nil && c >= 0xA0:
		r = g1.table.DecodeByte(c)
	}
	if r == utf8.RuneError {
		d.escape(c)
		return
	}
	d.text.WriteRune(r)
}

// wide adds a character of two bytes and returns how many were used.
func (d *textDecoder) wide(g *coding, b []byte) int {
	if len(b) >= 2 && b[1]|0x80 >= 0xA1 && (b[1] >= 0x80) == (b[0] >= 0x80) {
		code := []byte{b[0] | 0x80, b[1] | 0x80}
		if g.prefix != 0 {
			code = []byte{g.prefix, code[0], code[1]}
		}
		if d.character(g.multi.NewDecoder(), code) {
			return 2
		}
	}
	if b[0] >= 0x80 {
		d.escape(b[0])
	} else {
		d.ascii(b[0])
	}
	return 1
}

// encodeISO2022 encodes s with the code elements that the terms announce, and
// returns to the initial ones before each delimiter.
func (c CharacterSet) encodeISO2022(vr VR, s string) []byte {
	list := c.codings()
	firstG0, firstG1 := initial(list)
	g0, g1 := firstG0, firstG1
	extend := len(list) > 1 || strings.Contains(normalTerm(c.terms), "2022")
	var b []byte
	for _, r := range s {
		if r < utf8.RuneSelf {
			if g0 != firstG0 { // any ASCII character, a delimiter too
				b = append(append(b, esc), firstG0.escape...)
				g0 = firstG0
			}
			b = append(b, byte(r))
			if r < 0x20 || r == '\\' && vr.Multiple() || vr == dict.PN && (r == '^' || r == '=') {
				g1 = firstG1
			}
			continue
		}
		if code := g1.encode(r); code != nil {
			b = append(b, code...)
			continue
		}
		if code := g0.encode(r); code != nil {
			b = append(b, code...)
			continue
		}
		found := false
		for _, g := range list {
			code := g.encode(r)
			if !extend || code == nil {
				continue
			}
			b = append(append(append(b, esc), g.escape...), code...)
			if g.g0 {
				g0 = g
			} else {
				g1 = g
			}
			found = true
			break
		}
		if !found {
			if g0 != firstG0 {
				b = append(append(b, esc), firstG0.escape...)
				g0 = firstG0
			}
			b = append(b, '?')
		}
	}
	if g0 != firstG0 {
		b = append(append(b, esc), firstG0.escape...)
	}
	return b
}

// encode returns the bytes of a character that is not ASCII, or nil.
func (g *coding) encode(r rune) []byte {
	switch {
	case g == nil:
	case g.katakana:
		if r >= 0xFF61 && r <= 0xFF9F {
			return []byte{byte(r-0xFF61) + 0xA1}
		}
	case g.table != nil:
		if c, ok := g.table.EncodeRune(r); ok && c >= 0xA0 {
			return []byte{c}
		}
	case g.wide:
		code, ok := appendRune(nil, g.multi.NewEncoder(), r)
		if !ok || g.prefix != 0 && (len(code) != 3 || code[0] != g.prefix) || g.prefix == 0 && len(code) != 2 {
			return nil
		}
		code = code[len(code)-2:]
		if code[0] < 0xA1 || code[1] < 0xA1 { // of GBK or EUC-KR, but not of its standard's 94 by 94
			return nil
		}
		if g.g0 {
			code[0], code[1] = code[0]&0x7F, code[1]&0x7F
		}
		return code
	}
	return nil
}
