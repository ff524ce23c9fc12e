package dicom_test

import (
	"bytes"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// header is what a modality writes before pixel data, over and over, to a
// megabyte: elements of a few bytes to a few dozen, a sequence, private ones.
func header(t testing.TB, ts dicom.TransferSyntax) []byte {
	var d, item dicom.DataSet
	d.SetString(dict.ImageType, "DERIVED", "PRIMARY", "MPR")
	d.SetString(dict.SOPClassUID, dict.UIDCTImageStorage)
	d.SetString(dict.SOPInstanceUID, "1.2.826.0.1.3680043.8.498.11223344556677889900112233445566778")
	d.SetString(dict.StudyDate, "20240229")
	d.SetString(dict.StudyTime, "101112.131415")
	d.SetString(dict.AccessionNumber, "A123456")
	d.SetString(dict.Modality, "CT")
	d.SetString(dict.Manufacturer, "Maker of Machines")
	d.SetString(dict.InstitutionName, "Hospital of the Town")
	d.SetString(dict.StudyDescription, "Thorax and abdomen with contrast medium")
	item.SetString(dict.ReferencedSOPClassUID, dict.UIDCTImageStorage)
	item.SetString(dict.ReferencedSOPInstanceUID, "1.2.826.0.1.3680043.8.498.99887766554433221100998877665544332")
	d.SetItems(dict.ReferencedImageSequence, &item)
	d.SetString(dict.PatientName, "Family^Given")
	d.SetString(dict.PatientID, "0123456789")
	d.SetString(dict.StudyInstanceUID, "1.2.826.0.1.3680043.8.498.55443322110099887766554433221100998")
	d.SetString(dict.SeriesInstanceUID, "1.2.826.0.1.3680043.8.498.66554433221100998877665544332211009")
	d.SetString(dict.ImagePositionPatient, "-158.135803", "-179.035797", "-75.699997")
	d.SetString(dict.ImageOrientationPatient, "1.000000", "0.000000", "0.000000", "0.000000", "1.000000", "0.000000")
	d.SetString(dict.PixelSpacing, "0.661468", "0.661468")
	d.SetInt(dict.Rows, 512)
	d.SetInt(dict.Columns, 512)
	d.SetInt(dict.BitsAllocated, 16)
	d.SetBytes(dict.NewTag(0x0029, 0x0010), dict.LO, []byte("MAKER HEADER"))
	d.SetBytes(dict.NewTag(0x0029, 0x1010), dict.OB, make([]byte, 256))
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(b, 1<<20/len(b))
}

func BenchmarkReaderHeader(b *testing.B) {
	for _, ts := range uncompressed(b)[:3] {
		b.Run(ts.Name, func(b *testing.B) {
			data := header(b, ts)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			elements := 0
			for b.Loop() {
				r := dicom.NewReader(bytes.NewReader(data), ts, dicom.Limits{})
				for elements = 0; ; elements++ {
					if _, err := r.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(elements), "ns/element")
		})
	}
}

func BenchmarkScan(b *testing.B) {
	ts := syntax(b, dicom.ExplicitVRLittleEndian)
	d := sample()
	d.SetBytes(dict.PixelData, dict.OW, make([]byte, 8<<20))
	data, err := d.Encode(ts)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dicom.ScanDataSet(bytes.NewReader(data), ts, dicom.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
