package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"lumen/dicom"
	"lumen/internal/peertest"
)

// dcmtkOption is the letter that a transfer syntax has among DCMTK's options:
// storescu -xLETTER proposes it, getscu and dcmqrscp +xLETTER take it.
var dcmtkOption = map[string]string{
	dicom.ImplicitVRLittleEndian: "i", dicom.ExplicitVRLittleEndian: "e", dicom.ExplicitVRBigEndian: "b",
	dicom.DeflatedExplicitVRLittleEndian: "d", dicom.JPEGLosslessSV1: "s", dicom.JPEGBaseline8Bit: "y", dicom.JPEGExtended12Bit: "x",
	dicom.JPEG2000Lossless: "v", dicom.JPEG2000: "w", dicom.JPEGLSLossless: "t", dicom.JPEGLSNearLossless: "u",
	dicom.MPEG2MPML: "m", dicom.MPEG2MPHL: "h", dicom.MPEG4HP41: "n", dicom.MPEG4HP41BD: "l", dicom.MPEG4HP422D: "2",
	dicom.MPEG4HP423D: "3", dicom.MPEG4HP42STEREO: "o", dicom.HEVCMP51: "4", dicom.HEVCM10P51: "5", dicom.RLELossless: "r",
}

// specimen is a made instance in one transfer syntax.
type specimen struct {
	syntax                  dicom.TransferSyntax
	file                    string
	study, series, instance string
}

// name is the syntax's name as a test's name, with the end of its UID: some names
// differ in what is in parentheses only.
func (s specimen) name() string {
	name, _, _ := strings.Cut(s.syntax.Name, " (")
	name = strings.NewReplacer(" ", "_", "/", "_", ",", "").Replace(name)
	if end := strings.TrimPrefix(s.syntax.UID, "1.2.840.10008.1.2."); end != s.syntax.UID {
		name += "_" + end
	}
	return name
}

// studiesMade counts the studies of the matrix, which share archives.
var studiesMade atomic.Int64

func newStudy() string { return fmt.Sprintf("%s7%018d", uidRoot, studiesMade.Add(1)) }

// specimens makes one instance of a new study in each syntax.
func specimens(t *testing.T, syntaxes ...string) []specimen {
	t.Helper()
	dir, study := t.TempDir(), newStudy()
	var all []specimen
	for i, s := range syntaxes {
		syntax, ok := dicom.LookupTransferSyntax(s)
		if !ok {
			t.Fatal(s)
		}
		all = append(all, makeSpecimen(t, dir, syntax, study, i+1, 10_000+i))
	}
	return all
}

// stills makes n instances of one study, each with size bytes of pixels.
func stills(t *testing.T, n, size int) []specimen {
	t.Helper()
	dir, study := t.TempDir(), newStudy()
	syntax, _ := dicom.LookupTransferSyntax(dicom.JPEGBaseline8Bit)
	var all []specimen
	for i := range n {
		all = append(all, makeSpecimen(t, dir, syntax, study, i+1, size))
	}
	return all
}

// makeSpecimen writes one instance. Where the pixels are not encapsulated, DCMTK
// brings it into its transfer syntax.
func makeSpecimen(t *testing.T, dir string, syntax dicom.TransferSyntax, study string, number, size int) specimen {
	t.Helper()
	s := specimen{syntax: syntax, study: study, series: study + ".1", instance: fmt.Sprintf("%s.1.%d", study, number)}
	rng := rand.New(rand.NewPCG(uint64(number), uint64(size)))
	var b builder
	b.put(tagSOPClass, "UI", vlEndoscopic)
	b.put(tagSOPInstance, "UI", s.instance)
	b.put(tagStudyDate, "DA", "20261123")
	b.put(tagStudyTime, "TM", "0815")
	b.put(tagAccession, "SH", "A1")
	b.put(tagModality, "CS", "ES")
	b.put(tagReferrer, "PN", "")
	b.put(tagPatientName, "PN", "Matrix^Made")
	b.put(tagPatientID, "LO", s.patient())
	b.put(tagStudy, "UI", s.study)
	b.put(tagSeries, "UI", s.series)
	b.put(tagStudyID, "SH", "")
	b.put(tagSeriesNumber, "IS", "1")
	b.put(tagInstanceNumber, "IS", fmt.Sprint(number))
	b.put(tagSamples, "US", "\x01\x00")
	b.put(tagPhotometric, "CS", "MONOCHROME2")
	b.put(tagRows, "US", "\x02\x00")
	b.put(tagColumns, "US", "\x02\x00")
	b.put(tagBitsAllocated, "US", "\x10\x00")
	b.put(tagBitsStored, "US", "\x10\x00")
	b.put(tagHighBit, "US", "\x0f\x00")
	b.put(tagPixelRepresentation, "US", "\x00\x00")
	pixels := make([]byte, size&^1)
	for i := range pixels {
		pixels[i] = byte(rng.Uint32())
	}
	if syntax.Encapsulated {
		b.head(tagPixelData, "OB", undefinedLength)
		b.item(itemTag, 0)
		b.item(itemTag, uint32(len(pixels)))
		b.Write(pixels)
		b.item(sequenceDelimiter, 0)
		s.file = save(t, dir, file(vlEndoscopic, s.instance, syntax.UID, b.Bytes()))
		return s
	}
	b.put(tagPixelData, "OW", string(pixels[:8]))
	explicit := save(t, dir, file(vlEndoscopic, s.instance, explicitLE, b.Bytes()))
	s.file = explicit + ".converted.dcm"
	if out, code := run(t, "dcmconv", "+t"+dcmtkOption[syntax.UID], explicit, s.file); code != 0 {
		t.Fatalf("dcmconv: %s", out)
	}
	os.Remove(explicit)
	return s
}

// patient is the Patient ID, one for each study.
func (s specimen) patient() string { return "M" + s.study[len(s.study)-18:] }

// asExplicit is what specimens become where they are stored in one of the
// transfer syntaxes, and somebody offers them together with Explicit VR Little
// Endian: the acceptor chooses that, and the sender brings them into it.
func asExplicit(t *testing.T, all []specimen, chosenOver ...string) []specimen {
	t.Helper()
	all = slices.Clone(all)
	for i, s := range all {
		if slices.Contains(chosenOver, s.syntax.UID) {
			all[i].file = s.file + ".explicit.dcm"
			if out, code := run(t, "dcmconv", "+te", s.file, all[i].file); code != 0 {
				t.Fatalf("dcmconv: %s", out)
			}
		}
	}
	return all
}

// files are the names of the specimens' files.
func files(all []specimen) []string {
	var names []string
	for _, s := range all {
		names = append(names, s.file)
	}
	return names
}

// arrived writes what came from elsewhere into a folder, and names the files by
// SOP Instance UID.
func arrived(t *testing.T, got map[string][]byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	names := map[string]string{}
	for _, b := range got {
		p, err := parsePart10(b)
		if err != nil {
			t.Fatal(err)
		}
		if names[p.SOPInstance] != "" {
			t.Errorf("an instance came twice")
		}
		names[p.SOPInstance] = save(t, dir, b)
	}
	return names
}

// folder reads all files of a folder.
func folder(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// sameToReaders expects that the files that came are the specimens: to DCMTK and
// to pydicom, each element and each byte of the pixels, and in the same transfer
// syntax. It makes one subtest a specimen.
func sameToReaders(t *testing.T, want []specimen, got map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d of %d instances came", len(got), len(want))
	}
	var pairs []string
	for _, s := range want {
		t.Run(s.name(), func(t *testing.T) {
			if got[s.instance] == "" {
				t.Fatal("it did not come")
			}
			pairs = append(pairs, s.file, got[s.instance])
			if a, b := dump(t, s.file), dump(t, got[s.instance]); a != b {
				t.Errorf("dcmdump reads\n%s\nof what was sent, and of what came\n%s", tail(a, 2000), tail(b, 2000))
			}
		})
	}
	sameToPydicom(t, pairs)
}

// dump is what DCMTK reads: every element to the last byte, but for the File
// Meta Information.
func dump(t *testing.T, name string) string {
	t.Helper()
	out, code := run(t, "dcmdump", "-q", "+L", name)
	if code != 0 {
		t.Fatalf("dcmdump: %s", tail(out, 500))
	}
	_, dataSet, found := strings.Cut(out, "# Dicom-Data-Set")
	if !found {
		t.Fatalf("dcmdump finds no data set: %s", tail(out, 500))
	}
	return dataSet
}

// sameToPydicom lets pydicom compare pairs of files, one after the other in the
// list.
func sameToPydicom(t *testing.T, pairs []string) {
	t.Helper()
	cmd := peertest.Command(t, python, "testdata/same.py")
	cmd.Stdin = strings.NewReader(strings.Join(pairs, "\n"))
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("%d pairs are the same\n", len(pairs)/2); err != nil || !bytes.Equal(out, []byte(want)) {
		t.Errorf("pydicom: %v %s", err, tail(string(out), 1000))
	}
}
