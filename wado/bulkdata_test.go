package wado_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// bulkURIs collects the BulkDataURIs of metadata, in sequences too.
func bulkURIs(t *testing.T, o jsonObject) (uris []string) {
	t.Helper()
	for _, a := range o {
		if a.BulkDataURI != "" {
			uris = append(uris, a.BulkDataURI)
		}
		if a.VR != "SQ" {
			continue
		}
		for _, raw := range a.Value {
			var item jsonObject
			if err := json.Unmarshal(raw, &item); err != nil {
				t.Fatal(err)
			}
			uris = append(uris, bulkURIs(t, item)...)
		}
	}
	return uris
}

func (f *fixture) metadata(path string) []jsonObject {
	f.t.Helper()
	a := f.get(path + "/metadata")
	var list []jsonObject
	if err := json.Unmarshal(a.body, &list); err != nil {
		f.t.Fatalf("status %d: %s", a.status, a.body)
	}
	return list
}

func TestBulkDataHasRanges(t *testing.T) {
	f := newFixture(t)
	i := f.put("pydicom__waveform_ecg.dcm")
	uris := bulkURIs(t, f.metadata(i.path())[0])
	if len(uris) != 2 || !strings.Contains(uris[0], "/bulkdata/54000100/") {
		t.Fatalf("bulk data at %v", uris)
	}
	for _, uri := range uris {
		path := strings.TrimPrefix(uri, f.base)
		whole := f.get(path)
		if whole.status != 200 || whole.header.Get("Content-Type") != "application/octet-stream" || !bytes.Contains(i.data, whole.body) {
			t.Fatalf("status %d, %d bytes, %v", whole.status, len(whole.body), whole.header)
		}
		a := f.get(path, "Range", "bytes=100-199", "If-Range", whole.header.Get("ETag"))
		if a.status != 206 || !bytes.Equal(a.body, whole.body[100:200]) {
			t.Errorf("range: status %d, %d bytes", a.status, len(a.body))
		}
		wrapped := f.get(path, "Accept", `multipart/related; type="application/octet-stream"`)
		if parts := wrapped.parts(t); len(parts) != 1 || !bytes.Equal(parts[0].body, whole.body) {
			t.Errorf("%d parts", len(parts))
		}
		if a := f.get(path, "Accept", "image/png"); a.status != 406 {
			t.Errorf("as PNG: status %d", a.status)
		}
	}
	first, second := f.get(strings.TrimPrefix(uris[0], f.base)), f.get(strings.TrimPrefix(uris[1], f.base))
	if bytes.Equal(first.body, second.body) || first.header.Get("ETag") == second.header.Get("ETag") {
		t.Error("two values are one")
	}
}

// An icon inside of this object is compressed: there is nothing to give at a URI.
func TestEveryBulkDataURIHasAValue(t *testing.T) {
	f := newFixture(t)
	i := f.put("fo-dicom__GH133.dcm")
	uris := bulkURIs(t, f.metadata(i.path())[0])
	if len(uris) == 0 {
		t.Error("no bulk data")
	}
	for _, uri := range uris {
		if a := f.get(strings.TrimPrefix(uri, f.base)); a.status != 200 {
			t.Errorf("%s: status %d", uri, a.status)
		}
	}
}

func TestPathsOfBulkData(t *testing.T) {
	f := newFixture(t)
	i := f.put("pydicom__waveform_ecg.dcm")
	for path, status := range map[string]int{
		"54000100/1/54001010":            200,
		"54000100/2/54001010":            200,
		"54000100/3/54001010":            404,
		"54000100/1/54001011":            404,
		"54000100":                       404,
		"00080005/1/54001010":            404,
		"00080005":                       200,
		"7FE00010":                       404,
		"54000100/1/003A0200/1/003A0211": 404,
		"54000100/0/54001010":            400,
		"x":                              400,
		"":                               400,
	} {
		if a := f.get(i.path() + "/bulkdata/" + path); a.status != status {
			t.Errorf("%q: status %d, want %d: %.100s", path, a.status, status, a.body)
		}
	}
}

func TestVideoIsOneFrameWithRanges(t *testing.T) {
	f := newFixture(t)
	for file, media := range map[string]string{"generated/endo1/video_h264.dcm": "video/mp4", "generated/endo2_mpeg2/video_mpeg2.dcm": "video/mpeg"} {
		i := f.put(file)
		uris := bulkURIs(t, f.metadata(i.path())[0])
		if len(uris) != 1 || !strings.HasSuffix(uris[0], "/bulkdata/7FE00010") {
			t.Fatalf("%s: bulk data at %v", file, uris)
		}
		path := strings.TrimPrefix(uris[0], f.base)
		whole := f.get(path, "Accept", media)
		if whole.status != 200 || whole.header.Get("Content-Type") != media+"; transfer-syntax="+i.syntax.UID || !bytes.Contains(i.data, whole.body) {
			t.Fatalf("%s: status %d, %v, %d bytes", file, whole.status, whole.header, len(whole.body))
		}
		from := len(whole.body) * 9 / 10
		for _, p := range []string{path, i.path() + "/frames/1"} {
			a := f.get(p, "Accept", "video/*", "Range", fmt.Sprintf("bytes=%d-", from))
			if a.status != 206 || !bytes.Equal(a.body, whole.body[from:]) {
				t.Errorf("%s: status %d, %d bytes", p, a.status, len(a.body))
			}
		}
		if a := f.get(path, "Accept", "*/*", "Range", "bytes=0-99"); a.status != 206 || !bytes.Equal(a.body, whole.body[:100]) {
			t.Errorf("%s as a player asks: status %d, %d bytes", file, a.status, len(a.body))
		}
		if parts := f.get(i.path() + "/frames/1").parts(t); len(parts) != 1 || !bytes.Equal(parts[0].body, whole.body) {
			t.Errorf("%s: %d parts", file, len(parts))
		}
		if a := f.get(i.path() + "/frames/2"); a.status != 404 {
			t.Errorf("%s: a second frame: status %d", file, a.status)
		}
	}
}

func TestFramesAreCountedInTheJournal(t *testing.T) {
	f := newFixture(t)
	i := f.put("pydicom-data__emri_small_RLE.dcm")
	if a := f.get(i.path() + "/frames/1,3,5"); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	if err := f.archive.Archive.(*store.Archive).Close(); err != nil {
		t.Fatal(err)
	}
	events := f.journal.Events()
	end := events[len(events)-1]
	if end.Kind != store.EventRetrieveEnd || end.Counts.Frames != 3 || end.Counts.Instances != 1 || end.Outcome != store.OutcomeSuccess {
		t.Errorf("journaled: %v %+v", end.Kind, end.Counts)
	}
	begin := events[len(events)-2]
	if begin.Kind != store.EventRetrieveBegin || begin.Request.Protocol != "WADO-RS" || begin.StudyInstanceUID != i.study ||
		len(begin.Request.ID) != 32 || !strings.HasPrefix(begin.Request.Peer, "127.0.0.1") {
		t.Errorf("journaled: %v %+v", begin.Kind, begin.Request)
	}
}

// TestMemoryDoesNotGrowWithTheObject sends a large instance every way there is.
func TestMemoryDoesNotGrowWithTheObject(t *testing.T) {
	const size = 192 << 20
	f := newFixture(t)
	big := still("1.1", "1.1.1", "1.1.1.1")
	big.SetInt(dict.Rows, 4096)
	big.SetInt(dict.Columns, 4096)
	big.SetString(dict.NumberOfFrames, fmt.Sprint(size>>24))
	big.SetBytes(dict.PixelData, dict.OB, make([]byte, size))
	f.putSet(big)
	big = nil
	runtime.GC()
	const path = "/studies/1.1/series/1.1.1/instances/1.1.1.1"
	for _, accept := range []string{
		asStored, "application/dicom", "application/dicom; transfer-syntax=" + dicom.ExplicitVRLittleEndian,
		"multipart/related; type=application/octet-stream",
	} {
		p := path
		if strings.Contains(accept, "octet") {
			p += "/frames/1,2,3,4,5,6,7,8,9,10,11,12"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := http.NewRequestWithContext(t.Context(), "GET", f.base+p, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		for buffer := make([]byte, 64<<10); err == nil; {
			var m int
			m, err = response.Body.Read(buffer)
			n += int64(m)
		}
		response.Body.Close()
		runtime.ReadMemStats(&after)
		if n < size || response.StatusCode != 200 {
			t.Errorf("%s: status %d, %d bytes", accept, response.StatusCode, n)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
			t.Errorf("%s: %d bytes allocated", accept, grown)
		}
	}
}

// A few bytes can claim any number of frames: those are told one by one, or not
// at all.
func TestClaimedFramesTakeNoMemory(t *testing.T) {
	f := newFixture(t)
	d := still("1.1", "1.1.1", "1.1.1.1", dict.NumberOfFrames, "999999999")
	d.SetInt(dict.Rows, 1)
	d.SetInt(dict.Columns, 1)
	d.SetInt(dict.BitsAllocated, 1)
	d.SetBytes(dict.PixelData, dict.OB, make([]byte, 256<<10)) // 2 Mi frames of a bit
	i, err := f.putAs(dicom.JPEGBaseline8Bit, file(t, d))
	if err != nil {
		t.Fatal(err)
	}
	if a := f.get(i.path() + "/bulkdata/7FE00010"); a.status != 413 {
		t.Errorf("status %d, %d bytes", a.status, len(a.body))
	}
}

// For each frame a deflated data set is inflated up to it.
func TestFramesOfADeflatedInstanceAreBounded(t *testing.T) {
	f := newFixture(t)
	d := still("1.1", "1.1.1", "1.1.1.1", dict.NumberOfFrames, "65")
	d.SetBytes(dict.PixelData, dict.OB, make([]byte, 6*65))
	ts, _ := dicom.LookupTransferSyntax(dicom.DeflatedExplicitVRLittleEndian)
	data, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	meta := dicom.FileMeta{MediaStorageSOPClassUID: d.String(dict.SOPClassUID), MediaStorageSOPInstanceUID: "1.1.1.1", TransferSyntaxUID: ts.UID}
	i, err := f.putAs("", append(meta.AppendTo(nil), data...))
	if err != nil {
		t.Fatal(err)
	}
	list := "1"
	for n := 2; n <= 65; n++ {
		list += "," + strconv.Itoa(n)
	}
	if a := f.get(i.path() + "/frames/" + list); a.status != 413 {
		t.Errorf("65 frames: status %d", a.status)
	}
	if a := f.get(i.path() + "/frames/" + list[2:]); a.status != 200 || len(a.parts(t)) != 64 {
		t.Errorf("64 frames: status %d", a.status)
	}
}
