package media

import (
	"encoding/binary"
	"fmt"
	"io"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Sizes in explicit VR little endian: an item's header, and that of a sequence.
const (
	itemHeader     = 8
	sequenceHeader = 12
)

// WriteDICOMDIR writes the directory of the files that were added. Offsets are
// 32 bits: it fails past 4 GiB.
func (s *FileSet) WriteDICOMDIR(w io.Writer) error {
	explicit, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: dict.UIDMediaStorageDirectoryStorage, MediaStorageSOPInstanceUID: newUID(),
		TransferSyntaxUID:      dicom.ExplicitVRLittleEndian,
		ImplementationClassUID: dicom.ImplementationClassUID, ImplementationVersionName: dicom.ImplementationVersionName,
	}.AppendTo(nil)

	// Offsets do not change the size of anything: what is laid out with zeros is
	// as long as with them.
	head := fileSetHead(0, 0)
	top, err := head.Encode(explicit)
	if err != nil {
		return fmt.Errorf("encode the directory: %w", err)
	}
	first := int64(len(meta)+len(top)) + sequenceHeader
	end, err := s.root.layOut(first, explicit)
	if err != nil {
		return err
	}
	if end > 1<<32-1 {
		return fmt.Errorf("a directory of %d bytes has no room for its offsets", end)
	}
	if n := len(s.root.children); n > 0 {
		head = fileSetHead(s.root.children[0].offset, s.root.children[n-1].offset)
	}
	if top, err = head.Encode(explicit); err != nil {
		return fmt.Errorf("encode the directory: %w", err)
	}
	top = binary.LittleEndian.AppendUint16(top, uint16(dict.DirectoryRecordSequence>>16))
	top = binary.LittleEndian.AppendUint16(top, uint16(dict.DirectoryRecordSequence&0xffff))
	top = append(top, 'S', 'Q', 0, 0)
	top = binary.LittleEndian.AppendUint32(top, uint32(end-first))
	if _, err := w.Write(append(meta, top...)); err != nil {
		return err
	}
	return s.root.write(w, explicit)
}

// fileSetHead is what stands before the records (PS3.3 F.3.2.2).
func fileSetHead(first, last int64) *dicom.DataSet {
	d := &dicom.DataSet{}
	d.SetString(dict.FileSetID, "LUMEN")
	d.SetInt(dict.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, int(first))
	d.SetInt(dict.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity, int(last))
	d.SetInt(dict.FileSetConsistencyFlag, 0)
	return d
}

// layOut gives the records below r their offsets, each followed by those below
// it, from offset at on, and returns where they end.
func (r *record) layOut(at int64, ts dicom.TransferSyntax) (int64, error) {
	for _, c := range r.children {
		b, err := c.data.Encode(ts)
		if err != nil {
			return 0, fmt.Errorf("encode a directory record: %w", err)
		}
		c.offset = at
		if at, err = c.layOut(at+itemHeader+int64(len(b)), ts); err != nil {
			return 0, err
		}
	}
	for i, c := range r.children {
		if i+1 < len(r.children) {
			c.data.SetInt(dict.OffsetOfTheNextDirectoryRecord, int(r.children[i+1].offset))
		}
		if len(c.children) > 0 {
			c.data.SetInt(dict.OffsetOfReferencedLowerLevelDirectoryEntity, int(c.children[0].offset))
		}
	}
	return at, nil
}

func (r *record) write(w io.Writer, ts dicom.TransferSyntax) error {
	for _, c := range r.children {
		b, err := c.data.Encode(ts)
		if err != nil {
			return fmt.Errorf("encode a directory record: %w", err)
		}
		head := []byte{0xfe, 0xff, 0x00, 0xe0}
		head = binary.LittleEndian.AppendUint32(head, uint32(len(b)))
		if _, err := w.Write(append(head, b...)); err != nil {
			return err
		}
		if err := c.write(w, ts); err != nil {
			return err
		}
	}
	return nil
}
