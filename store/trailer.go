package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"lumen/dicom"
)

// Sections of a record. Numbers are never reused; readers skip what they do not
// know. The formats are in docs/formats/trailer.md.
const (
	sectionIdentity   = 1 // five UIDs
	sectionLayout     = 2 // MetaLength, Size, TrailerLength, BodyOffset
	sectionAttributes = 3 // index attributes, Explicit VR Little Endian
	sectionFrames     = 4 // dicom.FrameTable
	sectionFramesRef  = 5 // empty: the frame table is in the blob's trailer
	sectionDigests    = 6 // SHA-256 of the data set, content digest: written until there was section 8
	sectionOrigin     = 7 // received, sequence, source, calling AE, principal
	sectionDigest     = 8 // content digest
)

const (
	sectionHead  = 2 + 4 // type, length
	footerLength = 32
	footerMagic  = "LUMENT\x00\x00" // the last byte is the version

	// maxTrailer bounds what is read because of a footer: far above any frame
	// table that ingest makes.
	maxTrailer = 64 << 20
	// maxRowFrames is the size of a frame table from which on it is only in the
	// blob's trailer: a row is read for every search hit.
	maxRowFrames = 2 << 10
)

// AppendBinary appends the sections of r to b.
func (r *Record) AppendBinary(b []byte) ([]byte, error) {
	b, at := beginSection(b, sectionIdentity)
	for _, uid := range [...]string{r.StudyInstanceUID, r.SeriesInstanceUID, r.SOPInstanceUID, r.SOPClassUID, r.TransferSyntaxUID} {
		b = appendText(b, uid)
	}
	endSection(b, at)

	b, at = beginSection(b, sectionLayout)
	b = binary.BigEndian.AppendUint64(b, uint64(r.MetaLength))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(r.TrailerLength))
	b = binary.BigEndian.AppendUint64(b, uint64(r.BodyOffset))
	endSection(b, at)

	if r.Attributes != nil && r.Attributes.Len() > 0 {
		attributes, err := r.Attributes.Encode(dicom.TransferSyntax{UID: dicom.ExplicitVRLittleEndian})
		if err != nil {
			return nil, fmt.Errorf("encode index attributes: %w", err)
		}
		b, at = beginSection(b, sectionAttributes)
		b = append(b, attributes...)
		endSection(b, at)
	}

	switch {
	case r.FramesInBlob:
		b, at = beginSection(b, sectionFramesRef)
		endSection(b, at)
	case r.Frames.Len() > 0:
		var err error
		b, at = beginSection(b, sectionFrames)
		if b, err = r.Frames.AppendBinary(b); err != nil {
			return nil, fmt.Errorf("encode frame table: %w", err)
		}
		endSection(b, at)
	}

	b, at = beginSection(b, sectionDigest)
	b = append(b, r.Digest[:]...)
	endSection(b, at)

	b, at = beginSection(b, sectionOrigin)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Received.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	b = append(b, byte(r.Source))
	b = appendText(b, r.CallingAE)
	b = appendText(b, r.Principal)
	endSection(b, at)
	return b, nil
}

// UnmarshalBinary reads what [Record.AppendBinary] wrote. It keeps nothing of b.
// Unknown sections are skipped; an error wraps [ErrCorrupt].
func (r *Record) UnmarshalBinary(b []byte) error {
	*r = Record{Attributes: new(dicom.DataSet)}
	var seen uint
	for len(b) > 0 {
		if len(b) < sectionHead {
			return fmt.Errorf("%w: record ends inside a section head", ErrCorrupt)
		}
		kind, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		b = b[sectionHead:]
		if uint64(n) > uint64(len(b)) {
			return fmt.Errorf("%w: record ends inside section %d", ErrCorrupt, kind)
		}
		if err := r.section(kind, b[:n:n]); err != nil {
			return fmt.Errorf("%w: section %d of a record: %w", ErrCorrupt, kind, err)
		}
		if kind < 32 {
			seen |= 1 << kind
		}
		b = b[n:]
	}
	const required = 1<<sectionIdentity | 1<<sectionLayout | 1<<sectionOrigin
	if seen&required != required || seen&(1<<sectionDigest|1<<sectionDigests) == 0 {
		return fmt.Errorf("%w: record lacks a section", ErrCorrupt)
	}
	return nil
}

// section reads one section into r.
func (r *Record) section(kind uint16, b []byte) error {
	s := scanner{b: b}
	switch kind {
	case sectionIdentity:
		for _, uid := range [...]*string{&r.StudyInstanceUID, &r.SeriesInstanceUID, &r.SOPInstanceUID, &r.SOPClassUID, &r.TransferSyntaxUID} {
			*uid = s.text()
		}
	case sectionLayout:
		for _, n := range [...]*int64{&r.MetaLength, &r.Size, &r.TrailerLength, &r.BodyOffset} {
			*n = int64(s.uint64())
		}
		if min(r.MetaLength, r.Size, r.TrailerLength) < 0 || r.MetaLength > 1<<20 || r.Size > 1<<52 || r.TrailerLength > maxTrailer {
			return errLayout
		}
	case sectionAttributes:
		// Parsed elements refer to their input, which is the caller's.
		attributes, err := dicom.ParseDataSet(append([]byte(nil), b...), dicom.TransferSyntax{UID: dicom.ExplicitVRLittleEndian})
		if err != nil {
			return err
		}
		r.Attributes = attributes
		return nil
	case sectionFrames:
		return r.Frames.UnmarshalBinary(b)
	case sectionFramesRef:
		r.FramesInBlob = true
	case sectionDigests:
		s.take(32)
		copy(r.Digest[:], s.take(len(r.Digest)))
	case sectionDigest:
		copy(r.Digest[:], s.take(len(r.Digest)))
	case sectionOrigin:
		r.Received = time.Unix(0, int64(s.uint64())).UTC()
		r.Sequence = s.uint64()
		if source := s.take(1); source != nil {
			r.Source = SourceKind(source[0])
		}
		r.CallingAE, r.Principal = s.text(), s.text()
	}
	if s.short {
		return errShort
	}
	return nil
}

var (
	errShort  = errors.New("too short")
	errLayout = errors.New("lengths contradict each other")
)

// forRow returns r as an index row has it.
func (r Record) forRow() (Record, error) {
	if r.FramesInBlob || r.Frames.Len() <= 1 {
		return r, nil
	}
	b, err := r.Frames.AppendBinary(nil)
	if err != nil {
		return r, fmt.Errorf("encode frame table: %w", err)
	}
	if len(b) > maxRowFrames {
		r.Frames, r.FramesInBlob = dicom.FrameTable{}, true
	}
	return r, nil
}

// appendTrailer appends the record's sections and the footer: what follows the
// data set in a blob. It sets TrailerLength.
func appendTrailer(b []byte, r *Record) ([]byte, error) {
	start := len(b)
	r.TrailerLength = 0
	b, err := r.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	sections := len(b) - start
	r.TrailerLength = int64(sections + footerLength) // of fixed width, so nothing moves
	if b, err = r.AppendBinary(b[:start]); err != nil {
		return nil, err
	}
	b = append(b, footerMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(sections))
	b = binary.BigEndian.AppendUint64(b, uint64(r.MetaLength))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	return b, nil
}

// footer is the last 32 bytes of a blob's plaintext.
type footer struct{ sections, meta, size int64 }

// parseFooter reads the footer of a plaintext of total bytes.
func parseFooter(b []byte, total int64) (footer, error) {
	if len(b) != footerLength || string(b[:len(footerMagic)]) != footerMagic {
		return footer{}, fmt.Errorf("%w: no footer", ErrCorrupt)
	}
	f := footer{
		sections: int64(binary.BigEndian.Uint64(b[8:])),
		meta:     int64(binary.BigEndian.Uint64(b[16:])),
		size:     int64(binary.BigEndian.Uint64(b[24:])),
	}
	rest := total - footerLength
	for _, n := range [...]int64{f.sections, f.meta, f.size} {
		if n < 0 || n > rest {
			return footer{}, fmt.Errorf("%w: footer lengths exceed the object", ErrCorrupt)
		}
		rest -= n
	}
	if rest != 0 || f.sections > maxTrailer {
		return footer{}, fmt.Errorf("%w: footer lengths do not add up", ErrCorrupt)
	}
	return f, nil
}

func beginSection(b []byte, kind uint16) (_ []byte, at int) {
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(b, 0, 0, 0, 0), len(b) + 4
}

// endSection fills in the length of the section whose payload began at at.
func endSection(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at-4:], uint32(len(b)-at))
}

// appendText appends s after its length in two bytes. Longer text is cut: UIDs,
// AE titles and principals are far shorter.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// scanner takes fixed parts off a section; once something is missing it gives
// zeros and stays short.
type scanner struct {
	b     []byte
	short bool
}

func (s *scanner) take(n int) []byte {
	if len(s.b) < n {
		s.b, s.short = nil, true
		return nil
	}
	v := s.b[:n]
	s.b = s.b[n:]
	return v
}

func (s *scanner) uint64() uint64 {
	if v := s.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (s *scanner) text() string {
	if v := s.take(2); v != nil {
		return string(s.take(int(binary.BigEndian.Uint16(v))))
	}
	return ""
}
