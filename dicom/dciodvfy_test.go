package dicom_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// TestDciodvfyFindsNothingNew writes every valid file again and compares what
// dciodvfy has to say before and after: with our File Meta and the data set parsed
// and encoded, those in explicit VR of either byte order as Explicit VR Little
// Endian. Pixel data in fragments is written as it is.
func TestDciodvfyFindsNothingNew(t *testing.T) {
	dciodvfy := tool(t, "dciodvfy")
	explicit := syntax(t, dicom.ExplicitVRLittleEndian)
	written := 0
	for _, e := range shareddata.Valid(t) {
		m, ts, b, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.MediaStorageSOPClassUID == dict.UIDMediaStorageDirectoryStorage || ts.Deflated {
			continue // offsets in it are those of the file; dciodvfy does not inflate
		}
		if !ts.Encapsulated {
			d, err := dicom.ParseDataSet(b, ts)
			if err != nil {
				t.Fatal(err)
			}
			if !ts.ImplicitVR { // a VR that is new in explicit VR would be news
				ts = explicit
			}
			m.MediaStorageSOPClassUID, m.MediaStorageSOPInstanceUID = d.String(dict.SOPClassUID), d.String(dict.SOPInstanceUID)
			if b, err = d.Encode(ts); err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
		}
		m.TransferSyntaxUID = ts.UID
		path := filepath.Join(t.TempDir(), "ours.dcm")
		if err := os.WriteFile(path, append(m.AppendTo(nil), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		written++
		before := map[string]bool{}
		for _, line := range verify(dciodvfy, e.Path) {
			before[line] = true
		}
		for _, line := range verify(dciodvfy, path) {
			if !before[line] {
				t.Errorf("%s: %s", e.Name, line)
			}
		}
	}
	if written < 240 {
		t.Errorf("only %d files were written", written)
	}
}

// verify returns what dciodvfy reports, without offsets in the file; its exit
// code says only that there is something.
func verify(dciodvfy, path string) []string {
	out, _ := exec.Command(dciodvfy, path).CombinedOutput()
	var lines []string
	for line := range bytes.Lines(out) {
		text := strings.TrimSpace(string(line))
		if i := strings.Index(text, "- at offset"); i >= 0 {
			text = text[:i]
		}
		lines = append(lines, text)
	}
	return lines
}
