package e2e_test

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lumen/internal/shareddata"
)

// An archive that is loaded from files gives the same files back, with a
// DICOMDIR that DCMTK reads.
func TestImportedArchiveEqualsItsExport(t *testing.T) {
	needs(t, "dcmdump", python)
	in := t.TempDir()
	files := map[string]part10{} // by the SOP Instance UID in the data set
	studies := map[string]bool{}
	var paths []string
	entries := shareddata.Valid(t)
	for _, e := range entries {
		paths = append(paths, e.Path)
	}
	said := describe(t, paths)
	for _, e := range entries {
		b, f := e.Bytes(t), said[e.Path]
		p, err := parsePart10(b)
		if _, seen := files[f.Instance]; err != nil || seen || f.Study == "" || f.Series == "" || f.Instance == "" {
			continue
		}
		files[f.Instance] = p
		studies[f.Study] = true
		save(t, in, b)
	}
	if err := os.WriteFile(filepath.Join(in, "notes.txt"), []byte("not DICOM"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "")
	out, code := n.lumen("import", in)
	if code != 0 || !strings.Contains(out, "1 not DICOM") {
		t.Fatalf("import ends with %d: %s", code, tail(out, 1000))
	}
	exported := 0
	var dirs, directories []string
	for i, study := range slices.Sorted(maps.Keys(studies)) {
		if i == 3 {
			n.stop() // commands work without the node as well
		} else if i == 6 {
			n.start()
		}
		dir := filepath.Join(t.TempDir(), "out")
		if out, code := n.lumen("export", "--study", study, dir); code != 0 {
			t.Fatalf("export ends with %d: %s", code, tail(out, 500))
		}
		exported += sameFiles(t, files, os.DirFS(dir))
		dirs, directories = append(dirs, dir), append(directories, filepath.Join(dir, "DICOMDIR"))
	}
	if out, code := run(t, "dcmdump", append([]string{"-q", "+P", "FileSetID"}, directories...)...); code != 0 || strings.Count(out, "[LUMEN]") != len(dirs) {
		t.Errorf("dcmdump of the DICOMDIRs: %s", tail(out, 500))
	}
	if out, code := run(t, python, append([]string{"testdata/dicomdir.py"}, dirs...)...); code != 0 {
		t.Errorf("pydicom does not find what a DICOMDIR lists: %s", tail(out, 500))
	}
	if exported != len(files) {
		t.Errorf("%d files exported of %d imported", exported, len(files))
	}
}

// A ZIP archive goes in and out like a folder, and an import that is repeated
// with its state goes on where it stopped.
func TestZipGoesInAndOut(t *testing.T) {
	rng := rngFor(t)
	study := uid(rng)
	files := map[string]part10{}
	name := filepath.Join(t.TempDir(), "in.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 5 {
		s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Zip^In", ID: "Z1", Number: i, Size: 10_000}
		data := s.dataSet(rng)
		files[s.Instance] = part10{SOPClass: vlEndoscopic, SOPInstance: s.Instance, TransferSyntax: jpegBaseline, DataSet: data}
		w, err := z.Create("folder/" + s.Instance)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(file(vlEndoscopic, s.Instance, jpegBaseline, data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "")
	state := filepath.Join(t.TempDir(), "state")
	for _, want := range []string{"5 stored", "5 passed over"} {
		if out, code := n.lumen("import", "--state", state, name); code != 0 || !strings.Contains(out, want) {
			t.Errorf("import ends with %d: %s", code, out)
		}
	}
	if out, code := n.lumen("import", name); code != 0 || !strings.Contains(out, "5 were there already") {
		t.Errorf("import ends with %d: %s", code, out)
	}
	target := filepath.Join(t.TempDir(), "out.zip")
	if out, code := n.lumen("export", "--patient", "Z1", target); code != 0 {
		t.Fatalf("export ends with %d: %s", code, out)
	}
	r, err := zip.OpenReader(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := sameFiles(t, files, r); got != 5 {
		t.Errorf("%d files exported", got)
	}
	if out, code := n.lumen("export", "--patient", "nobody", filepath.Join(t.TempDir(), "none.zip")); code != 1 || !strings.Contains(out, "nothing to export") {
		t.Errorf("export of nobody ends with %d: %s", code, out)
	}
}

// sameFiles compares exported files with what went in and counts them.
func sameFiles(t *testing.T, want map[string]part10, exported fs.FS) int {
	t.Helper()
	count := 0
	err := fs.WalkDir(exported, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "DICOMDIR" {
			return err
		}
		f, err := exported.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		p, err := parsePart10(b)
		if err != nil {
			return err
		}
		w := want[p.SOPInstance]
		if !bytes.Equal(p.DataSet, w.DataSet) || p.TransferSyntax != w.TransferSyntax {
			t.Errorf("%s in %s comes back otherwise: %d bytes, were %d", name, w.TransferSyntax, len(p.DataSet), len(w.DataSet))
		}
		count++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return count
}
