package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lumen/internal/peertest"
	"lumen/internal/shareddata"
)

// refusals are files of the collection that a peer cannot handle, by the reason.
type refusals map[string]string

// Files that DCMTK 3.6.7 and Orthanc 1.10.1 do not take from anybody.
var (
	storescpRefuses = refusals{
		"dcm4che__will-jxl.dcm":                                      "JPEG XL is newer than storescp",
		"go-dicom__testdicomdir.dcm":                                 "no storage class",
		"pydicom-data__liver_deflate.dcm":                            "deflated frames are newer than storescp",
		"dicomParser__CT0012.fragmented_no_bot_jpeg_lossless.57.dcm": "storescp does not know 1.2.840.10008.1.2.4.57",
		"orthanc-tests__1.2.840.10008.1.2.4.57.dcm":                  "storescp does not know 1.2.840.10008.1.2.4.57",
		"pydicom-data__HTJ2KLossless_08_RGB.dcm":                     "HTJ2K is newer than storescp",
		"pydicom-data__HTJ2K_08_RGB.dcm":                             "HTJ2K is newer than storescp",
	}
	orthancRefusesFiles = refusals{
		"dcm4che__will-jxl.dcm":                  "JPEG XL is newer than Orthanc",
		"pydicom-data__liver_deflate.dcm":        "deflated frames are newer than Orthanc",
		"pydicom-data__HTJ2KLossless_08_RGB.dcm": "HTJ2K is newer than Orthanc",
		"pydicom-data__HTJ2K_08_RGB.dcm":         "HTJ2K is newer than Orthanc",
		"go-dicom__testdicomdir.dcm":             "it lacks UIDs",
		"pydicom__JPEGLSNearLossless_08.dcm":     "it lacks UIDs",
		"pydicom__SC_rgb_jls_lossy_line.dcm":     "it lacks UIDs",
		"pydicom__chrSQEncoding.dcm":             "it lacks UIDs",
		"pydicom__chrSQEncoding1.dcm":            "it lacks UIDs",
		"pydicom__priv_SQ.dcm":                   "it lacks UIDs",
		"pydicom__rtdose_rle.dcm":                "its SOP Class UID has the VR UN",
	}
)

// check expects that what was refused, and why, is what is in the list.
func (r refusals) check(t *testing.T, refused map[string]string) {
	t.Helper()
	for name, why := range refused {
		if r[name] == "" {
			t.Errorf("%s is refused: %s", name, why)
		}
	}
	for name := range r {
		if refused[name] == "" {
			t.Errorf("%s is not refused any more: take it off the list", name)
		}
	}
}

// part10s are the files of the collection that have File Meta Information.
func part10s(t *testing.T) (files []shareddata.Entry) {
	t.Helper()
	for _, e := range shareddata.Valid(t) {
		if _, err := parsePart10(e.Bytes(t)); err == nil {
			files = append(files, e)
		}
	}
	return files
}

// What storescp writes is what `lumen send` has read.
func weSendTheCollectionToDCMTK(t *testing.T, s *scene) {
	passed, refused := 0, map[string]string{}
	var pairs []string
	for _, e := range part10s(t) {
		out, code := run(t, lumenBinary, "send", "SINK@127.0.0.1:"+s.sink.port, e.Path)
		got := s.sink.take(t)
		if code != 0 || len(got) != 1 {
			refused[e.Name] = tail(out, 200)
			continue
		}
		passed++
		want, err := parsePart10(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range got {
			p, err := parsePart10(b)
			if err != nil || p.TransferSyntax != want.TransferSyntax || !bytes.Equal(even(p.DataSet), even(want.DataSet)) {
				t.Errorf("%s arrives as something else: %v", e.Name, err)
			}
			pairs = append(pairs, e.Path, save(t, t.TempDir(), b))
		}
	}
	readsTheSame(t, pairs)
	storescpRefuses.check(t, refused)
	t.Logf("%d files", passed)
}

// even is a data set with the padding that a deflated one is sent with.
func even(b []byte) []byte {
	if len(b)%2 == 1 {
		return append(bytes.Clone(b), 0)
	}
	return b
}

// readsTheSame has pydicom compare pairs of files. What it does not read in the
// original is not held against us.
func readsTheSame(t *testing.T, pairs []string) {
	t.Helper()
	cmd := peertest.Command(t, python, "testdata/same.py", "lenient")
	cmd.Stdin = strings.NewReader(strings.Join(pairs, "\n"))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Equal(out, fmt.Appendf(nil, "%d pairs are the same\n", len(pairs)/2)) {
		t.Errorf("pydicom: %v %s", err, tail(string(out), 2000))
	}
}

// Orthanc sends each file to storescp and to the node; the node gives back the
// bytes that storescp received.
func orthancSendsTheCollection(t *testing.T, s *scene) {
	type entry struct{ name, id, study, series string }
	instances := map[string]entry{} // by UID; the node has room for one under each
	var ids []string
	refused := map[string]string{}
	for _, e := range part10s(t) {
		id := s.orthanc.offer(t, e, refused)
		if id == "" {
			continue
		}
		var tags struct{ StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID string }
		s.orthanc.get(t, "/instances/"+id+"/simplified-tags", &tags)
		if instances[tags.SOPInstanceUID].id == "" {
			ids = append(ids, id)
		}
		instances[tags.SOPInstanceUID] = entry{e.Name, id, tags.StudyInstanceUID, tags.SeriesInstanceUID}
	}
	job, err := json.Marshal(map[string]any{"Resources": ids, "Synchronous": true, "Permissive": true})
	if err != nil {
		t.Fatal(err)
	}
	s.orthanc.post(t, "/modalities/SINK/store", job, nil)
	s.orthanc.post(t, "/modalities/LUMEN/store", job, nil)
	passed := map[string]bool{}
	for _, b := range s.sink.take(t) {
		oracle, err := parsePart10(b)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := instances[oracle.SOPInstance]
		if !ok {
			continue // Orthanc cannot read its UID: it is checked below
		}
		parts := s.lumen.retrieve(s.lumen.url("/dicom-web/studies/%s/series/%s/instances/%s", e.study, e.series, oracle.SOPInstance))
		if len(parts) != 1 {
			t.Errorf("%s: the node gives back %d instances", e.name, len(parts))
			continue
		}
		// Where storescp does not know the syntax, Orthanc sends it another.
		if p, err := parsePart10(parts[0]); err != nil || p.TransferSyntax == oracle.TransferSyntax && !bytes.Equal(p.DataSet, oracle.DataSet) {
			t.Errorf("%s: the node gives back something else than storescp received: %v", e.name, err)
		}
		passed[oracle.SOPInstance] = true
	}
	for uid, e := range instances {
		if !passed[uid] {
			refused[e.name] = "Orthanc does not send it"
		}
	}
	s.orthanc.forget(t, ids)
	orthancRefusesFiles.check(t, refused)
	t.Logf("%d files", len(passed))
}

// offer uploads a file of the collection to Orthanc; "" when it refuses it.
func (o *orthanc) offer(t *testing.T, e shareddata.Entry, refused map[string]string) (id string) {
	t.Helper()
	status, answer := o.try(t, http.MethodPost, "/instances", e.Bytes(t))
	if status != http.StatusOK {
		refused[e.Name] = tail(string(answer), 300)
		return ""
	}
	var uploaded struct{ ID string }
	o.decode(t, "upload", status, answer, &uploaded)
	return uploaded.ID
}

// What `lumen send` sends, Orthanc reads like the same file that is uploaded.
func weSendTheCollectionToOrthanc(t *testing.T, s *scene) {
	passed, refused := 0, map[string]string{}
	for _, e := range part10s(t) {
		id := s.orthanc.offer(t, e, refused)
		if id == "" {
			continue
		}
		want := s.orthanc.read(t, id)
		s.orthanc.remove(t, id)
		if out, code := run(t, lumenBinary, "send", "ORTHANC@"+s.orthanc.dicom, e.Path); code != 0 {
			refused[e.Name] = tail(out, 200)
			continue
		}
		for what, got := range s.orthanc.read(t, id) {
			if got != want[what] {
				t.Errorf("%s: Orthanc reads other %s in what was sent: %s, not %s", e.Name, what, tail(got, 3000), tail(want[what], 3000))
			}
		}
		passed++
		s.orthanc.remove(t, id)
	}
	orthancRefusesFiles.check(t, refused)
	t.Logf("%d files", passed)
}
