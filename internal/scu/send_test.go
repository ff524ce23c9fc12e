package scu_test

import (
	"os"
	"path/filepath"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/scu"
)

// What leaves is told while it does, not only at the end of each file.
func TestSendTellsItsProgress(t *testing.T) {
	p := (&archive{}).serve(t)
	d := new(dicom.DataSet)
	d.SetString(dict.SOPClassUID, dict.UIDCTImageStorage)
	d.SetString(dict.SOPInstanceUID, study+".1")
	d.SetBytes(dict.PixelData, dict.OW, make([]byte, 1<<20))
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	meta := dicom.FileMeta{MediaStorageSOPClassUID: dict.UIDCTImageStorage, MediaStorageSOPInstanceUID: study + ".1", TransferSyntaxUID: ts.UID}
	name := filepath.Join(t.TempDir(), "big.dcm")
	if err := os.WriteFile(name, append(meta.AppendTo(nil), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	calls, moved, files := 0, 0, 0
	err = scu.Send(t.Context(), p, []string{name}, func(r scu.Result) {
		if files++; r.Err != nil || r.Bytes != int64(len(b)) || moved != len(b) {
			t.Errorf("%+v after %d bytes", r, moved)
		}
	}, func(n int) { calls, moved = calls+1, moved+n })
	if err != nil || files != 1 || calls < 4 {
		t.Errorf("%d files, %d steps, %v", files, calls, err)
	}
}
