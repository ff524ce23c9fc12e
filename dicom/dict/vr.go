package dict

// VR is a value representation (PS3.5 section 6.2): its two letters, the first
// in the high byte. The zero VR means unknown and is never encoded.
type VR uint16

// The value representations of PS3.5 table 6.2-1.
const (
	AE VR = 'A'<<8 | 'E'
	AS VR = 'A'<<8 | 'S'
	AT VR = 'A'<<8 | 'T'
	CS VR = 'C'<<8 | 'S'
	DA VR = 'D'<<8 | 'A'
	DS VR = 'D'<<8 | 'S'
	DT VR = 'D'<<8 | 'T'
	FD VR = 'F'<<8 | 'D'
	FL VR = 'F'<<8 | 'L'
	IS VR = 'I'<<8 | 'S'
	LO VR = 'L'<<8 | 'O'
	LT VR = 'L'<<8 | 'T'
	OB VR = 'O'<<8 | 'B'
	OD VR = 'O'<<8 | 'D'
	OF VR = 'O'<<8 | 'F'
	OL VR = 'O'<<8 | 'L'
	OV VR = 'O'<<8 | 'V'
	OW VR = 'O'<<8 | 'W'
	PN VR = 'P'<<8 | 'N'
	SH VR = 'S'<<8 | 'H'
	SL VR = 'S'<<8 | 'L'
	SQ VR = 'S'<<8 | 'Q'
	SS VR = 'S'<<8 | 'S'
	ST VR = 'S'<<8 | 'T'
	SV VR = 'S'<<8 | 'V'
	TM VR = 'T'<<8 | 'M'
	UC VR = 'U'<<8 | 'C'
	UI VR = 'U'<<8 | 'I'
	UL VR = 'U'<<8 | 'L'
	UN VR = 'U'<<8 | 'N'
	UR VR = 'U'<<8 | 'R'
	US VR = 'U'<<8 | 'S'
	UT VR = 'U'<<8 | 'T'
	UV VR = 'U'<<8 | 'V'
)

// String returns the two letters, or "??" for the zero VR.
func (v VR) String() string {
	if v == 0 {
		return "??"
	}
	return string([]byte{byte(v >> 8), byte(v)})
}

// properties of a VR, as bits.
const (
	known   = 1 << iota
	long    // 32-bit length in the explicit VR encodings
	charset // its text follows Specific Character Set
	text    // characters of some kind
	single  // a backslash does not separate values
	unit2   // words of this size are swapped in big endian
	unit4
	unit8
	numbers // fixed-size binary numbers
)

func (v VR) properties() uint16 {
	switch v {
	case AE, AS, CS, DA, DS, DT, IS, TM, UI:
		return known | text
	case LO, PN, SH:
		return known | text | charset
	case LT, ST:
		return known | text | charset | single
	case UC:
		return known | text | charset | long
	case UT:
		return known | text | charset | long | single
	case UR:
		return known | text | long | single
	case AT, SS, US:
		return known | unit2 | numbers
	case FL, SL, UL:
		return known | unit4 | numbers
	case FD:
		return known | unit8 | numbers
	case SV, UV:
		return known | unit8 | numbers | long
	case OB, SQ, UN:
		return known | long
	case OW:
		return known | long | unit2
	case OF, OL:
		return known | long | unit4
	case OD, OV:
		return known | long | unit8
	}
	return 0
}

// Known reports whether v is one of the value representations of the standard.
func (v VR) Known() bool { return v.properties()&known != 0 }

// Long reports whether v has the 32-bit length in the explicit VR encodings
// (PS3.5 section 7.1.2).
func (v VR) Long() bool { return v.properties()&long != 0 }

// Text reports whether values of v are characters.
func (v VR) Text() bool { return v.properties()&text != 0 }

// UsesCharacterSet reports whether values of v are encoded as Specific
// Character Set (0008,0005) says (PS3.5 section 6.1.2.2).
func (v VR) UsesCharacterSet() bool { return v.properties()&charset != 0 }

// Multiple reports whether a text value of v is a list separated by
// backslashes.
func (v VR) Multiple() bool { return v.properties()&(text|single) == text }

// Number reports whether values of v are a list of fixed-size binary numbers.
func (v VR) Number() bool { return v.properties()&numbers != 0 }

// Unit is the size in bytes of the words that are byte-swapped in Explicit VR
// Big Endian: 1, 2, 4 or 8. (An AT value is two words of 2 bytes.)
func (v VR) Unit() int {
	switch v.properties() & (unit2 | unit4 | unit8) {
	case unit2:
		return 2
	case unit4:
		return 4
	case unit8:
		return 8
	}
	return 1
}

// Pad is the byte that brings a value of v to an even length: a space for
// text, a zero for UI and for binary values (PS3.5 section 6.2).
func (v VR) Pad() byte {
	if v == UI || v.properties()&text == 0 {
		return 0
	}
	return ' '
}
