package e2e_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lumen/internal/peertest"
	"lumen/internal/shareddata"
)

// An archive that is loaded from files gives the same files back, with a
// DICOMDIR that DCMTK reads.
func TestImportedArchiveEqualsItsExport(t *testing.T) {
	peertest.Needs(t, "dcmdump", "dciodvfy", python)
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
		if out, code := n.lumen("export", "--study", study, "--to", dir); code != 0 {
			t.Fatalf("export ends with %d: %s", code, tail(out, 500))
		}
		exported += sameFiles(t, files, os.DirFS(dir))
		dirs, directories = append(dirs, dir), append(directories, filepath.Join(dir, "DICOMDIR"))
	}
	if out, code := run(t, "dcmdump", append([]string{"-q", "+P", "FileSetID"}, directories...)...); code != 0 || strings.Count(out, "[LUMEN]") != len(dirs) {
		t.Errorf("dcmdump of the DICOMDIRs: %s", tail(out, 500))
	}
	for _, d := range directories {
		out, _ := run(t, "dciodvfy", d) // its code is that of warnings as well
		for line := range strings.Lines(out) {
			// Some files of the collection have wrong values in them, as their DICOMDIR then has.
			for _, lacks := range []string{"Error - Missing", "Error - Empty", "Error - Bad", "Error - Unrecognized"} {
				if strings.HasPrefix(line, lacks) {
					t.Errorf("dciodvfy of a DICOMDIR: %s", line)
				}
			}
		}
	}
	if out, code := run(t, python, append([]string{"testdata/dicomdir.py"}, dirs...)...); code != 0 {
		t.Errorf("pydicom does not find what a DICOMDIR lists: %s", tail(out, 500))
	}
	if exported != len(files) {
		t.Errorf("%d files exported of %d imported", exported, len(files))
	}
}

// A ZIP archive goes in and out like a folder.
func TestZipGoesInAndOut(t *testing.T) {
	stills := makeStills(t, 5, 10_000)
	name := filepath.Join(t.TempDir(), "in.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, s := range stills.files {
		w, err := z.Create("folder/" + strconv.Itoa(i) + "\x1b[2J")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if w, err := z.Create("folder/bad\x1b[2J"); err != nil {
		t.Fatal(err)
	} else if _, err := w.Write(stills.files[0][:300]); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "")
	n.expect(1, "5 stored, 0 were there already, 0 put in quarantine, 1 refused, 0 not DICOM", "import", name)
	if out, _ := n.lumen("import", name); !strings.Contains(out, "0 stored, 5 were there already") || strings.Contains(out, "\x1b") {
		t.Errorf("the second import says %q", out)
	}
	target := filepath.Join(t.TempDir(), "out.zip")
	n.expect(0, "5 files", "export", "--patient", stills.id, "--to", target)
	r, err := zip.OpenReader(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := sameFiles(t, stills.parsed, r); got != 5 {
		t.Errorf("%d files exported", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(target), "*")); len(left) != 1 {
		t.Errorf("beside the archive lies %q", left)
	}
	n.expect(1, "writes over nothing", "export", "--patient", stills.id, "--to", target)
}

// An export is whole or leaves nothing; it never mixes patients whose ids are
// alike.
func TestExportWritesOverNothing(t *testing.T) {
	stills := makeStills(t, 2, 1000)
	n := startNode(t, "")
	in, other := t.TempDir(), makeStills(t, 1, 1000, "OTHER")
	for _, f := range slices.Concat(stills.files, other.files) {
		save(t, in, f)
	}
	n.expect(0, "3 stored", "import", in)
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.expect(1, "not empty", "export", "--patient", stills.id, "--to", used)
	for _, nobody := range [][]string{{"--patient", "nobody"}, {"--patient", "*"}, {"--study", "2.25.404"}, {"--patient", stills.id, "--patient-issuer", "NOBODY"}} {
		to := filepath.Join(t.TempDir(), "none")
		n.expect(1, "nothing to export", append([]string{"export", "--to", to}, nobody...)...)
		if _, err := os.Stat(to); !os.IsNotExist(err) {
			t.Errorf("an export of nothing leaves a folder: %v", err)
		}
	}
	n.expect(1, "several issuers", "export", "--patient", stills.id, "--to", filepath.Join(t.TempDir(), "both"))
	n.expect(0, "1 files", "export", "--patient", stills.id, "--patient-issuer", "OTHER", "--to", t.TempDir()) // empty is as good as new
	n.expect(0, "protocol=EXPORT", "audit", "show")
	n.clean()
}

// An import that was killed goes on when it is run again; nothing is lost or
// doubled.
func TestImportGoesOnAfterAKill(t *testing.T) {
	stills := makeStills(t, 60, 200_000)
	in := t.TempDir()
	for _, f := range stills.files {
		save(t, in, f)
	}
	for _, name := range []string{"notes.txt", "empty", "DICOMDIR"} { // none of them is what its name says
		if err := os.WriteFile(filepath.Join(in, name), []byte(strings.Repeat("not DICOM ", len(name)-5)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := startNode(t, "")
	cmd := exec.Command(lumenBinary, "import", "--data", n.data, "--config", n.config, "--workers", "1", in)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.until("some of it is in", startTimeout, func() bool { return len(n.qido(n.url("/dicom-web/instances"), "00080018")) >= 10 })
	n.kill()
	if err := cmd.Wait(); err == nil {
		t.Error("an import ends well although its node was killed")
	}
	for i := range 4 { // it does not need the node, and may be killed itself
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*60*time.Millisecond)
		exec.CommandContext(ctx, lumenBinary, "import", "--data", n.data, "--config", n.config, in).Run() // ends as it ends
		cancel()
	}
	out, code := n.lumen("import", in)
	var stored, duplicate int
	if _, err := fmt.Sscanf(out, "%d stored, %d were there already", &stored, &duplicate); err != nil || code != 0 || stored+duplicate != 60 || duplicate < 10 {
		t.Errorf("the last import ends with %d: %s", code, out)
	}
	n.expect(0, "0 stored, 60 were there already, 0 put in quarantine, 0 refused, 3 not DICOM; 0.0 MB", "import", "--workers", "2", in)
	n.clean()
	dir := filepath.Join(t.TempDir(), "out")
	n.expect(0, "60 files", "export", "--patient", stills.id, "--to", dir)
	if got := sameFiles(t, stills.parsed, os.DirFS(dir)); got != 60 {
		t.Errorf("%d files exported", got)
	}
}

// Values in imported files, and in their names, are nowhere in clear.
func TestImportLeavesNothingInClear(t *testing.T) {
	p := plant(rngFor(t))
	in := filepath.Join(t.TempDir(), p.Name)
	if err := os.Mkdir(in, 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, in, p.file("first"))
	save(t, in, p.file("other content"))
	save(t, in, p.file("cut")[:700]) // before its study
	n := startNode(t, "")
	n.expect(1, "1 stored, 0 were there already, 1 put in quarantine, 1 refused", "import", in)
	n.expect(1, "1 were there already", "import", in)
	out := filepath.Join(t.TempDir(), p.ID)
	n.expect(0, "1 files", "export", "--patient", p.ID, "--to", out)
	n.expect(1, "nothing to export", "export", "--study", p.Instance, "--to", out+"2")
	_, metrics := n.get(n.url("/metrics"), "text/plain")
	n.kill()
	p.nowhere(t, n, metrics, n.data)
	n.start()
	n.stop()
	n.expect(0, "1 files", "export", "--study", p.Study, "--to", out+"3")
	p.nowhere(t, n, metrics, n.data)
}

// madeStills are stills of one patient as files.
type madeStills struct {
	id     string
	files  [][]byte
	parsed map[string]part10
}

// makeStills makes files of one study, the same ones in every run. An issuer
// makes them those of another patient with the same id.
func makeStills(t *testing.T, count, size int, issuer ...string) madeStills {
	t.Helper()
	rng := rngFor(t)
	for range len(issuer) * 1000 {
		rng.Uint64()
	}
	m := madeStills{id: "Z1", parsed: map[string]part10{}}
	study := uid(rng)
	for i := range count {
		s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Zip^In", ID: m.id, Number: i, Size: size}
		if len(issuer) > 0 {
			s.Issuer = issuer[0]
		}
		data := s.dataSet(rng)
		m.files = append(m.files, file(vlEndoscopic, s.Instance, jpegBaseline, data))
		m.parsed[s.Instance] = part10{SOPClass: vlEndoscopic, SOPInstance: s.Instance, TransferSyntax: jpegBaseline, DataSet: data}
	}
	return m
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
