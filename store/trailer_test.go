package store_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is the record of testdata/record.hex, which docs/formats/trailer.md
// explains byte by byte.
func example(t *testing.T) store.Record {
	t.Helper()
	d := new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.PatientID, "P1")
	scan, err := dicom.ScanDataSet(bytes.NewReader(encode(t, still("1.2.3", "1.2.3.4", "1.2.3.4.5"), explicitLE)), explicitLE, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := scan.Frames()
	if err != nil {
		t.Fatal(err)
	}
	r := store.Record{
		StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.4", SOPInstanceUID: "1.2.3.4.5",
		SOPClassUID: dict.UIDVLEndoscopicImageStorage, TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
		Attributes: d, MetaLength: 324, Size: scan.Size, TrailerLength: 282, BodyOffset: scan.BodyOffset, Frames: frames,
		Received: time.Date(2026, 11, 23, 4, 50, 0, 123456789, time.UTC), Sequence: 1795409400123456,
		CallingAE: "TOWER1", Principal: "ae:TOWER1", Source: store.SourceDIMSE,
	}
	for i := range r.Digest {
		r.Digest[i] = 0xC0 + byte(i)
	}
	return r
}

func TestRecordGolden(t *testing.T) {
	const golden = "testdata/record.hex"
	r := example(t)
	got, err := r.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if hex.Dump(got) != string(want) {
		t.Errorf("the encoding of a record changed:\n%s", hex.Dump(got))
	}
	var back store.Record
	if err := back.UnmarshalBinary(got); err != nil {
		t.Fatal(err)
	}
	again, err := back.AppendBinary(nil)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("read and written again it differs: %v", err)
	}
	if back.Attributes.String(dict.PatientID) != "P1" || !back.Received.Equal(r.Received) || back.Frames.Len() != 1 || back.Digest != r.Digest {
		t.Errorf("read back as %+v", back)
	}
}

// Records had a SHA-256 of the data set before the content digest.
func TestRecordOfOldIsRead(t *testing.T) {
	r := example(t)
	b, err := r.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := append([]byte{0, 8, 0, 0, 0, 32}, r.Digest[:]...)
	old := slices.Concat([]byte{0, 6, 0, 0, 0, 64}, make([]byte, 32), r.Digest[:])
	var back store.Record
	if err := back.UnmarshalBinary(bytes.Replace(b, digest, old, 1)); err != nil || back.Digest != r.Digest {
		t.Errorf("digest %x, %v", back.Digest, err)
	}
	if err := back.UnmarshalBinary(bytes.Replace(b, digest, nil, 1)); err == nil {
		t.Error("a record without a digest is taken")
	}
}

func TestRecordSkipsUnknownSections(t *testing.T) {
	r := example(t)
	b, err := r.AppendBinary([]byte{0x77, 0x77, 0, 0, 0, 3, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, 0x01, 0x00, 0, 0, 0, 0)
	var back store.Record
	if err := back.UnmarshalBinary(b); err != nil || back.SOPInstanceUID != r.SOPInstanceUID {
		t.Errorf("%v, %v", back.SOPInstanceUID, err)
	}
}

func TestRecordRefusesWhatIsCut(t *testing.T) {
	r := example(t)
	whole, err := r.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		var back store.Record
		if err := back.UnmarshalBinary(whole[:n]); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	r := store.Record{StudyInstanceUID: "1", Received: time.Unix(0, 0), Attributes: new(dicom.DataSet)}
	r.Attributes.SetString(dict.PatientName, "A^B")
	b, err := r.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r store.Record
		if err := r.UnmarshalBinary(b); err != nil {
			return
		}
		once, err := r.AppendBinary(nil)
		if err != nil {
			t.Skip() // attributes that were read with tolerance need not be writable
		}
		var again store.Record
		if err := again.UnmarshalBinary(once); err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		twice, err := again.AppendBinary(nil)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("written twice it differs: %v", err)
		}
	})
}

// The plaintext of a blob is what docs/formats/trailer.md says: a Part 10 file,
// then the trailer.
func TestPlaintextIsAPart10File(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.2.3", "1.2.3.4", "1.2.3.4.5"), explicitLE)
	n.mustIngest(sent, store.Stored)
	row, _, err := n.index.Locate(t.Context(), "1.2.3.4.5")
	if err != nil {
		t.Fatal(err)
	}
	plain := n.plaintext(n.instanceBlobs()[0], row.Blob)
	if int64(len(plain)) != row.MetaLength+row.Size+row.TrailerLength {
		t.Errorf("%d bytes of plaintext", len(plain))
	}
	meta, _, err := dicom.ReadFileMeta(bytes.NewReader(plain))
	if err != nil || meta.MediaStorageSOPInstanceUID != "1.2.3.4.5" || meta.TransferSyntaxUID != dicom.ExplicitVRLittleEndian ||
		meta.ImplementationClassUID != dicom.ImplementationClassUID || meta.Findings.Any() {
		t.Errorf("file meta = %+v, %v", meta, err)
	}
	if !bytes.Equal(plain[row.MetaLength:][:row.Size], sent) {
		t.Error("the data set differs")
	}
	footer := plain[len(plain)-32:]
	want := []byte("LUMENT\x00\x00")
	for _, v := range []int64{row.TrailerLength - 32, row.MetaLength, row.Size} {
		want = append(want, 0, 0, 0, 0, 0, 0, byte(v>>8), byte(v))
	}
	if !bytes.Equal(footer, want) {
		t.Errorf("footer = %x, want %x", footer, want)
	}
	var r store.Record
	if err := r.UnmarshalBinary(plain[row.MetaLength+row.Size : len(plain)-32]); err != nil || r.SOPInstanceUID != "1.2.3.4.5" {
		t.Errorf("sections: %v", err)
	}
}
