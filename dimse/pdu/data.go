package pdu

import "encoding/binary"

// PDVHeaderSize is the length of the header of a presentation data value item:
// item length, presentation context id, message control header.
const PDVHeaderSize = 6

// Flags of the message control header (PS3.8 section E.2).
const (
	FlagCommand byte = 1 // the fragment belongs to a command set, else to a data set
	FlagLast    byte = 2 // it is the last fragment
)

// PDV is the header of a presentation data value item (PS3.8 section 9.3.5.1).
// Length counts the bytes of the fragment alone.
type PDV struct {
	ContextID byte
	Flags     byte
	Length    uint32
}

// Command reports whether the fragment belongs to a command set.
func (v PDV) Command() bool { return v.Flags&FlagCommand != 0 }

// Last reports whether the fragment is the last of its command or data set.
func (v PDV) Last() bool { return v.Flags&FlagLast != 0 }

// ParsePDV reads the header of an item from the first PDVHeaderSize bytes of b,
// which must be there. left is what remains of the PDU from the start of this
// item: an item that reaches past it is malformed, as is one too short for its
// own header.
func ParsePDV(b []byte, left uint32) (PDV, error) {
	_ = b[PDVHeaderSize-1]
	n := binary.BigEndian.Uint32(b)
	if n < 2 {
		return PDV{}, malformed("a presentation data value is shorter than its header")
	}
	if left < 4 || n > left-4 {
		return PDV{}, malformed("a presentation data value reaches past its PDU")
	}
	return PDV{ContextID: b[4], Flags: b[5], Length: n - 2}, nil
}

// DataHeaderSize is what a P-DATA-TF PDU with one item has before its fragment.
const DataHeaderSize = HeaderSize + PDVHeaderSize

// AppendDataHeader appends the headers of a P-DATA-TF PDU that carries the one
// item v; the fragment's v.Length bytes follow it.
func AppendDataHeader(b []byte, v PDV) []byte {
	n := len(b)
	b = append(b, byte(TypeData), 0, 0, 0, 0, 0, 0, 0, 0, 0, v.ContextID, v.Flags)
	PutDataLength(b[n:], v.Length)
	return b
}

// PutDataLength sets both lengths in the headers at the start of b to a
// fragment of n bytes.
func PutDataLength(b []byte, n uint32) {
	binary.BigEndian.PutUint32(b[2:], n+PDVHeaderSize)
	binary.BigEndian.PutUint32(b[HeaderSize:], n+2)
}

// AppendData appends fragments of at most max bytes as P-DATA-TF PDUs of one
// item each, flagged with flags, the last one also with FlagLast. Empty data
// is one empty last fragment.
func AppendData(b []byte, contextID, flags byte, data []byte, max int) []byte {
	for {
		n := min(len(data), max)
		f := flags
		if n == len(data) {
			f |= FlagLast
		}
		b = AppendDataHeader(b, PDV{ContextID: contextID, Flags: f, Length: uint32(n)})
		b = append(b, data[:n]...)
		data = data[n:]
		if len(data) == 0 {
			return b
		}
	}
}
