package wado_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

// pydicomFrames are the SHA-256 sums of the frames of files, by path.
func pydicomFrames(t *testing.T) map[string][]string {
	t.Helper()
	args := []string{"testdata/frames.py"}
	for _, e := range shareddata.Valid(t) {
		args = append(args, e.Path)
	}
	peer(t, "/usr/bin/python3")
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			File   string
			Frames []string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Frames != nil {
			sums[line.File] = line.Frames
		}
	}
	return sums
}

// peer makes sure that a program is there: in CI its absence is a failure.
func peer(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// checkFrames: frames are what pydicom finds.
func checkFrames(t *testing.T) fileCheck {
	want := pydicomFrames(t)
	compared, odd := 0, 0
	return fileCheck{check: func(f *fixture, i instance) {
		frames := want[i.file]
		if len(frames) == 0 {
			return
		}
		var list []string
		for n := range min(len(frames), 100) {
			list = append(list, strconv.Itoa(n+1))
		}
		a := f.get(i.path() + "/frames/" + strings.Join(list, ","))
		if a.status == 406 && i.syntax.BigEndian {
			odd++ // its words do not end where the frame does
			return
		}
		if a.status != 200 {
			t.Errorf("%s: status %d: %s", i.file, a.status, a.body)
			return
		}
		parts := a.parts(t)
		if len(parts) != len(list) {
			t.Errorf("%s: %d parts of %d frames", i.file, len(parts), len(list))
			return
		}
		for n, p := range parts {
			if sum(p.body) != frames[n] {
				t.Errorf("%s (%s): frame %d differs: %d bytes", i.file, i.syntax.Name, n+1, len(p.body))
				break
			}
		}
		compared++
		// What OHIF asks for everything.
		if a := f.get(i.path()+"/frames/1", "Accept", `multipart/related; type="application/octet-stream"; transfer-syntax=*`); a.status != 200 ||
			sum(a.parts(t)[0].body) != frames[0] {
			t.Errorf("%s (%s): as octets in any syntax: status %d", i.file, i.syntax.Name, a.status)
		}
		last := strconv.Itoa(len(frames))
		if single := f.get(i.path()+"/frames/"+last, "Accept", "image/*, video/*, application/octet-stream"); single.status != 200 || sum(single.body) != frames[len(frames)-1] {
			t.Errorf("%s: the last frame alone: status %d, %d bytes", i.file, single.status, len(single.body))
		}
		if past := f.get(i.path() + "/frames/1," + strconv.Itoa(len(frames)+1)); past.status != 404 {
			t.Errorf("%s: one frame too many: status %d", i.file, past.status)
		}
	}, done: func() {
		if compared < 200 || odd > 1 {
			t.Errorf("%d files compared, %d of odd length left out", compared, odd)
		}
	}}
}

func TestMediaTypesOfFrames(t *testing.T) {
	const octets = "application/octet-stream"
	f := newFixture(t)
	n := 0
	for media, syntaxes := range map[string][]string{
		"image/jpeg":      {dicom.JPEGBaseline8Bit, dicom.JPEGExtended12Bit, dicom.JPEGLossless, dicom.JPEGLosslessSV1},
		"image/jls":       {dicom.JPEGLSLossless, dicom.JPEGLSNearLossless},
		"image/jp2":       {dicom.JPEG2000Lossless, dicom.JPEG2000},
		"image/jpx":       {dicom.JPEG2000MCLossless, dicom.JPEG2000MC},
		"image/jphc":      {dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL, dicom.HTJ2K},
		"image/jxl":       {dicom.JPEGXLLossless, dicom.JPEGXLJPEGRecompression, dicom.JPEGXL},
		"image/dicom-rle": {dicom.RLELossless},
		"video/mpeg":      {dicom.MPEG2MPML, dicom.MPEG2MPMLF, dicom.MPEG2MPHL, dicom.MPEG2MPHLF},
		"video/mp4":       {dicom.MPEG4HP41, dicom.MPEG4HP41F, dicom.MPEG4HP41BD, dicom.MPEG4HP422D, dicom.MPEG4HP423D, dicom.MPEG4HP42STEREO},
		"video/h265":      {dicom.HEVCMP51, dicom.HEVCM10P51},
		octets:            {dicom.DeflatedImageFrameCompression},
	} {
		for _, syntax := range syntaxes {
			// The bytes of one still, said to be of that syntax, under a UID of its own.
			n++
			i, err := f.putAs(syntax, withUID(t, n))
			if err != nil {
				t.Fatal(err)
			}
			want := media + "; transfer-syntax=" + syntax
			if parts := f.get(i.path() + "/frames/1").parts(t); len(parts) != 1 || parts[0].contentType != want || parts[0].location != f.base+i.path()+"/frames/1" {
				t.Errorf("%d parts, %q; want %q", len(parts), parts[0].contentType, want)
			}
			for accept, status := range map[string]int{
				media: 200, `multipart/related; type="` + media + `"`: 200,
				media + "; transfer-syntax=*": 200, media + "; transfer-syntax=" + syntax: 200,
				octets + "; transfer-syntax=*": 200, strings.Replace(media, "h265", "H265", 1): 200,
				strings.Replace(media, "h265", "mp4", 1): 200, // what players ask for
				"image/png":                              406, media + "; transfer-syntax=" + dicom.ExplicitVRLittleEndian: 406,
			} {
				if a := f.get(i.path()+"/frames/1", "Accept", accept); a.status != status {
					t.Errorf("%s as %s: status %d, want %d", syntax, accept, a.status, status)
				}
			}
			if a := f.get(i.path()+"/frames/1", "Accept", octets); (a.status == 200) != (media == octets) {
				t.Errorf("%s decoded: status %d", syntax, a.status)
			}
		}
	}
}

// The fragments of Encapsulated Uncompressed are native frames, and given as
// those of the uncompressed syntaxes are.
func TestEncapsulatedUncompressedFramesAreNative(t *testing.T) {
	const octets = "application/octet-stream"
	ts, _ := dicom.LookupTransferSyntax(dicom.EncapsulatedUncompressedExplicitVRLittleEndian)
	var data bytes.Buffer
	w := dicom.NewWriter(&data, ts)
	d := identified(dict.UIDVLEndoscopicImageStorage, "1.2.3.20000", "ES")
	for tag, n := range map[dicom.Tag]int{dict.Rows: 1, dict.Columns: 3, dict.SamplesPerPixel: 1, dict.BitsAllocated: 8, dict.NumberOfFrames: 2} {
		d.SetInt(tag, n)
	}
	w.WriteDataSet(d)
	w.StartFragments(dict.PixelData, dict.OB)
	for _, fragment := range []string{"", "abc\x00", "def\x00"} {
		w.StartFragment(int64(len(fragment)))
		io.WriteString(w, fragment)
	}
	w.EndSequence()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	i, err := f.putAs("", append(dicom.FileMeta{TransferSyntaxUID: ts.UID}.AppendTo(nil), data.Bytes()...))
	if err != nil {
		t.Fatal(err)
	}
	for accept, syntax := range map[string]string{
		"": dicom.ExplicitVRLittleEndian, octets: dicom.ExplicitVRLittleEndian,
		octets + "; transfer-syntax=" + dicom.ExplicitVRLittleEndian: dicom.ExplicitVRLittleEndian,
		octets + "; transfer-syntax=*":                               ts.UID, octets + "; transfer-syntax=" + ts.UID: ts.UID,
	} {
		a := f.get(i.path()+"/frames/2", "Accept", accept)
		body, contentType := a.body, a.header.Get("Content-Type")
		if accept == "" {
			part := a.parts(t)[0]
			body, contentType = part.body, part.contentType
		}
		if a.status != 200 || string(body) != "def" || contentType != octets+"; transfer-syntax="+syntax {
			t.Errorf("%q: status %d, %s, %q", accept, a.status, contentType, body)
		}
	}
}

func TestUncompressedFramesAreOctetStreams(t *testing.T) {
	f := newFixture(t)
	for _, file := range []string{"dicom-test-files__CT1_UNC.dcm", "dcm4che__MR01.dcm"} {
		i := f.put(file)
		want := "application/octet-stream; transfer-syntax=" + dicom.ExplicitVRLittleEndian
		if parts := f.get(i.path() + "/frames/1").parts(t); parts[0].contentType != want {
			t.Errorf("%s: %q", file, parts[0].contentType)
		}
		if a := f.get(i.path()+"/frames/1", "Accept", "application/octet-stream"); a.status != 200 || a.header.Get("Content-Type") != want {
			t.Errorf("%s: status %d, %q", file, a.status, a.header.Get("Content-Type"))
		}
		if a := f.get(i.path()+"/frames/1", "Accept", "image/jpeg"); a.status != 406 {
			t.Errorf("%s as JPEG: status %d", file, a.status)
		}
	}
}

func TestOneFrameHasRanges(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	whole := f.get(i.path()+"/frames/1", "Accept", "image/jls")
	if whole.status != 200 || whole.header.Get("ETag") == "" {
		t.Fatalf("status %d, %v", whole.status, whole.header)
	}
	a := f.get(i.path()+"/frames/1", "Accept", "image/jls", "Range", "bytes=1000-1999", "If-Range", whole.header.Get("ETag"))
	if a.status != 206 || !bytes.Equal(a.body, whole.body[1000:2000]) {
		t.Errorf("status %d, %d bytes", a.status, len(a.body))
	}
}
