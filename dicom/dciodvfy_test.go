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

// TestDciodvfyFindsNothingNew parses and encodes files and compares what
// dciodvfy has to say before and after.
func TestDciodvfyFindsNothingNew(t *testing.T) {
	dciodvfy := tool(t, "dciodvfy")
	explicit := syntax(t, dicom.ExplicitVRLittleEndian)
	for _, e := range shareddata.Valid(t) {
		m, ts, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if ts.Encapsulated || ts.Deflated || ts.ImplicitVR || len(body) > 512<<10 || m.MediaStorageSOPClassUID == dict.UIDMediaStorageDirectoryStorage {
			continue // only what we can encode; a VR that is new in explicit VR is news
		}
		d, err := dicom.ParseDataSet(body, ts)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Encode(explicit)
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		m.TransferSyntaxUID = explicit.UID
		path := filepath.Join(t.TempDir(), "ours.dcm")
		if err := os.WriteFile(path, append(m.AppendTo(nil), b...), 0o600); err != nil {
			t.Fatal(err)
		}
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
