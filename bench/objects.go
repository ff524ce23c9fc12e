package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// The sizes that DESIGN section 13 names.
const (
	stillBytes = 220 << 10
	videoBytes = 1 << 30
)

// object is one instance ready to be sent: where a UID stands in the data set a
// new one of the same length can be patched in.
type object struct {
	sopClass, syntax        string
	study, series, instance string
	head                    []byte // data set up to the bulk
	bulk                    func() io.Reader
	size                    int64
}

func (o *object) reader() io.Reader {
	if o.bulk == nil {
		return bytes.NewReader(o.head)
	}
	return io.MultiReader(bytes.NewReader(o.head), o.bulk())
}

// uid makes a UID of fixed length from a kind and numbers below 10^9.
func uid(kind, a, b int) string { return fmt.Sprintf("2.25.7%02d%010d%010d", kind, a, b) }

const (
	kindStudy = iota
	kindSeries
	kindInstance
)

// header is the data set of an endoscopic still or video, before its pixels.
func header(sopClass, modality string, study, number int, rows, columns, frames int) (*dicom.DataSet, [3]string) {
	uids := [3]string{uid(kindStudy, study, 0), uid(kindSeries, study, 0), uid(kindInstance, study, number)}
	given := []string{"ANNA", "BEN", "CLARA", "DAVID", "EMMA", "FELIX", "GRETA", "HUGO"}
	d := new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.SOPClassUID, sopClass)
	d.SetString(dict.SOPInstanceUID, uids[2])
	d.SetString(dict.StudyDate, fmt.Sprintf("20%02d%02d%02d", 10+study%15, 1+study/15%12, 1+study/180%28))
	d.SetString(dict.StudyTime, fmt.Sprintf("%02d%02d00", study%24, study/24%60))
	d.SetString(dict.AccessionNumber, fmt.Sprintf("A%09d", study))
	d.SetString(dict.Modality, modality)
	d.SetString(dict.StudyDescription, "Colonoscopy")
	d.SetString(dict.PatientName, fmt.Sprintf("SURNAME%06d^%s", study/3, given[study/3%len(given)]))
	d.SetString(dict.PatientID, fmt.Sprintf("P%08d", study/3))
	d.SetString(dict.PatientBirthDate, "19600101")
	d.SetString(dict.PatientSex, "O")
	d.SetString(dict.StudyInstanceUID, uids[0])
	d.SetString(dict.SeriesInstanceUID, uids[1])
	d.SetString(dict.StudyID, "1")
	d.SetString(dict.SeriesNumber, "1")
	d.SetString(dict.InstanceNumber, fmt.Sprint(number))
	if rows > 0 {
		d.SetInt(dict.SamplesPerPixel, 3)
		d.SetString(dict.PhotometricInterpretation, "YBR_FULL_422")
		d.SetInt(dict.PlanarConfiguration, 0)
		d.SetInt(dict.Rows, rows)
		d.SetInt(dict.Columns, columns)
		d.SetInt(dict.BitsAllocated, 8)
		d.SetInt(dict.BitsStored, 8)
		d.SetInt(dict.HighBit, 7)
		d.SetInt(dict.PixelRepresentation, 0)
		d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
	}
	return d, uids
}

// still is instance number of a study: a JPEG of stillBytes in one fragment.
func still(study, number int, picture []byte) (*object, error) {
	const class = dict.UIDVLEndoscopicImageStorage
	d, uids := header(class, "ES", study, number, 720, 1280, 1)
	head, err := encode(d)
	if err != nil {
		return nil, err
	}
	head = encapsulate(head, int64(len(picture)))
	return &object{sopClass: class, syntax: dicom.JPEGBaseline8Bit, study: uids[0], series: uids[1], instance: uids[2],
		head: head, size: int64(len(head)+len(picture)) + 8,
		bulk: func() io.Reader { return io.MultiReader(bytes.NewReader(picture), bytes.NewReader(sequenceEnd)) }}, nil
}

// video is one object of videoBytes in one fragment.
func video(study int) (*object, error) {
	const class = dict.UIDVideoEndoscopicImageStorage
	d, uids := header(class, "ES", study, 1, 1080, 1920, 3600)
	head, err := encode(d)
	if err != nil {
		return nil, err
	}
	head = encapsulate(head, videoBytes)
	return &object{sopClass: class, syntax: "1.2.840.10008.1.2.4.102", study: uids[0], series: uids[1], instance: uids[2],
		head: head, size: int64(len(head)) + videoBytes + 8,
		bulk: func() io.Reader {
			return io.MultiReader(&repeated{block: noise(1<<20, uint64(study)), left: videoBytes}, bytes.NewReader(sequenceEnd))
		}}, nil
}

// note is a study of one instance without pixels: cheap to load by the 100 000.
func note(study int) (*object, error) {
	const class = dict.UIDVLEndoscopicImageStorage
	d, uids := header(class, []string{"ES", "ES", "ES", "US", "XC"}[study%5], study, 1, 0, 0, 0)
	head, err := encode(d)
	if err != nil {
		return nil, err
	}
	return &object{sopClass: class, syntax: dicom.ExplicitVRLittleEndian, study: uids[0], series: uids[1], instance: uids[2],
		head: head, size: int64(len(head))}, nil
}

func encode(d *dicom.DataSet) ([]byte, error) {
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	return d.Encode(ts)
}

var sequenceEnd = []byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0}

// encapsulate begins Pixel Data with an empty basic offset table and one
// fragment of n bytes (PS3.5 A.4); the bytes and sequenceEnd follow.
func encapsulate(head []byte, n int64) []byte {
	head = append(head, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	head = append(head, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
	head = append(head, 0xFE, 0xFF, 0x00, 0xE0)
	return binary.LittleEndian.AppendUint32(head, uint32(n))
}

// part10 is o as a file, for storescu and nginx.
func (o *object) part10() io.Reader {
	meta := dicom.FileMeta{MediaStorageSOPClassUID: o.sopClass, MediaStorageSOPInstanceUID: o.instance, TransferSyntaxUID: o.syntax}
	return io.MultiReader(bytes.NewReader(meta.AppendTo(nil)), o.reader())
}

// picture is a JPEG of stillBytes: a noisy texture, padded to the byte.
func picture() ([]byte, error) {
	img := image.NewYCbCr(image.Rect(0, 0, 1280, 720), image.YCbCrSubsampleRatio422)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Y {
		img.Y[i] = byte(96 + i%1280/16 + random.IntN(24))
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = byte(110+random.IntN(4)), byte(150+random.IntN(4))
	}
	for quality := 95; quality > 10; quality-- {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
			return nil, err
		}
		if b.Len() <= stillBytes {
			return append(b.Bytes(), make([]byte, stillBytes-b.Len())...), nil
		}
	}
	return nil, fmt.Errorf("no JPEG quality gives %d bytes", stillBytes)
}

// noise is n bytes that do not compress and hold no JPEG or start-code meaning.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(seed, 7))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return b
}

// repeated reads block over and over until left bytes were read.
type repeated struct {
	block []byte
	at    int
	left  int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	r.left -= int64(n)
	return n, nil
}

// surname is the name prefix that study's patient is found by.
func surname(study int) string { return strings.ToLower(fmt.Sprintf("SURNAME%06d", study/3)) }
