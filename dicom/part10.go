package dicom

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"lumen/dicom/dict"
)

// What Lumen calls itself in File Meta and on associations (PS3.7 annex D.3.3.2).
const (
	ImplementationClassUID    = "2.25.310209528381788080821700349759680717155"
	ImplementationVersionName = "LUMEN_0"
)

// FileMeta is the File Meta Information of a DICOM file (PS3.10 section 7.1).
type FileMeta struct {
	MediaStorageSOPClassUID         string
	MediaStorageSOPInstanceUID      string
	TransferSyntaxUID               string
	ImplementationClassUID          string
	ImplementationVersionName       string
	SourceApplicationEntityTitle    string
	SendingApplicationEntityTitle   string
	ReceivingApplicationEntityTitle string
	// Findings has Preamble where the file had none, or no usable File Meta.
	Findings Findings
}

// fields maps the attributes to the struct.
func (m *FileMeta) fields() []metaField {
	return []metaField{
		{dict.MediaStorageSOPClassUID, dict.UI, &m.MediaStorageSOPClassUID},
		{dict.MediaStorageSOPInstanceUID, dict.UI, &m.MediaStorageSOPInstanceUID},
		{dict.TransferSyntaxUID, dict.UI, &m.TransferSyntaxUID},
		{dict.ImplementationClassUID, dict.UI, &m.ImplementationClassUID},
		{dict.ImplementationVersionName, dict.SH, &m.ImplementationVersionName},
		{dict.SourceApplicationEntityTitle, dict.AE, &m.SourceApplicationEntityTitle},
		{dict.SendingApplicationEntityTitle, dict.AE, &m.SendingApplicationEntityTitle},
		{dict.ReceivingApplicationEntityTitle, dict.AE, &m.ReceivingApplicationEntityTitle},
	}
}

type metaField struct {
	tag   Tag
	vr    VR
	value *string
}

const (
	preamble     = 128
	maxMetaValue = 64 << 10
	maxMeta      = 1 << 20
)

// ReadFileMeta reads the preamble and the File Meta group of a DICOM file and
// returns them with a reader of the data set that follows; that one reads
// ahead of r.
//
// A file without preamble, without File Meta or with a wrong group length is
// read as well. Where no transfer syntax is named it is guessed from the data
// set's first element. The error wraps [ErrSyntax] when the file looks like
// none of this.
func ReadFileMeta(r io.Reader) (FileMeta, io.Reader, error) {
	var m FileMeta
	br := bufio.NewReaderSize(r, 4096)
	marked := true // the file says that it is one
	switch b, err := br.Peek(preamble + 4); {
	case len(b) == preamble+4 && string(b[preamble:]) == "DICM":
		br.Discard(preamble + 4)
	case len(b) >= 4 && string(b[:4]) == "DICM":
		m.Findings.Add(Preamble)
		br.Discard(4)
	default:
		if err != nil && err != io.EOF {
			return m, nil, readError(err)
		}
		m.Findings.Add(Preamble)
		marked = false
	}
	if err := m.read(br); err != nil {
		return m, nil, err
	}
	if m.TransferSyntaxUID == "" {
		b, err := br.Peek(8)
		if err != nil && err != io.EOF {
			return m, nil, readError(err)
		}
		if m.TransferSyntaxUID = guessSyntax(b, marked); m.TransferSyntaxUID == "" {
			return m, nil, fmt.Errorf("dicom: neither File Meta nor the start of a data set: %w", ErrSyntax)
		}
		m.Findings.Add(Preamble)
	}
	return m, br, nil
}

// read reads group 0002: until its group length says that it ends and a
// transfer syntax was seen, or until there is another group.
func (m *FileMeta) read(br *bufio.Reader) error {
	end, at := int64(-1), int64(0)
	fields := m.fields()
	for {
		b, err := br.Peek(12)
		if err != nil && err != io.EOF {
			return readError(err)
		}
		if len(b) < 8 || binary.LittleEndian.Uint16(b) != 2 || at == end && m.TransferSyntaxUID != "" {
			if end >= 0 && at != end {
				m.Findings.Add(Preamble)
			}
			return nil
		}
		tag := dict.NewTag(2, binary.LittleEndian.Uint16(b[2:]))
		size, length := 8, int64(binary.LittleEndian.Uint16(b[6:]))
		switch formOf(VR(b[4])<<8 | VR(b[5])) {
		case longForm:
			if len(b) < 12 {
				return &ParseError{Offset: at, Tag: tag, What: "File Meta", Err: io.ErrUnexpectedEOF}
			}
			size, length = 12, int64(binary.LittleEndian.Uint32(b[8:]))
		case noForm:
			m.Findings.Add(ImplicitElement)
			length = int64(binary.LittleEndian.Uint32(b[4:]))
		}
		if at += int64(size) + length; length > maxMetaValue || at > maxMeta {
			return &ParseError{Offset: at, Tag: tag, What: "File Meta", Err: ErrLimit}
		}
		br.Discard(size)
		value := make([]byte, length)
		if _, err := io.ReadFull(br, value); err != nil {
			return &ParseError{Offset: at, Tag: tag, What: "File Meta", Err: readError(err)}
		}
		if tag.GroupLength() && length == 4 {
			end = at + int64(binary.LittleEndian.Uint32(value))
		}
		for _, f := range fields {
			if f.tag == tag {
				*f.value = strings.Trim(string(value), " \x00")
			}
		}
	}
}

// guessSyntax tells the uncompressed syntaxes apart by a data set's first
// eight bytes; "" when they look like none. Where it is certain that they are
// a data set, it may start with a tag that the dictionary does not have.
func guessSyntax(b []byte, certain bool) string {
	if len(b) < 8 {
		return ""
	}
	little := dict.NewTag(binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]))
	big := Tag(binary.BigEndian.Uint32(b))
	switch vr := VR(b[4])<<8 | VR(b[5]); {
	case formOf(vr) != noForm && plausible(little, vr):
		return ExplicitVRLittleEndian
	case formOf(vr) != noForm && plausible(big, vr):
		return ExplicitVRBigEndian
	}
	if certain && formOf(VR(b[4])<<8|VR(b[5])) != noForm {
		return ExplicitVRLittleEndian
	}
	if vr, _ := dict.VRs(little); certain || vr != 0 && little.Group() < 0x100 && binary.LittleEndian.Uint32(b[4:]) < 1<<16 {
		return ImplicitVRLittleEndian
	}
	return ""
}

// AppendTo appends 128 zero bytes, "DICM" and the File Meta group with its
// group length. Fields that are empty are left out, apart from the
// implementation, which is Lumen's then.
func (m FileMeta) AppendTo(b []byte) []byte {
	if m.ImplementationClassUID == "" {
		m.ImplementationClassUID, m.ImplementationVersionName = ImplementationClassUID, ImplementationVersionName
	}
	b = append(b, make([]byte, preamble)...)
	b = append(b, "DICM\x02\x00\x00\x00UL\x04\x00\x00\x00\x00\x00"...)
	start := len(b)
	b = append(b, "\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"...)
	for _, f := range m.fields() {
		if *f.value == "" {
			continue
		}
		value := *f.value
		if len(value)&1 != 0 {
			value += string(rune(f.vr.Pad()))
		}
		b = appendTag(b, f.tag)
		b = append(b, byte(f.vr>>8), byte(f.vr))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	binary.LittleEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}

// ValidUID reports whether s has the form of a UID that Lumen takes: 1 to 64
// digits and dots. (PS3.5 section 9.1 is stricter about zeros and dots, which
// real devices get wrong.)
func ValidUID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '.' && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}
