package dicom_test

import (
	"encoding/hex"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// TestDigestIsFrozen holds the digest that archives keep. It is the SHA-256 of
//
//	02 40110800                                     sequence: tag as a number
//	03                                              item
//	0a 55110800 312e32 0300000000000000             text: tag, value without padding, its length
//	04 05                                           ends of item and sequence
//	0a 10001000 446f655e4a616e65 0800000000000000
//	01 10002800 0200000000000000 0002               element: tag, length, value
//	01 1000e07f 0400000000000000 01020304
func TestDigestIsFrozen(t *testing.T) {
	var d, item dicom.DataSet
	d.SetString(dict.PatientName, "Doe^Jane")
	item.SetString(dict.ReferencedSOPInstanceUID, "1.2")
	d.SetItems(dict.ReferencedImageSequence, &item)
	d.SetInt(dict.Rows, 512)
	d.SetBytes(dict.PixelData, dict.OW, []byte{1, 2, 3, 4})
	s, _ := scan(t, &d, syntax(t, dicom.ExplicitVRLittleEndian))
	const want = "7c697ac7472e919cdb40ff8e5944fdbc5b8b2c220dd3a5540aec8da55b4e21ff"
	if got := hex.EncodeToString(s.Digest[:]); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestFrameTableIsFrozen holds the binary form that archives keep.
func TestFrameTableIsFrozen(t *testing.T) {
	for _, c := range []struct{ name, table string }{
		{"none", "00"},
		{"native: at 1000, 3 frames of 9 bits", "01" + "e807" + "1b" + "09" + "03"},
		{"2 frames of 3 fragments", "02" + "03" + "6404" + "0806" + "0808" + "02" + "0002"},
	} {
		b, err := hex.DecodeString(c.table)
		if err != nil {
			t.Fatal(err)
		}
		var table dicom.FrameTable
		if err := table.UnmarshalBinary(b); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if again, _ := table.MarshalBinary(); hex.EncodeToString(again) != c.table {
			t.Errorf("%s: %x, want %s", c.name, again, c.table)
		}
	}
}
