package wado_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
	"lumen/store"
	"lumen/wado"
)

// file makes a Part 10 file of a data set in Explicit VR Little Endian.
func file(t *testing.T, d *dicom.DataSet) []byte {
	t.Helper()
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	meta := dicom.FileMeta{MediaStorageSOPClassUID: d.String(dict.SOPClassUID), MediaStorageSOPInstanceUID: d.String(dict.SOPInstanceUID), TransferSyntaxUID: ts.UID}
	return append(meta.AppendTo(nil), data...)
}

const multipartDICOM = `multipart/related; type="application/dicom"; boundary=XX`

// bodyOf wraps files in the boundary XX.
func bodyOf(files ...[]byte) []byte {
	var b bytes.Buffer
	for _, f := range files {
		b.WriteString("--XX\r\nContent-Type: application/dicom\r\n\r\n")
		b.Write(f)
		b.WriteString("\r\n")
	}
	b.WriteString("--XX--\r\n")
	return b.Bytes()
}

// post stores files and returns the answer's data set.
func (f *fixture) post(path string, body []byte) (int, jsonObject) {
	f.t.Helper()
	a := f.do(http.MethodPost, path, bytes.NewReader(body), "Content-Type", multipartDICOM)
	var o jsonObject
	if a.header.Get("Content-Type") == "application/dicom+json" {
		if err := json.Unmarshal(a.body, &o); err != nil {
			f.t.Fatalf("%s: %v", a.body, err)
		}
	}
	return a.status, o
}

const (
	referencedSOPSequence = "00081199"
	failedSOPSequence     = "00081198"
	otherFailures         = "0008119A"
	referencedInstance    = "00081155"
	failureReason         = "00081197"
)

// items are the values of one attribute in the items of a sequence.
func items(t *testing.T, o jsonObject, sequence, tag string) (values []string) {
	t.Helper()
	for _, raw := range o[sequence].Value {
		var item jsonObject
		if err := json.Unmarshal(raw, &item); err != nil {
			t.Fatal(err)
		}
		for _, v := range item[tag].Value {
			values = append(values, strings.Trim(string(v), `"`))
		}
	}
	return values
}

func TestStoredInstancesComeBack(t *testing.T) {
	f := newFixture(t)
	one, two := file(t, still("1.1", "1.1.1", "1.1.1.1")), file(t, still("1.1", "1.1.2", "1.1.2.1"))
	status, o := f.post("/studies", bodyOf(one, two))
	if status != 200 || len(o[failedSOPSequence].Value) > 0 {
		t.Fatalf("status %d, %v", status, o)
	}
	if got := fmt.Sprint(items(t, o, referencedSOPSequence, referencedInstance)); got != "[1.1.1.1 1.1.2.1]" {
		t.Errorf("referenced %s", got)
	}
	if got := fmt.Sprint(items(t, o, referencedSOPSequence, "00081190")); got != fmt.Sprintf("[%s/studies/1.1/series/1.1.1/instances/1.1.1.1 %s/studies/1.1/series/1.1.2/instances/1.1.2.1]", f.base, f.base) {
		t.Errorf("retrieve URLs %s", got)
	}
	if got := string(o["00081190"].Value[0]); got != `"`+f.base+`/studies/1.1"` {
		t.Errorf("study URL %s", got)
	}
	a := f.get("/studies/1.1/series/1.1.1/instances/1.1.1.1", "Accept", "application/dicom")
	if !bytes.HasSuffix(a.body, one[len(one)-100:]) {
		t.Errorf("status %d, %d bytes", a.status, len(a.body))
	}
	if status, _ := f.post("/studies", bodyOf(one)); status != 200 {
		t.Errorf("a second time: status %d", status)
	}
	if status, _ := f.post("/studies/1.1", bodyOf(one)); status != 200 {
		t.Errorf("into its study: status %d", status)
	}
}

func TestEveryFileCanBeStored(t *testing.T) {
	f, refused := newFixture(t), 0
	var files [][]byte
	for _, e := range shareddata.Valid(t) {
		b, err := os.ReadFile(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	status, o := f.post("/studies", bodyOf(files...))
	referenced := items(t, o, referencedSOPSequence, referencedInstance)
	refused = len(o[failedSOPSequence].Value) + len(o[otherFailures].Value)
	if status != http.StatusAccepted || len(referenced)+refused != len(files) || refused > 15 {
		t.Errorf("status %d: %d of %d stored, %d refused", status, len(referenced), len(files), refused)
	}
	reasons := append(items(t, o, failedSOPSequence, failureReason), items(t, o, otherFailures, failureReason)...)
	for _, r := range reasons {
		if r != "49152" && r != "43264" { // C000, A900
			t.Errorf("failure reason %s", r)
		}
	}
}

// The answer always has a Retrieve URL (PS3.18 table I.1-1), without a value
// where there is no one study to name.
func TestRetrieveURLOfAStore(t *testing.T) {
	one, other := file(t, still("1.1", "1.1.1", "1.1.1.1")), file(t, still("2.1", "2.1.1", "2.1.1.1"))
	f := newFixture(t)
	for _, c := range []struct {
		path, want string
		body       []byte
	}{
		{"/studies/1.1", "", bodyOf(other)},
		{"/studies", "", bodyOf([]byte("no DICOM"))},
		{"/studies", "", bodyOf(one, other)},
		{"/studies", `"` + f.base + `/studies/2.1"`, bodyOf(other, []byte("no DICOM"))},
	} {
		status, o := f.post(c.path, c.body)
		url, there := o["00081190"]
		got := ""
		if len(url.Value) > 0 {
			got = string(url.Value[0])
		}
		if !there || got != c.want {
			t.Errorf("status %d: Retrieve URL %q, want %q", status, got, c.want)
		}
	}
}

func TestMalformedFilesAreRefusedOneByOne(t *testing.T) {
	f := newFixture(t)
	var files [][]byte
	for _, e := range shareddata.Files(t) {
		if e.Malformed {
			files = append(files, e.Bytes(t))
		}
	}
	good := file(t, still("1.1", "1.1.1", "1.1.1.1"))
	status, o := f.post("/studies", bodyOf(append(files, good)...))
	n := len(o[referencedSOPSequence].Value) + len(o[failedSOPSequence].Value) + len(o[otherFailures].Value)
	if status != http.StatusAccepted || n != len(files)+1 {
		t.Errorf("status %d, %d parts of %d accounted for", status, n, len(files)+1)
	}
	if a := f.get("/studies/1.1"); a.status != 200 {
		t.Errorf("the good one: status %d", a.status)
	}
}

func TestStatusOfAStore(t *testing.T) {
	good := file(t, still("1.1", "1.1.1", "1.1.1.1"))
	other := file(t, still("2.1", "2.1.1", "2.1.1.1"))
	unknownSyntax := bytes.Replace(good, []byte(dicom.ExplicitVRLittleEndian+"\x00"), []byte("1.2.840.10008.1.2.77"), 1)
	otherMeta := bytes.Replace(good, []byte("1.1.1.1"), []byte("1.1.1.9"), 1) // announces nothing
	jpeg := bytes.Replace(bodyOf([]byte("a picture")), []byte("application/dicom"), []byte("image/jpeg"), 1)
	closing := []byte("--XX--\r\n")
	cut := func(body []byte) []byte { return bytes.TrimSuffix(body, closing) }
	for _, c := range []struct {
		name, path string
		body       []byte
		header     []string
		status     int
		reason     string
	}{
		{"stored", "/studies", bodyOf(good), nil, 200, ""},
		{"one of another study", "/studies/1.1", bodyOf(good, other), nil, 202, "43264"},
		{"only one of another study", "/studies/1.1", bodyOf(other), nil, 409, "43264"},
		{"not DICOM", "/studies", bodyOf([]byte("hello, this is no DICOM file")), nil, 409, "49152"},
		{"nothing in a part", "/studies", bodyOf([]byte{}), nil, 409, "49152"},
		{"nothing in a part of a study", "/studies/1.1", bodyOf([]byte{}), nil, 409, "49152"},
		{"unknown transfer syntax", "/studies", bodyOf(unknownSyntax), nil, 409, "49442"},
		{"another instance in the File Meta", "/studies", bodyOf(otherMeta), nil, 200, ""},
		{"half a data set", "/studies", bodyOf(good, other[:len(other)-100]), nil, 202, "49152"},
		{"no parts", "/studies", []byte("--XX--\r\n"), nil, 400, ""},
		{"no body", "/studies", nil, nil, 400, ""},
		{"cut off", "/studies", bodyOf(good)[:500], nil, 400, ""},
		{"another type of part", "/studies", bytes.Replace(bodyOf(good), []byte("application/dicom"), []byte("application/dicom+json"), 1), nil, 415, ""},
		{"one of another type", "/studies", append(cut(bodyOf(good)), jpeg...), nil, 202, "49152"},
		{"one of another type first", "/studies", append(cut(jpeg), bodyOf(good)...), nil, 202, "49152"},
		{"cut off after one", "/studies", bodyOf(good, other)[:len(good)+500], nil, 202, "49152"},
		{"too many parts", "/studies", bodyOf(good, good, good, good), nil, 202, "42752"},
		{"too many parts and none of them an instance", "/studies", bytes.Repeat(cut(jpeg), 4), nil, 413, ""},
		{"a long part header", "/studies", bytes.Replace(bodyOf(good), []byte("\r\n\r\n"), []byte("\r\nX: "+strings.Repeat("x", 300)+"\r\n\r\n"), 1), nil, 400, ""},
		{"not multipart", "/studies", good, []string{"Content-Type", "application/dicom"}, 415, ""},
		{"no boundary", "/studies", good, []string{"Content-Type", "multipart/related; type=application/dicom"}, 400, ""},
		{"compressed", "/studies", bodyOf(good), []string{"Content-Type", multipartDICOM, "Content-Encoding", "gzip"}, 415, ""},
		{"an answer that is not offered", "/studies", bodyOf(good), []string{"Content-Type", multipartDICOM, "Accept", "text/html"}, 406, ""},
		{"a malformed study", "/studies/x", bodyOf(good), nil, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(config *wado.Config) { config.Limits = wado.Limits{Parts: 3, PartHeader: 256} })
			if c.header == nil {
				c.header = []string{"Content-Type", multipartDICOM}
			}
			a := f.do(http.MethodPost, c.path, bytes.NewReader(c.body), c.header...)
			if a.status != c.status {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if c.reason == "" {
				return
			}
			var o jsonObject
			if err := json.Unmarshal(a.body, &o); err != nil {
				t.Fatal(err)
			}
			got := append(items(t, o, failedSOPSequence, failureReason), items(t, o, otherFailures, failureReason)...)
			if len(got) != 1 || got[0] != c.reason {
				t.Errorf("failure reasons %v, want %s", got, c.reason)
			}
		})
	}
}

func TestStoringWhenTheArchiveCannot(t *testing.T) {
	good := file(t, still("1.1", "1.1.1", "1.1.1.1"))
	for _, c := range []struct {
		fault  error
		status int
		reason string
	}{
		{store.ErrNoSpace, 503, "42752"},
		{fmt.Errorf("sealing: %w", errors.New("disk on fire")), 409, "272"},
		{store.ErrTooLarge, 409, "42752"},
		{store.ErrJournal, 503, ""},
		{store.ErrDenied, 403, ""},
		{store.ErrClosed, 503, ""},
	} {
		f := newFixture(t)
		f.archive.ingest = func() error { return c.fault }
		status, o := f.post("/studies", bodyOf(good, good))
		if status != c.status {
			t.Errorf("%v: status %d", c.fault, status)
		}
		for _, r := range items(t, o, failedSOPSequence, failureReason) {
			if r != c.reason {
				t.Errorf("%v: failure reason %s", c.fault, r)
			}
		}
		if (len(o) > 0) != (c.reason != "") {
			t.Errorf("%v: answer %v", c.fault, o)
		}
	}
}

func TestAPartIsStreamed(t *testing.T) {
	big := still("1.1", "1.1.1", "1.1.1.1")
	big.SetBytes(dict.PixelData, dict.OB, make([]byte, 32<<20))
	b := file(t, big)
	f := newFixture(t)
	r, w := io.Pipe()
	go func() {
		body := bodyOf(b)
		for len(body) > 0 {
			n := min(len(body), 100_000)
			w.Write(body[:n])
			body = body[n:]
		}
		w.Close()
	}()
	a := f.do(http.MethodPost, "/studies", r, "Content-Type", multipartDICOM)
	if a.status != 200 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if got := f.get("/studies/1.1/series/1.1.1/instances/1.1.1.1", "Accept", "application/dicom; transfer-syntax=*"); !bytes.HasSuffix(got.body, b[1000:]) {
		t.Errorf("%d bytes came back", len(got.body))
	}
}
