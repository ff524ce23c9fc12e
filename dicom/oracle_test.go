package dicom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// tool finds a program of a peer; without it the test is skipped, or fails
// when CI=true.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// refusedByDCMTK are files that dcm2json does not convert, and why.
var refusedByDCMTK = map[string]string{
	"fo-dicom__GH133.dcm":                 "fragments in an icon image",
	"orthanc-tests__Issue168.dcm":         "text that is not ASCII without a character set",
	"pydicom__chrSQEncoding.dcm":          "converts items as the data set, see TestTextAgreesWithPydicom",
	"pydicom__chrSQEncoding1.dcm":         "no conversion from ISO 2022 IR 13",
	"pydicom__chrJapMulti.dcm":            "no conversion from ISO 2022 IR 87",
	"pydicom__chrJapMultiExplicitIR6.dcm": "no conversion from ISO 2022 IR 87",
	"pydicom__chrH31.dcm":                 "no conversion from ISO 2022 IR 87",
	"pydicom__chrH32.dcm":                 "no conversion from ISO 2022 IR 87",
}

// TestJSONAgreesWithDCMTK compares with dcm2json 3.6.7. Where they may differ:
//
//   - private attributes in implicit VR: DCMTK has a dictionary of some vendors'
//     and so a VR; Lumen has UN;
//   - standard attributes in explicit VR that came as UN: they have the VR of
//     the dictionary (PS3.5 section 6.2.2), in dcm2json they stay UN;
//   - Specific Character Set and text in items: dcm2json converts by that of the
//     data set only, and leaves ISO_IR 6 named;
//   - FL: dcm2json prints nine digits, Lumen the shortest number that is the same;
//   - DS of more than 16 characters: dcm2json writes a string;
//   - DS like "1.": dcm2json copies it, which is no JSON.
func TestJSONAgreesWithDCMTK(t *testing.T) {
	dcm2json := tool(t, "dcm2json")
	for _, e := range shareddata.Valid(t) {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			_, ts, body, err := open(e.Bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			path := e.Path
			if ts.Encapsulated || len(body) > 64<<10 && !ts.Deflated { // dcm2json refuses fragments, and takes long
				path, body = headerFile(t, body, ts)
			}
			theirs, err := exec.Command(dcm2json, "-q", "-ee", "-fc", path).Output()
			if refusedByDCMTK[e.Name] != "" {
				return
			}
			if err != nil {
				t.Fatalf("dcm2json: %v", err)
			}
			d, err := dicom.ParseDataSet(body, ts)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			a, err := decodeJSON(ours)
			if err != nil {
				t.Fatalf("ours: %v", err)
			}
			b, err := decodeJSON(bareDecimals.ReplaceAll(theirs, []byte("$1.0$2")))
			if err != nil {
				t.Fatalf("dcm2json's: %v", err)
			}
			var diff []string
			compareJSON("", a, b, &diff)
			for _, d := range diff[:min(len(diff), 8)] {
				t.Error(d)
			}
		})
	}
}

// headerFile writes a file of all that is before pixel data, as it is.
func headerFile(t *testing.T, body []byte, ts dicom.TransferSyntax) (string, []byte) {
	t.Helper()
	s, err := dicom.ScanDataSet(bytes.NewReader(body), ts, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	body = body[:s.BodyOffset]
	path := filepath.Join(t.TempDir(), "header.dcm")
	if ts.Encapsulated {
		ts.UID = dicom.ExplicitVRLittleEndian
	}
	file := append(dicom.FileMeta{TransferSyntaxUID: ts.UID}.AppendTo(nil), body...)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, body
}

var bareDecimals = regexp.MustCompile(`([0-9])\.([],])`)

func decodeJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// compareJSON lists where two values differ; numbers are compared as numbers.
func compareJSON(path string, a, b any, diff *[]string) {
	if strings.HasSuffix(path, "/00080005/Value") {
		return
	}
	report := func() {
		*diff = append(*diff, fmt.Sprintf("%s: %.120v, dcm2json has %.120v", path, a, b))
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			report()
			return
		}
		if len(path) >= 9 && x["vr"] == "UN" && y["vr"] != "UN" && strings.ContainsRune("13579BDF", rune(path[len(path)-5])) {
			return // a vendor's attribute that DCMTK knows
		}
		if y["vr"] == "UN" && x["vr"] != "UN" && len(path) >= 8 {
			tag, err := strconv.ParseUint(path[len(path)-8:], 16, 32)
			if vr, or := dict.VRs(dicom.Tag(tag)); err == nil && or == 0 && vr.String() == x["vr"] {
				return // a standard attribute that came as UN
			}
		}
		keys := map[string]bool{}
		for k := range x {
			keys[k] = true
		}
		for k := range y {
			keys[k] = true
		}
		sorted := make([]string, 0, len(keys))
		for k := range keys {
			sorted = append(sorted, k)
		}
		sort.Strings(sorted)
		for _, k := range sorted {
			v, inA := x[k]
			w, inB := y[k]
			if !inA || !inB {
				*diff = append(*diff, fmt.Sprintf("%s/%s: here %v %.100v, in dcm2json %v %.100v", path, k, inA, v, inB, w))
				continue
			}
			compareJSON(path+"/"+k, v, w, diff)
		}
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			report()
			return
		}
		for i := range x {
			compareJSON(path+"["+strconv.Itoa(i)+"]", x[i], y[i], diff)
		}
	case json.Number:
		if !sameFloat(string(x), fmt.Sprint(b)) {
			report()
		}
	default:
		if a != b {
			report()
		}
	}
}

func sameFloat(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && (x == y || float32(x) == float32(y))
}
