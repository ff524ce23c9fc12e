package transfer_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lumen/config"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/internal/node"
	"lumen/internal/transfer"
)

// archive is a new archive that this process has open.
func archive(t *testing.T) *node.Admin {
	t.Helper()
	return archiveWith(t, 1<<20)
}

func archiveWith(t *testing.T, minFree config.Size) *node.Admin {
	t.Helper()
	cfg, err := config.Load("", config.Flags{Data: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Storage.MinFree, cfg.Storage.MinFreePercent, cfg.Audit.SegmentSize = minFree, 0, 1<<20
	folder, err := node.OpenFolder(durable.OS(), cfg.Data, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := node.Dial(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// run imports paths and returns the report and what was said of them.
func run(t *testing.T, a *node.Admin, paths ...string) (transfer.Report, string, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := transfer.Import{Node: a, Progress: transfer.NewProgress(f), Workers: 3}.Run(t.Context(), paths)
	said, e := os.ReadFile(f.Name())
	if e != nil {
		t.Fatal(e)
	}
	return r, string(said), err
}

// dataSet is one instance of a study of the patient P.
func dataSet(t *testing.T, instance string, pixels int) []byte {
	t.Helper()
	d := &dicom.DataSet{}
	d.SetString(dict.SOPClassUID, dict.UIDVLEndoscopicImageStorage)
	d.SetString(dict.SOPInstanceUID, instance)
	d.SetString(dict.PatientID, "P")
	d.SetString(dict.StudyInstanceUID, "2.25.7")
	d.SetString(dict.SeriesInstanceUID, "2.25.7.1")
	d.SetBytes(dict.PixelData, dict.OB, make([]byte, pixels))
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// part10 puts File Meta Information before it.
func part10(t *testing.T, instance, syntax string, pixels int) []byte {
	t.Helper()
	return append(dicom.FileMeta{
		MediaStorageSOPClassUID: dict.UIDVLEndoscopicImageStorage, MediaStorageSOPInstanceUID: instance, TransferSyntaxUID: syntax,
	}.AppendTo(nil), dataSet(t, instance, pixels)...)
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFileIsAccountedFor(t *testing.T) {
	const explicit = dicom.ExplicitVRLittleEndian
	whole := part10(t, "2.25.1", explicit, 5000)
	other := part10(t, "2.25.2", explicit, 5000)
	for _, c := range []struct {
		name string
		file []byte
		want transfer.Report
		says string // besides the name
	}{
		{"a Part 10 file", whole, transfer.Report{Stored: 1}, ""},
		{"the same again", whole, transfer.Report{Duplicate: 1}, ""},
		{"other content under its UID", part10(t, "2.25.1", explicit, 5002), transfer.Report{Quarantined: 1}, ""},
		{"no preamble", other[128:], transfer.Report{Stored: 1}, ""},
		{"no File Meta Information", dataSet(t, "2.25.3", 10), transfer.Report{Stored: 1}, ""},
		{"a data set without File Meta that is there", dataSet(t, "2.25.3", 10), transfer.Report{Duplicate: 1}, ""},
		{"empty", nil, transfer.Report{NotDICOM: 1}, ""},
		{"text", []byte(strings.Repeat("no DICOM ", 100)), transfer.Report{NotDICOM: 1}, ""},
		{"a DICOMDIR", bytes.Replace(part10(t, "2.25.4", explicit, 0), []byte(dict.UIDVLEndoscopicImageStorage), []byte(fmt.Sprintf("%-*s", len(dict.UIDVLEndoscopicImageStorage), dict.UIDMediaStorageDirectoryStorage)), 1),
			transfer.Report{NotDICOM: 1}, ""},
		{"cut in the pixel data", part10(t, "2.25.5", explicit, 5000)[:3000], transfer.Report{Stored: 1, CutShort: 1}, "ends in the middle"},
		{"cut in its study", part10(t, "2.25.6", explicit, 5000)[:len(whole)-5040], transfer.Report{Refused: 1}, "cannot understand"},
		{"cut in the File Meta Information", whole[:200], transfer.Report{Refused: 1}, "File Meta"},
		{"an unknown transfer syntax", part10(t, "2.25.8", "1.2.3.4", 10), transfer.Report{Refused: 1}, "unknown transfer syntax"},
	} {
		a := archiveOnce(t)
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "file", c.file)
			got, said, err := run(t, a, dir)
			got.Bytes = 0
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v; it says %q", got, err, c.want, said)
			}
			if said != "" != (c.says != "") || !strings.Contains(said, c.says) || c.says != "" && !strings.Contains(said, filepath.Join(dir, "file")) {
				t.Errorf("it says %q, want %q and the name", said, c.says)
			}
		})
	}
}

// archiveOnce returns one archive for all calls of a test.
func archiveOnce(t *testing.T) *node.Admin {
	t.Helper()
	if a, ok := archives[t]; ok {
		return a
	}
	a := archive(t)
	archives[t] = a
	t.Cleanup(func() { delete(archives, t) })
	return a
}

var archives = map[*testing.T]*node.Admin{}

// What concerns all files ends the import instead of being said of each.
func TestImportEndsWhenThereIsNoRoom(t *testing.T) {
	a, dir := archiveWith(t, 1<<60), t.TempDir()
	for i := range 20 {
		write(t, dir, fmt.Sprint(i), part10(t, fmt.Sprintf("2.25.%d", i+1), dicom.ExplicitVRLittleEndian, 1<<20))
	}
	got, said, err := run(t, a, dir)
	if err == nil || !strings.Contains(err.Error(), "space") || got != (transfer.Report{}) || said != "" {
		t.Errorf("%+v, %v: %q", got, err, said)
	}
}

func TestLinksToFilesAreFollowedAndBrokenOnesNamed(t *testing.T) {
	a, dir, elsewhere := archive(t), t.TempDir(), t.TempDir()
	write(t, elsewhere, "still", part10(t, "2.25.1", dicom.ExplicitVRLittleEndian, 100))
	for link, to := range map[string]string{"file": elsewhere + "/still", "folder": elsewhere, "circle": dir, "broken": elsewhere + "/gone"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, said, err := run(t, a, dir)
	if err != nil || got.Stored != 1 || got.Refused != 1 || !strings.Contains(said, "broken: no such file") {
		t.Errorf("%+v, %v: %q", got, err, said)
	}
}

// A ZIP archive that is damaged in one place gives the rest; names in it cannot
// write to the terminal.
func TestDamagedZipEntryIsRefusedByName(t *testing.T) {
	a, dir := archive(t), t.TempDir()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 4 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%d\x1b]0;mine\x07", i), Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(part10(t, fmt.Sprintf("2.25.%d", i+1), dicom.ExplicitVRLittleEndian, 4000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.Bytes()[bytes.LastIndex(b.Bytes(), make([]byte, 2000))+5] = 1 // in the pixel data: only the checksum tells
	write(t, dir, "in.ZIP", b.Bytes())
	got, said, err := run(t, a, filepath.Join(dir, "in.ZIP"))
	if err != nil || got.Stored != 3 || got.Refused != 1 || !strings.Contains(said, "checksum") || strings.Contains(said, "\x1b") {
		t.Errorf("%+v, %v: %q", got, err, said)
	}
	write(t, dir, "none.zip", []byte("PK?"))
	if _, _, err := run(t, a, filepath.Join(dir, "none.zip")); err == nil {
		t.Error("what is no ZIP archive was imported")
	}
}

// What cannot be written leaves nothing behind, in a folder as in an archive.
func TestFailedExportLeavesNothing(t *testing.T) {
	a, dir := archive(t), t.TempDir()
	for i := range 3 {
		write(t, dir, fmt.Sprint(i), part10(t, fmt.Sprintf("2.25.%d", i+1), dicom.ExplicitVRLittleEndian, 4000))
	}
	if got, _, err := run(t, a, dir); err != nil || got.Stored != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	e := transfer.Export{Node: a, Progress: transfer.NewProgress(quiet), Study: "2.25.7"}
	to := t.TempDir()
	for _, name := range []string{"out", "out.zip"} {
		if files, _, err := e.Run(t.Context(), filepath.Join(to, name)); err != nil || files != 3 {
			t.Fatalf("%s: %d files, %v", name, files, err)
		}
	}
	e.Study = "2.25.404"
	for _, name := range []string{"none", "none.zip"} {
		if _, _, err := e.Run(t.Context(), filepath.Join(to, name)); err == nil || !strings.Contains(err.Error(), "nothing to export") {
			t.Errorf("an export of nothing to %s: %v", name, err)
		}
	}
	var left []string
	err = filepath.WalkDir(to, func(name string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			info, _ := e.Info()
			left = append(left, fmt.Sprintf("%s %v", strings.TrimPrefix(name, to), info.Mode()))
		}
		return err
	})
	want := "/out/DICOM/ST000001/SE000001/IM000001 -rw-------, /out/DICOM/ST000001/SE000001/IM000002 -rw-------, " +
		"/out/DICOM/ST000001/SE000001/IM000003 -rw-------, /out/DICOMDIR -rw-------, /out.zip -rw-------"
	if err != nil || strings.Join(left, ", ") != want {
		t.Errorf("there is %q, %v", left, err)
	}
}
