package store_test

import (
	"errors"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

func TestADamagedBlobIsNotServed(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.SetBytes(dict.PixelData, dict.OW, make([]byte, 200_000))
	}), explicitLE), store.Stored)
	name := n.instanceBlobs()[0]
	whole, err := n.blobs.Open(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b := readAll(t, whole)
	b[100_000] ^= 1
	if err := n.blobs.Put(t.Context(), name, int64(len(b)), func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		t.Fatal(err)
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	data, err := r.Instances()[0].DataSet(t.Context())
	if err == nil {
		var got []byte
		got, err = io.ReadAll(data)
		data.Close()
		if len(got) >= 100_000 {
			t.Errorf("%d bytes were served", len(got))
		}
	}
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("error = %v", err)
	}
	report, err := n.archive.Check(t.Context(), store.CheckOptions{})
	if err != nil || report.Count != 1 || report.Problems[0].Object != name {
		t.Errorf("check = %+v, %v", report, err)
	}
	if err := n.blobs.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if report, err := n.archive.Check(t.Context(), store.CheckOptions{Quick: true}); err != nil || report.Count != 1 {
		t.Errorf("check without the blob = %+v, %v", report, err)
	}
}

func TestCheckMissesABlobThatIsKeptAside(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE), store.Quarantined)
	if err := n.blobs.Delete(t.Context(), n.events(store.EventQuarantined)[0].Blob); err != nil {
		t.Fatal(err)
	}
	if report, err := n.archive.Check(t.Context(), store.CheckOptions{}); err != nil || report.Count != 1 {
		t.Errorf("check = %+v, %v", report, err)
	}
}
