package store_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/internal/shareddata"
	"lumen/store"
)

// Invariant 4, on real files: every one that this node is meant to take comes
// back byte for byte; of the malformed ones each is refused or kept whole.
func TestRealFiles(t *testing.T) {
	n := newNode(t)
	stored, refused := 0, 0
	for _, file := range shareddata.Files(t) {
		meta, data, err := dicom.ReadFileMeta(bytes.NewReader(file.Bytes(t)))
		if err != nil {
			if !file.Malformed {
				t.Errorf("%s: file meta: %v", file.Name, err)
			}
			continue
		}
		ts, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
		if !ok {
			if !file.Malformed {
				t.Errorf("%s: transfer syntax %s", file.Name, meta.TransferSyntaxUID)
			}
			continue
		}
		sent, err := io.ReadAll(data)
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := n.ingest(ts, sent)
		if err != nil {
			refused++
			if !errors.Is(err, store.ErrUnreadable) && !errors.Is(err, store.ErrMismatch) {
				t.Errorf("%s: %v", file.Name, err)
			}
			if !file.Malformed && !unstorable[file.Name] {
				t.Errorf("%s: %v", file.Name, err)
			}
			continue
		}
		stored++
		if receipt.Outcome == store.Stored { // else another file has the same UID
			n.same(file.Name, receipt, sent)
		}
	}
	t.Logf("%d stored, %d refused", stored, refused)
	if stored < 200 {
		t.Errorf("only %d files were stored", stored)
	}
	n.sound()
}

// unstorable are whole files of the collection that lack a UID: fragments of
// data sets, and a DICOMDIR.
var unstorable = map[string]bool{
	"go-dicom__testdicomdir.dcm":             true,
	"pydicom-data__HTJ2KLossless_08_RGB.dcm": true,
	"pydicom-data__HTJ2K_08_RGB.dcm":         true,
	"pydicom-data__JLSL_RGB_ILV0.dcm":        true,
	"pydicom__JPEGLSNearLossless_08.dcm":     true,
	"pydicom__SC_rgb_jls_lossy_line.dcm":     true,
	"pydicom__chrSQEncoding.dcm":             true,
	"pydicom__chrSQEncoding1.dcm":            true,
	"pydicom__priv_SQ.dcm":                   true,
}

// same checks that an instance comes back as it was sent, in header and body,
// and that its frames can be read.
func (n *node) same(name string, receipt store.Receipt, sent []byte) {
	t := n.t
	t.Helper()
	r := n.open(store.Selection{StudyInstanceUID: receipt.StudyInstanceUID, SOPInstanceUIDs: []string{receipt.SOPInstanceUID}})
	defer r.Close(nil)
	i := r.Instances()[0]
	data, err := i.DataSet(t.Context())
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if !bytes.Equal(readAll(t, data), sent) {
		t.Errorf("%s: the bytes differ", name)
	}
	frames, err := i.NumberOfFrames(t.Context())
	if err != nil {
		t.Errorf("%s: frames: %v", name, err)
		return
	}
	for f := range min(frames, 20) {
		frame, size, err := i.Frame(t.Context(), f+1)
		if err != nil {
			t.Errorf("%s: frame %d: %v", name, f+1, err)
			return
		}
		got, err := io.ReadAll(frame)
		if err != nil || int64(len(got)) != size {
			t.Errorf("%s: frame %d has %d bytes, want %d: %v", name, f+1, len(got), size, err)
		}
		frame.Close()
	}
}
