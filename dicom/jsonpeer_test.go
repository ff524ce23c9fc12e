package dicom_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// pydicomJSON reads lines of "JSON file, DICOM file" and compares the two as
// pydicom reads them: attributes, number of items, and text.
const pydicomJSON = `
import json, sys, warnings, pydicom
from pydicom.dataset import Dataset
warnings.simplefilter("ignore")
def same(a, b, path):
    for t in a.keys():
        if t.element == 0 or t.is_private or t == 0x00080005: continue
        x = a[t]
        if t not in b: return path + str(t) + " is missing"
        y = b[t]
        if x.VR == "SQ":
            if len(x.value) != len(y.value): return path + str(t) + " items"
            for i in range(len(x.value)):
                r = same(x.value[i], y.value[i], path + str(t))
                if r: return r
        elif x.VR == "PN" and str(x.value).rstrip("^= ") != str(y.value).rstrip("^= "):
            return path + str(t) + " name"
        elif x.VR in ("LO", "SH", "UI", "CS", "US", "UL", "SS", "AT", "OB", "OW") and x.value != y.value and str(x.value).strip() != str(y.value).strip():
            if not x.value and not y.value: continue
            return path + str(t) + " value"
    return ""
for line in sys.stdin:
    j, d = line.rstrip("\n").split("\t")
    r = same(pydicom.dcmread(d, force=True), Dataset.from_json(open(j).read()), "")
    if r: print(d, r)
`

func TestPydicomReadsOurJSON(t *testing.T) {
	python := tool(t, "/usr/bin/python3")
	dir := t.TempDir()
	var pairs strings.Builder
	n := 0
	for _, e := range shareddata.Valid(t) {
		m, ts, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if ts.Encapsulated || ts.BigEndian || len(body) > 64<<10 || m.MediaStorageSOPClassUID == dict.UIDMediaStorageDirectoryStorage ||
			strings.HasSuffix(e.Name, "chrGB2312.dcm") { // of which pydicom reads the text wrong
			continue
		}
		d, err := dicom.ParseDataSet(body, ts)
		if err != nil {
			t.Fatal(err)
		}
		j, err := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, strings.ReplaceAll(e.Name, "/", "_")+".json")
		if err := os.WriteFile(path, j, 0o600); err != nil {
			t.Fatal(err)
		}
		pairs.WriteString(path + "\t" + e.Path + "\n")
		n++
	}
	cmd := exec.Command(python, "-c", pydicomJSON)
	cmd.Stdin = strings.NewReader(pairs.String())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 || n < 20 {
		t.Errorf("%d files; pydicom: %v\n%s", n, err, out)
	}
}

func TestWeReadPydicomsJSON(t *testing.T) {
	files, _ := filepath.Glob("/usr/lib/python3/dist-packages/pydicom/data/test_files/test*.json")
	if len(files) == 0 {
		tool(t, "no python3-pydicom with its test files")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sets := []json.RawMessage{b}
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
			if err := json.Unmarshal(b, &sets); err != nil {
				t.Fatal(err)
			}
		}
		for _, set := range sets {
			d, err := dicom.ParseJSON(set)
			if err != nil || d.Len() == 0 {
				t.Errorf("%s: %d elements, %v", filepath.Base(name), d.Len(), err)
			}
		}
	}
}
