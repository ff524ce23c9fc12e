package dicom_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
)

func TestTokensRoundTripEveryFile(t *testing.T) {
	for _, e := range shareddata.Valid(t) {
		t.Run(e.Name, func(t *testing.T) {
			_, ts, body, err := open(e.Bytes(t))
			if err != nil {
				t.Fatal(err)
			}
			if ts.Deflated { // another deflater gives other bytes
				var plain bytes.Buffer
				to := syntax(t, dicom.ExplicitVRLittleEndian)
				if err := dicom.Transcode(&plain, bytes.NewReader(body), ts, to, dicom.Limits{}); err != nil {
					t.Fatal(err)
				}
				ts, body = to, plain.Bytes()
			}
			var out bytes.Buffer
			w := dicom.NewWriter(&out, ts)
			if err := copyTokens(w, dicom.NewReader(bytes.NewReader(body), ts, dicom.Limits{})); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), body) {
				i := 0
				for i < min(out.Len(), len(body)) && out.Bytes()[i] == body[i] {
					i++
				}
				t.Errorf("%d bytes became %d; the first difference is at %d: % X became % X", len(body), out.Len(), i,
					body[i:min(i+16, len(body))], out.Bytes()[i:min(i+16, out.Len())])
			}
		})
	}
}

func copyTokens(w *dicom.Writer, r *dicom.Reader) error {
	for {
		t, err := r.Next()
		if err == io.EOF {
			return w.Close()
		}
		if err != nil {
			return err
		}
		if err := w.WriteToken(t, r); err != nil {
			return err
		}
	}
}

// pydicomEqual compares pairs of files: the first one's attributes with the
// second one's, group lengths apart. pydicom leaves OW and its like in the byte
// order of the file, and gives private attributes in implicit VR a VR of its
// own dictionary of vendors.
const pydicomEqual = `
import sys, warnings, pydicom
warnings.simplefilter("ignore")
UNIT = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
def order(value, vr, big):
    n = UNIT.get(vr, 1)
    if not big or n == 1: return value
    return bytes(b for i in range(0, len(value), n) for b in value[i:i + n][::-1])
def same(a, b, path, implicit, swap):
    ka = sorted(t for t in a.keys() if t.element != 0)
    kb = sorted(t for t in b.keys() if t.element != 0)
    if ka != kb:
        return path + " attributes %s" % sorted(set(ka) ^ set(kb))
    for t in ka:
        raw = a.get_item(t).VR
        x, y = a[t], b[t]
        if swap and raw == "UN": # given a VR by pydicom's dictionary, and swapped
            continue
        if implicit and (t.is_private or x.VR != y.VR):
            continue
        if x.VR != y.VR and "UN" not in (x.VR, y.VR):
            return path + str(t) + " VR %s, %s" % (x.VR, y.VR)
        if x.VR == "SQ" and y.VR == "SQ":
            if len(x.value) != len(y.value):
                return path + str(t)
            for i in range(len(x.value)):
                r = same(x.value[i], y.value[i], path + str(t), implicit, swap)
                if r: return r
        elif x.VR == y.VR and x.value != y.value and repr(x.value) != repr(y.value):
            if swap and x.VR in UNIT and x.value == order(y.value, x.VR, True):
                continue
            return path + str(t) + " value"
    return ""
for line in sys.stdin:
    a, b = [pydicom.dcmread(f, force=True) for f in line.rstrip("\n").split("\t")]
    r = same(a, b, "", a.is_implicit_VR or b.is_implicit_VR, a.is_little_endian != b.is_little_endian)
    if r: print(line, r)
`

func TestTranscodeAgreesWithPydicom(t *testing.T) {
	python := tool(t, "/usr/bin/python3")
	dir := t.TempDir()
	var pairs strings.Builder
	for i, e := range shareddata.Valid(t) {
		m, from, body, err := open(e.Bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		want, err := dicom.ScanDataSet(bytes.NewReader(body), from, dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for j, to := range uncompressed(t) {
			if len(body) > 256<<10 && to.Deflated && !from.Encapsulated {
				continue // takes long
			}
			var out bytes.Buffer
			err := dicom.Transcode(&out, bytes.NewReader(body), from, to, dicom.Limits{})
			if from.Encapsulated {
				if !errors.Is(err, dicom.ErrTranscode) {
					t.Errorf("%s to %s: %v", e.Name, to.Name, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s to %s: %v", e.Name, to.Name, err)
			}
			s, err := dicom.ScanDataSet(bytes.NewReader(out.Bytes()), to, dicom.Limits{})
			if err != nil {
				t.Fatalf("%s to %s: %v", e.Name, to.Name, err)
			}
			if s.Digest != want.Digest && !to.BigEndian && !from.BigEndian {
				t.Errorf("%s to %s: another digest", e.Name, to.Name)
			}
			if len(body) > 128<<10 || m.MediaStorageSOPClassUID == dict.UIDMediaStorageDirectoryStorage {
				continue // pydicom takes long, or would follow the offsets in a DICOMDIR
			}
			m.TransferSyntaxUID = to.UID
			path := filepath.Join(dir, fmt.Sprintf("%d-%d.dcm", i, j))
			if err := os.WriteFile(path, append(m.AppendTo(nil), out.Bytes()...), 0o600); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&pairs, "%s\t%s\n", e.Path, path)
		}
	}
	cmd := exec.Command(python, "-c", pydicomEqual)
	cmd.Stdin = strings.NewReader(pairs.String())
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("pydicom: %v\n%s", err, out)
	}
}

func TestTranscodeDropsGroupLengthsOnly(t *testing.T) {
	d := sample()
	d.SetInt(dict.NewTag(0x0008, 0), 1234)
	from, to := syntax(t, dicom.ExplicitVRLittleEndian), syntax(t, dicom.ImplicitVRLittleEndian)
	b, err := d.Encode(from)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := dicom.Transcode(&out, bytes.NewReader(b), from, to, dicom.Limits{}); err != nil {
		t.Fatal(err)
	}
	got, err := dicom.ParseDataSet(out.Bytes(), to)
	if err != nil {
		t.Fatal(err)
	}
	if got.Has(dict.NewTag(0x0008, 0)) || got.Len() != d.Len()-1 {
		t.Errorf("%d elements of %d", got.Len(), d.Len())
	}
}

// A data set that was cut comes out as one that is cut, as it does when nothing
// has to be transcoded; a source that fails is an error.
func TestTranscodeOfADataSetThatIsCut(t *testing.T) {
	whole := mustEncode(t, native(16, 2, 2, []byte("abcdefgh")))
	from := syntax(t, dicom.ExplicitVRLittleEndian)
	for _, to := range uncompressed(t) {
		for n := 32; n < len(whole); n++ { // after the first two elements
			var out bytes.Buffer
			if err := dicom.Transcode(&out, bytes.NewReader(whole[:n]), from, to, dicom.Limits{}); err != nil {
				t.Fatalf("%s, %d bytes: %v", to.Name, n, err)
			}
			a, errA := dicom.ScanDataSet(bytes.NewReader(whole[:n]), from, dicom.Limits{})
			b, errB := dicom.ScanDataSet(&out, to, dicom.Limits{})
			if errA != nil || errB != nil {
				if (errA == nil) != (errB == nil) {
					t.Errorf("%s, %d bytes: %v, and after that %v", to.Name, n, errA, errB)
				}
				continue
			}
			if a.Header.Len() > b.Header.Len() || b.Header.Len() > a.Header.Len()+1 {
				t.Errorf("%s, %d bytes: %d elements became %d", to.Name, n, a.Header.Len(), b.Header.Len())
			}
		}
	}
	broken := errors.New("the disk is gone")
	src := io.MultiReader(bytes.NewReader(whole[:len(whole)-4]), iotest.ErrReader(broken))
	if err := dicom.Transcode(io.Discard, src, from, syntax(t, dicom.ImplicitVRLittleEndian), dicom.Limits{}); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
}

func TestLongValueOfShortVR(t *testing.T) {
	var d dicom.DataSet
	d.SetBytes(dict.PatientComments, dict.LT, bytes.Repeat([]byte("x"), 70000))
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := dicom.NewBytesReader(b, ts, dicom.Limits{}).Next(); err != nil || tok.VR != dict.UN || tok.Length != 70000 {
		t.Errorf("%v with %d bytes, %v", tok.VR, tok.Length, err)
	}
	got, err := dicom.ParseDataSet(b, ts)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := got.Get(dict.PatientComments); e.VR != dict.LT || len(e.Value) != 70000 {
		t.Errorf("%v with %d bytes, read again", e.VR, len(e.Value))
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, write := range map[string]func(w *dicom.Writer){
		"a value that is too short": func(w *dicom.Writer) { w.StartElement(dict.PatientID, dict.LO, 4); w.Write([]byte("ab")) },
		"a value that is too long":  func(w *dicom.Writer) { w.StartElement(dict.PatientID, dict.LO, 1); w.Write([]byte("ab")) },
		"a sequence without end":    func(w *dicom.Writer) { w.StartSequence(dict.ContentSequence) },
		"an end without start":      func(w *dicom.Writer) { w.EndItem() },
		"a length beyond 4 GiB":     func(w *dicom.Writer) { w.StartElement(dict.PixelData, dict.OW, 1<<32) },
	} {
		t.Run(name, func(t *testing.T) {
			w := dicom.NewWriter(io.Discard, syntax(t, dicom.ExplicitVRLittleEndian))
			write(w)
			if err := w.Close(); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestFragmentsInAnUncompressedSyntaxAreNotTranscoded(t *testing.T) {
	const stream = "\x20\x20\x20\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x02\x00\x00\x00ab\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
	err := dicom.Transcode(io.Discard, strings.NewReader(stream), syntax(t, dicom.ExplicitVRLittleEndian), syntax(t, dicom.ImplicitVRLittleEndian), dicom.Limits{})
	if !errors.Is(err, dicom.ErrTranscode) {
		t.Errorf("got %v", err)
	}
}

// PS3.5 annex A.5: a deflated stream is padded to an even length.
func TestDeflatedStreamsHaveEvenLength(t *testing.T) {
	from, to := syntax(t, dicom.ExplicitVRLittleEndian), syntax(t, dicom.DeflatedExplicitVRLittleEndian)
	for n := range 40 {
		d := new(dicom.DataSet)
		d.SetString(dict.PatientComments, strings.Repeat("The quick brown fox", n)+fmt.Sprint(n*n*n))
		for _, deflate := range []func() []byte{
			func() []byte { b, _ := d.Encode(to); return b },
			func() []byte {
				var b bytes.Buffer
				dicom.Transcode(&b, bytes.NewReader(mustEncode(t, d)), from, to, dicom.Limits{})
				return b.Bytes()
			},
		} {
			b := deflate()
			if len(b)%2 != 0 {
				t.Errorf("%d bytes", len(b))
			}
			if again, err := dicom.ParseDataSet(b, to); err != nil || again.String(dict.PatientComments) != d.String(dict.PatientComments) {
				t.Errorf("read again: %v", err)
			}
		}
	}
}
