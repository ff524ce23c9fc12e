package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Tags of the files that tests make.
const (
	tagMetaLength          = 0x00020000
	tagMetaVersion         = 0x00020001
	tagMetaClass           = 0x00020002
	tagMetaInstance        = 0x00020003
	tagMetaSyntax          = 0x00020010
	tagMetaWriter          = 0x00020012
	tagCharacterSet        = 0x00080005
	tagSOPClass            = 0x00080016
	tagSOPInstance         = 0x00080018
	tagStudyDate           = 0x00080020
	tagStudyTime           = 0x00080030
	tagAccession           = 0x00080050
	tagModality            = 0x00080060
	tagInstitution         = 0x00080080
	tagReferrer            = 0x00080090
	tagStudyDescription    = 0x00081030
	tagPatientName         = 0x00100010
	tagPatientID           = 0x00100020
	tagIssuer              = 0x00100021
	tagBirthDate           = 0x00100030
	tagPatientComments     = 0x00104000
	tagStudy               = 0x0020000d
	tagSeries              = 0x0020000e
	tagStudyID             = 0x00200010
	tagSeriesNumber        = 0x00200011
	tagInstanceNumber      = 0x00200013
	tagSamples             = 0x00280002
	tagPhotometric         = 0x00280004
	tagRows                = 0x00280010
	tagColumns             = 0x00280011
	tagBitsAllocated       = 0x00280100
	tagBitsStored          = 0x00280101
	tagHighBit             = 0x00280102
	tagPixelRepresentation = 0x00280103
	tagPixelData           = 0x7fe00010
)

const (
	explicitLE        = "1.2.840.10008.1.2.1"
	jpegBaseline      = "1.2.840.10008.1.2.4.50"
	mpeg4             = "1.2.840.10008.1.2.4.102"
	secondaryCapture  = "1.2.840.10008.5.1.4.1.1.7"
	vlEndoscopic      = "1.2.840.10008.5.1.4.1.1.77.1.1"
	videoEndoscopic   = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
	uidRoot           = "2.25."
	undefinedLength   = 0xffffffff
	itemTag           = 0xfffee000
	sequenceDelimiter = 0xfffee0dd
)

// builder writes elements in explicit VR little endian, without our own codec.
type builder struct{ bytes.Buffer }

// put writes one element; tags are to be given in ascending order.
func (b *builder) put(tag uint32, vr, value string) {
	if len(value)%2 == 1 {
		pad := " "
		if vr == "UI" || vr == "OB" {
			pad = "\x00"
		}
		value += pad
	}
	b.head(tag, vr, uint32(len(value)))
	b.WriteString(value)
}

func (b *builder) head(tag uint32, vr string, length uint32) {
	b.tag(tag)
	b.WriteString(vr)
	switch vr {
	case "OB", "OW", "SQ", "UN", "UT":
		b.Write([]byte{0, 0})
		b.Write(binary.LittleEndian.AppendUint32(nil, length))
	default:
		b.Write(binary.LittleEndian.AppendUint16(nil, uint16(length)))
	}
}

func (b *builder) tag(tag uint32) {
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(tag>>16)))
	b.Write(binary.LittleEndian.AppendUint16(nil, uint16(tag)))
}

// item writes the header of a fragment or of the end of them.
func (b *builder) item(tag, length uint32) {
	b.tag(tag)
	b.Write(binary.LittleEndian.AppendUint32(nil, length))
}

// file puts preamble and File Meta Information before a data set.
func file(sopClass, sopInstance, transferSyntax string, dataSet []byte) []byte {
	var meta builder
	meta.put(tagMetaVersion, "OB", "\x00\x01")
	meta.put(tagMetaClass, "UI", sopClass)
	meta.put(tagMetaInstance, "UI", sopInstance)
	meta.put(tagMetaSyntax, "UI", transferSyntax)
	meta.put(tagMetaWriter, "UI", uidRoot+"1")
	var b builder
	b.Write(make([]byte, 128))
	b.WriteString("DICM")
	b.put(tagMetaLength, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(meta.Len()))))
	b.Write(meta.Bytes())
	b.Write(dataSet)
	return b.Bytes()
}

// still is a made endoscopic image.
type still struct {
	Study, Series, Instance string
	Name, ID, Accession     string
	Issuer                  string // of ID; not written when it is empty
	Number                  int
	Size                    int // bytes of its one fragment
}

// uid makes a UID of random digits.
func uid(rng *rand.Rand) string {
	return fmt.Sprintf("%s%d%018d", uidRoot, 1+rng.Int64N(9e17), rng.Int64N(1e18))
}

// dataSet encodes the still; its pixel data are random bytes, which no test
// decodes.
func (s still) dataSet(rng *rand.Rand) []byte {
	var b builder
	b.put(tagSOPClass, "UI", vlEndoscopic)
	b.put(tagSOPInstance, "UI", s.Instance)
	b.put(tagStudyDate, "DA", "20261123")
	b.put(tagStudyTime, "TM", "0815")
	b.put(tagAccession, "SH", s.Accession)
	b.put(tagModality, "CS", "ES")
	b.put(tagReferrer, "PN", "")
	b.put(tagPatientName, "PN", s.Name)
	b.put(tagPatientID, "LO", s.ID)
	if s.Issuer != "" {
		b.put(tagIssuer, "LO", s.Issuer)
	}
	b.put(tagStudy, "UI", s.Study)
	b.put(tagSeries, "UI", s.Series)
	b.put(tagStudyID, "SH", "")
	b.put(tagSeriesNumber, "IS", "1")
	b.put(tagInstanceNumber, "IS", fmt.Sprint(s.Number))
	b.put(tagRows, "US", "\x00\x04")
	b.put(tagColumns, "US", "\x00\x04")
	b.head(tagPixelData, "OB", undefinedLength)
	b.item(itemTag, 0)
	fragment := make([]byte, s.Size&^1)
	for i := range fragment {
		fragment[i] = byte(rng.Uint32())
	}
	b.item(itemTag, uint32(len(fragment)))
	b.Write(fragment)
	b.item(sequenceDelimiter, 0)
	return b.Bytes()
}

// save writes a file into dir and returns its name.
func save(t *testing.T, dir string, content []byte) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "*.dcm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(f.Name())
}

// rngFor returns the same random numbers in every run of a test.
func rngFor(t *testing.T) *rand.Rand {
	var seed [32]byte
	copy(seed[:], t.Name())
	return rand.New(rand.NewChaCha8(seed))
}
