package store

import (
	"time"

	"lumen/dicom"
	"lumen/store/seal"
)

// Record is what the archive knows of one instance without reading its bytes.
// It is the trailer of the instance's blob and the value of its index row, in
// one encoding (see [Record.AppendBinary] and docs/formats/trailer.md).
//
// The plaintext of a blob is a Part 10 file, then the trailer: MetaLength bytes
// of preamble and File Meta Information of our own, then Size bytes of data set
// exactly as received, then sections and footer. Offsets count from the first
// byte of the data set.
type Record struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUID    string
	SOPClassUID       string
	TransferSyntaxUID string

	// Attributes holds the index attributes raw, with the Specific Character Set
	// (0008,0005) that they are encoded in: see [IndexAttributes].
	Attributes *dicom.DataSet

	MetaLength    int64 // bytes of preamble and File Meta before the data set
	Size          int64 // bytes of the data set as received
	TrailerLength int64 // bytes of sections and footer after the data set
	BodyOffset    int64 // where the pixel data element begins; Size when there is none, -1 when deflated

	// Frames says where the frames are. It is empty in the row of an instance
	// whose table is large: FramesInBlob is set, and the blob's trailer has it.
	Frames       dicom.FrameTable
	FramesInBlob bool

	Digest [32]byte // of the content: token stream without group lengths, VRs and delimitation

	Received  time.Time  // when the last byte was there, UTC
	Sequence  uint64     // order of ingest within the tenant; later is larger
	CallingAE string     // as on the wire; empty for HTTP
	Principal string     // "kind:name" of who sent it
	Source    SourceKind // how it came
}

// SourceKind says how an instance came in.
type SourceKind byte

// The kinds of source.
const (
	SourceUnknown SourceKind = iota
	SourceDIMSE              // C-STORE
	SourceWeb                // STOW-RS
	SourceImport             // lumen import
)

// Row is a record and the blob that it describes.
type Row struct {
	Record
	Blob BlobRef
}

// plainSize is the size of the blob's plaintext in bytes.
func (r *Record) plainSize() int64 { return r.MetaLength + r.Size + r.TrailerLength }

// BlobRef names the blob of an instance: random handles, safe in clear.
type BlobRef struct {
	Study [16]byte // handle of the study key that seals it
	ID    [16]byte
}

// Name is the name of the object in [Blobs] for the tenant with that handle.
func (b BlobRef) Name(tenant [16]byte) string { return seal.ObjectName(tenant, b.Study, b.ID) }
