package media

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Sizes in explicit VR little endian: an item's header, and that of a sequence.
const (
	itemHeader     = 8
	sequenceHeader = 12
)

// Where a record has its offsets, which are its first and third elements
// (0004,1400) UL and (0004,1420) UL, with (0004,1410) US between them.
const (
	nextAt  = 8
	lowerAt = 12 + 10 + 8
)

// WriteDICOMDIR writes the directory of the files that were added, with a new
// SOP Instance UID. Offsets are 32 bits: it fails past 4 GiB.
func (s *FileSet) WriteDICOMDIR(w io.Writer) error {
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: dict.UIDMediaStorageDirectoryStorage, MediaStorageSOPInstanceUID: newUID(),
		TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
	}.AppendTo(nil)

	// What is before the records is as long without their offsets.
	head, err := fileSetHead(0, 0)
	if err != nil {
		return err
	}
	start := int64(len(meta)+len(head)) + sequenceHeader
	end := s.top.layOut(start)
	if end > math.MaxUint32 {
		return fmt.Errorf("a directory of %d bytes has no room for its offsets", end)
	}
	if n := len(s.top.children); n > 0 {
		if head, err = fileSetHead(s.top.children[0].offset, s.top.children[n-1].offset); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(w)
	out.Write(meta) // what fails is told by Flush
	out.Write(head)
	sequence := []byte{0x04, 0x00, 0x20, 0x12, 'S', 'Q', 0, 0} // Directory Record Sequence (0004,1220)
	out.Write(binary.LittleEndian.AppendUint32(sequence, uint32(end-start)))
	s.top.write(out)
	return out.Flush()
}

// fileSetHead is what stands before the records (PS3.3 F.3.2.1, F.3.2.2).
func fileSetHead(first, last uint32) ([]byte, error) {
	d := &dicom.DataSet{}
	d.SetString(dict.FileSetID, "LUMEN")
	d.SetInt(dict.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, int(first))
	d.SetInt(dict.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity, int(last))
	d.SetInt(dict.FileSetConsistencyFlag, 0)
	return d.Encode(explicit())
}

// layOut gives the records below r their offsets, each followed by those below
// it, from offset at on, and returns where they end.
func (r *record) layOut(at int64) int64 {
	for _, c := range r.children {
		c.offset = uint32(at)
		at = c.layOut(at + itemHeader + int64(len(c.encoded)))
	}
	for i, c := range r.children {
		if i+1 < len(r.children) {
			binary.LittleEndian.PutUint32(c.encoded[nextAt:], r.children[i+1].offset)
		}
		if len(c.children) > 0 {
			binary.LittleEndian.PutUint32(c.encoded[lowerAt:], c.children[0].offset)
		}
	}
	return at
}

// write writes the records below r as items. The buffer keeps the first error.
func (r *record) write(out *bufio.Writer) {
	for _, c := range r.children {
		out.Write(binary.LittleEndian.AppendUint32([]byte{0xfe, 0xff, 0x00, 0xe0}, uint32(len(c.encoded))))
		out.Write(c.encoded)
		c.write(out)
	}
}
