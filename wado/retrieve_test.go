package wado_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/internal/shareddata"
)

const asStored = `multipart/related; type="application/dicom"; transfer-syntax=*`

// TestEveryFile stores the shared collection once and holds everything that
// leaves against what went in and against other programs.
func TestEveryFile(t *testing.T) {
	checks := []fileCheck{checkBytes(t), checkTranscoding(t), checkFrames(t), checkMetadata(t)}
	eachStored(t, func(f *fixture, i instance) {
		for _, c := range checks {
			c.check(f, i)
		}
	})
	for _, c := range checks {
		c.done()
	}
}

// fileCheck is called with every stored file, and at the end.
type fileCheck struct {
	check func(f *fixture, i instance)
	done  func()
}

// checkBytes: with transfer-syntax=* a data set comes back as it was stored.
func checkBytes(t *testing.T) fileCheck {
	return fileCheck{done: func() {}, check: func(f *fixture, i instance) {
		a := f.get(i.path(), "Accept", asStored)
		if a.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", i.file, a.status, a.body)
		}
		parts := a.parts(t)
		if len(parts) != 1 {
			t.Fatalf("%s: %d parts", i.file, len(parts))
		}
		if want := "application/dicom; transfer-syntax=" + i.syntax.UID; parts[0].contentType != want {
			t.Errorf("%s: part of %q, want %q", i.file, parts[0].contentType, want)
		}
		if !bytes.Equal(dataSet(t, parts[0].body, i, i.syntax.UID), i.data) {
			t.Errorf("%s: data set differs", i.file)
		}
		if parts[0].location != f.base+i.path() {
			t.Errorf("%s: the part is said to be %s", i.file, parts[0].location)
		}
		if got := a.header.Get("Content-Length"); got != strconv.Itoa(len(a.body)) {
			t.Errorf("%s: Content-Length %q of %d bytes", i.file, got, len(a.body))
		}
	}}
}

func TestTransferSyntaxOfInstances(t *testing.T) {
	f := newFixture(t)
	explicit := f.put("dicom-test-files__CT1_UNC.dcm")
	compressed := f.put("dicom-test-files__CT1_JLSL.dcm")
	for _, c := range []struct {
		name   string
		i      instance
		accept string
		status int
		syntax string // of the answer
		single bool
	}{
		{"explicit, no Accept", explicit, "", 200, dicom.ExplicitVRLittleEndian, false},
		{"explicit, anything", explicit, "*/*", 200, dicom.ExplicitVRLittleEndian, false},
		{"explicit, multipart", explicit, `multipart/related; type="application/dicom"`, 200, dicom.ExplicitVRLittleEndian, false},
		{"explicit, single part", explicit, "application/dicom", 200, dicom.ExplicitVRLittleEndian, true},
		{"explicit, as stored", explicit, "application/dicom; transfer-syntax=*", 200, dicom.ExplicitVRLittleEndian, true},
		{"explicit, named", explicit, "application/dicom; transfer-syntax=" + dicom.ExplicitVRLittleEndian, 200, dicom.ExplicitVRLittleEndian, true},
		{"explicit, to be compressed", explicit, "application/dicom; transfer-syntax=" + dicom.JPEGBaseline8Bit, 406, "", true},
		{"compressed, no Accept", compressed, "", 200, dicom.JPEGLSLossless, false},
		{"compressed, default", compressed, "application/dicom", 200, dicom.JPEGLSLossless, true},
		{"compressed, named", compressed, "application/dicom; transfer-syntax=" + dicom.JPEGLSLossless, 200, dicom.JPEGLSLossless, true},
		{"compressed, another", compressed, "application/dicom; transfer-syntax=" + dicom.JPEG2000Lossless, 406, "", true},
		{"compressed, to be decoded", compressed, "application/dicom; transfer-syntax=" + dicom.ExplicitVRLittleEndian, 406, "", true},
		{"compressed, one of two", compressed, "application/dicom; transfer-syntax=" + dicom.ExplicitVRLittleEndian + ", " + asStored + "; q=0.1", 200, dicom.JPEGLSLossless, false},
		{"json", explicit, "application/dicom+json", 406, "", false},
		{"malformed", explicit, "application", 400, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.accept != "" {
				header = []string{"Accept", c.accept}
			}
			a := f.get(c.i.path(), header...)
			if a.status != c.status {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if c.status != 200 {
				return
			}
			file := a.body
			if !c.single {
				file = a.parts(t)[0].body
			} else if got := a.header.Get("Content-Type"); got != "application/dicom; transfer-syntax="+c.syntax {
				t.Errorf("Content-Type %q", got)
			}
			if !bytes.Equal(dataSet(t, file, c.i, c.syntax), c.i.data) {
				t.Error("data set differs")
			}
			if a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Error("pages elsewhere may embed it")
			}
			if a.header.Get("Cache-Control") != "private, no-store" {
				t.Errorf("Cache-Control %q", a.header.Get("Cache-Control"))
			}
		})
	}
}

// checkTranscoding: uncompressed instances come in Explicit VR Little Endian,
// which DCMTK reads, with the same content.
func checkTranscoding(t *testing.T) fileCheck {
	peer(t, "dcmconv")
	dir, compared := t.TempDir(), 0
	explicit, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	return fileCheck{check: func(f *fixture, i instance) {
		if i.syntax.Encapsulated || i.syntax.UID == dicom.ExplicitVRLittleEndian {
			return
		}
		single := f.get(i.path(), "Accept", "application/dicom")
		parts := f.get(i.path()).parts(t)
		if single.status != 200 || len(parts) != 1 || !bytes.Equal(single.body, parts[0].body) {
			t.Fatalf("%s: status %d, %d parts: %.100s", i.file, single.status, len(parts), single.body)
		}
		if got, want := single.header.Get("Content-Type"), "application/dicom; transfer-syntax="+dicom.ExplicitVRLittleEndian; got != want || parts[0].contentType != want {
			t.Errorf("%s: %q and %q", i.file, got, parts[0].contentType)
		}
		got, err := dicom.ScanDataSet(bytes.NewReader(dataSet(t, single.body, i, dicom.ExplicitVRLittleEndian)), explicit, dicom.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", i.file, err)
		}
		want, err := dicom.ScanDataSet(bytes.NewReader(i.data), i.syntax, dicom.Limits{})
		if err != nil || got.Digest != want.Digest {
			t.Errorf("%s: the content changed (%v)", i.file, err)
		}
		out := filepath.Join(dir, "x.dcm")
		if err := os.WriteFile(out, single.body, 0o600); err != nil {
			t.Fatal(err)
		}
		if msg, err := exec.CommandContext(t.Context(), "dcmconv", out, filepath.Join(dir, "y.dcm")).CombinedOutput(); err != nil {
			t.Errorf("%s: dcmconv cannot read it: %s", i.file, msg)
		}
		if a := f.get(i.path(), "Accept", "application/dicom; transfer-syntax="+dicom.DeflatedExplicitVRLittleEndian); a.status != 200 {
			t.Errorf("%s deflated: status %d", i.file, a.status)
		}
		if a := f.get(i.path(), "Accept", "application/dicom; transfer-syntax="+i.syntax.UID); a.status != 200 || !bytes.HasSuffix(a.body, i.data) {
			t.Errorf("%s by its own name: status %d", i.file, a.status)
		}
		compared++
	}, done: func() {
		if compared < 30 {
			t.Errorf("only %d files transcoded", compared)
		}
	}}
}

func TestAStudyInSeveralSyntaxesIsSentAsFarAsItCanBe(t *testing.T) {
	f := newFixture(t)
	var instances []instance
	for n, syntax := range []string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless} {
		i, err := f.putAs(syntax, withUID(t, n))
		if err != nil {
			t.Fatal(err)
		}
		instances = append(instances, i)
	}
	study := "/studies/" + instances[0].study
	if a := f.get(study); a.status != 200 || len(a.parts(t)) != 2 {
		t.Errorf("all: status %d", a.status)
	}
	a := f.get(study, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=`+dicom.JPEGLSLossless)
	if a.status != 206 || len(a.parts(t)) != 1 || !strings.HasPrefix(a.header.Get("Warning"), `299 lumen "1 instances`) {
		t.Errorf("one syntax: status %d, %v", a.status, a.header)
	}
	if a := f.get(study, "Accept", `multipart/related; type="application/dicom"; transfer-syntax=`+dicom.RLELossless); a.status != 406 {
		t.Errorf("another syntax: status %d", a.status)
	}
	if a := f.get(study, "Accept", "application/dicom"); a.status != 406 {
		t.Errorf("a study as a single part: status %d", a.status)
	}
}

// withUID is a compressed still with SOP Instance UID number n.
func withUID(t *testing.T, n int) []byte {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(shareddata.Dir(t), "data", "dicom-test-files__CT1_JLSL.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	uid := []byte("1.3.6.1.4.1.5962.1.1.1.1.6.20040826185059.5457")
	return bytes.ReplaceAll(source, uid, append(bytes.Clone(uid[:len(uid)-4]), strconv.Itoa(1000+n)...))
}

func TestAcceptAsAQueryParameterGoesFirst(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	a := f.get(i.path()+"?accept=application/dicom%3Btransfer-syntax=*", "Accept", "image/png")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/dicom;") {
		t.Errorf("status %d, %s", a.status, a.header.Get("Content-Type"))
	}
}

func TestStudiesAndSeriesHaveAllTheirInstances(t *testing.T) {
	f := newFixture(t)
	byStudy, bySeries := map[string][]instance{}, map[string][]instance{}
	for n := 1; n <= 9; n++ {
		i := f.put("dcm4che__MR0" + strconv.Itoa(n) + ".dcm")
		byStudy["/studies/"+i.study] = append(byStudy["/studies/"+i.study], i)
		bySeries[i.seriesPath()] = append(bySeries[i.seriesPath()], i)
	}
	for _, paths := range []map[string][]instance{byStudy, bySeries} {
		for path, instances := range paths {
			a := f.get(path, "Accept", asStored)
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			parts := a.parts(t)
			if len(parts) != len(instances) {
				t.Fatalf("%d parts of %d instances", len(parts), len(instances))
			}
			for _, i := range instances {
				found := false
				for _, p := range parts {
					found = found || bytes.HasSuffix(p.body, i.data)
				}
				if !found {
					t.Errorf("%s is missing", i.file)
				}
			}
			if head := f.do(http.MethodHead, path, nil, "Accept", asStored); head.status != 200 || len(head.body) != 0 ||
				head.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
				t.Errorf("HEAD: %d, %v", head.status, head.header)
			}
		}
	}
}

func TestSinglePartInstancesHaveRanges(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	whole := f.get(i.path(), "Accept", "application/dicom")
	tag := whole.header.Get("ETag")
	size := len(whole.body)
	meta := size - len(i.data)
	if whole.header.Get("Accept-Ranges") != "bytes" || len(tag) < 20 || tag[0] != '"' {
		t.Fatalf("header %v", whole.header)
	}
	for _, c := range []struct {
		name     string
		header   []string
		status   int
		from, to int // [from, to)
	}{
		{"first byte", []string{"Range", "bytes=0-0"}, 206, 0, 1},
		{"preamble", []string{"Range", "bytes=0-131"}, 206, 0, 132},
		{"across the file meta's end", []string{"Range", "bytes=" + strconv.Itoa(meta-10) + "-" + strconv.Itoa(meta+9)}, 206, meta - 10, meta + 10},
		{"up to the file meta's end", []string{"Range", "bytes=10-" + strconv.Itoa(meta-1)}, 206, 10, meta},
		{"from the data set on", []string{"Range", "bytes=" + strconv.Itoa(meta) + "-"}, 206, meta, size},
		{"the last bytes", []string{"Range", "bytes=-100"}, 206, size - 100, size},
		{"past the end", []string{"Range", "bytes=" + strconv.Itoa(size) + "-"}, 416, 0, 0},
		{"several ranges", []string{"Range", "bytes=0-1,5-6"}, 200, 0, size},
		{"not a range", []string{"Range", "pages=1-2"}, 200, 0, size},
		{"If-Range with the tag", []string{"Range", "bytes=5-9", "If-Range", tag}, 206, 5, 10},
		{"If-Range with another tag", []string{"Range", "bytes=5-9", "If-Range", `"x"`}, 200, 0, size},
		{"If-None-Match", []string{"If-None-Match", tag}, 304, 0, 0},
		{"If-Match", []string{"If-Match", tag, "Range", "bytes=5-9"}, 206, 5, 10},
		{"If-Match with another tag", []string{"If-Match", `"x"`}, 412, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.get(i.path(), append([]string{"Accept", "application/dicom"}, c.header...)...)
			if a.status != c.status {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			switch a.status {
			case 200, 206:
				if !bytes.Equal(a.body, whole.body[c.from:c.to]) {
					t.Errorf("%d bytes differ from [%d,%d)", len(a.body), c.from, c.to)
				}
				want := "bytes " + strconv.Itoa(c.from) + "-" + strconv.Itoa(c.to-1) + "/" + strconv.Itoa(size)
				if got := a.header.Get("Content-Range"); a.status == 206 && got != want {
					t.Errorf("Content-Range %q, want %q", got, want)
				}
			case 416:
				if got := a.header.Get("Content-Range"); got != "bytes */"+strconv.Itoa(size) {
					t.Errorf("Content-Range %q", got)
				}
			case 304:
				if len(a.body) > 0 || a.header.Get("ETag") != tag {
					t.Errorf("%d bytes, ETag %q", len(a.body), a.header.Get("ETag"))
				}
			}
		})
	}
}

func TestPathsThatNameNothing(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	for path, status := range map[string]int{
		"/studies/1.2.3":                      404,
		"/studies/1.2.3/metadata":             404,
		"/studies/" + i.study + "/series/1.2": 404,
		i.seriesPath() + "/instances/1.2":     404,
		i.path() + "/frames/2":                404,
		i.path() + "/frames/0":                400,
		i.path() + "/frames/x":                400,
		i.path() + "/bulkdata/00099999":       404,
		i.path() + "/bulkdata/PixelData":      400,
		i.path() + "/bulkdata":                404,
		i.path() + "/bulkdata/":               400,
		i.path() + "/rendered":                404,
		"/studies/abc":                        400,
		"/studies/1.2/series/..%2f":           400,
		"/studies/" + strings.Repeat("1", 65): 400,
		"/patients":                           404,
		"":                                    404,
	} {
		a := f.get(path)
		if a.status != status {
			t.Errorf("GET %s: status %d, want %d: %s", path, a.status, status, a.body)
		}
		if a.header.Get("Content-Type") != "application/json" || !strings.Contains(string(a.body), `"error"`) {
			t.Errorf("GET %s: %s %s", path, a.header.Get("Content-Type"), a.body)
		}
	}
	a := f.do(http.MethodDelete, "/studies/1.2", nil)
	if a.status != 405 || a.header.Get("Allow") != "GET, HEAD, POST" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("DELETE: %d %v", a.status, a.header)
	}
}
