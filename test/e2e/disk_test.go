package e2e_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"lumen/internal/peertest"
)

// On a disk that fills up ingest stops while there is room for viewing; when
// not even the journal can append nothing is served; with space again the node
// goes on as if nothing had been.
func TestFullDiskStopsIngestBeforeViewing(t *testing.T) {
	peertest.Needs(t, "findscu", "movescu", "storescp")
	dir := smallDisk(t, "32m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := startReceiver(t, "SINK")
	n := newNode(t, dir, "storage: {min_free: 6MiB, min_free_percent: 0}\naudit: {segment_size: 256KiB}\n"+
		"destinations:\n- {title: SINK, address: \"127.0.0.1:"+sink.port+"\"}\n")
	n.start()

	kept := n.storeUntilRefused(t)
	if len(kept) < 8 {
		t.Errorf("only %d stills of 500 kB fit on 32 MiB", len(kept))
	}
	n.serves(t, sink, kept)

	filler := fill(t, dir)
	n.exhaustJournal(t)
	n.servesNothing(t, sink, kept[0])

	for _, name := range []string{filler, ballast} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	n.until("the node is ready again", startTimeout, func() bool {
		rsp, _ := n.get(n.url("/readyz"), "*/*")
		return rsp.StatusCode == http.StatusOK
	})
	kept = append(kept, n.storeUntilRefused(t)...)
	n.serves(t, sink, kept)
	n.clean()
	n.stop()
	n.start() // what it wrote while the disk was full is whole
	n.serves(t, sink, kept)
	n.clean()
}

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("lumen-e2e", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mount a small disk:", err)
		}
		t.Skip("mounting a small disk needs root:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// storeUntilRefused pushes stills until the node has no room, and returns those
// that it took.
func (n *node) storeUntilRefused(t *testing.T) []still {
	t.Helper()
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.abort()
	var kept []still
	rng := rngFor(t)
	study := uid(rng)
	for i := range 100 {
		s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Full^Disk", ID: "D" + strconv.Itoa(i), Number: i, Size: 500_000}
		status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(s.dataSet(rng)))
		switch {
		case err != nil:
			t.Fatal(err)
		case status == 0xa700:
			return kept
		case status != 0:
			t.Fatalf("C-STORE on a full disk answers %04x", status)
		}
		kept = append(kept, s)
	}
	t.Fatal("ingest goes on on a full disk")
	return nil
}

// serves expects every way of viewing to work.
func (n *node) serves(t *testing.T, sink receiver, kept []still) {
	t.Helper()
	host, port := n.hostPort()
	for _, s := range kept {
		if parts := n.retrieve(n.url("/dicom-web/studies/%s/series/%s/instances/%s", s.Study, s.Series, s.Instance)); len(parts) != 1 {
			t.Errorf("still %d is not served", s.Number)
		}
	}
	study := kept[0].Study
	if found := n.findStudies("StudyInstanceUID=" + study); len(found) != 1 {
		t.Error("C-FIND does not find it")
	}
	if found := n.qidoStudies("StudyInstanceUID", study); len(found) != 1 {
		t.Error("QIDO-RS does not find it")
	}
	run(t, "movescu", "-S", "-aem", "SINK", "-k", "QueryRetrieveLevel=IMAGE", "-k", "StudyInstanceUID="+study,
		"-k", "SeriesInstanceUID="+kept[0].Series, "-k", "SOPInstanceUID="+kept[0].Instance, host, port)
	if files := sink.take(t); len(files) != 1 {
		t.Errorf("C-MOVE brings %d files", len(files))
	}
}

// fill writes a file until the disk of dir has not a byte left.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return f.Name()
}

// exhaustJournal asks until the journal's reserve is used up.
func (n *node) exhaustJournal(t *testing.T) {
	t.Helper()
	for range 20_000 {
		rsp, err := http.Get(n.url("/dicom-web/studies?limit=1"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, rsp.Body)
		rsp.Body.Close()
		switch rsp.StatusCode {
		case http.StatusOK:
		case http.StatusServiceUnavailable:
			return
		default:
			t.Fatalf("QIDO-RS answers %s", rsp.Status)
		}
	}
	t.Fatal("the journal does not fill up")
}

var finalResponse = regexp.MustCompile(`Received Final (?:Find|Move) Response \((.*)\)`)

// servesNothing expects that no byte of patient data leaves by any way.
func (n *node) servesNothing(t *testing.T, sink receiver, s still) {
	t.Helper()
	host, port := n.hostPort()
	for _, path := range []string{
		"/dicom-web/studies", "/dicom-web/studies/" + s.Study, "/dicom-web/studies/" + s.Study + "/metadata",
		"/dicom-web/studies/" + s.Study + "/series/" + s.Series + "/instances/" + s.Instance + "/frames/1", "/readyz",
	} {
		if rsp, _ := n.get(n.url("%s", path), "*/*"); rsp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s answers %s while the journal cannot append", path, rsp.Status)
		}
	}
	query := []string{"-v", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + s.Study}
	for name, args := range map[string][]string{"findscu": nil, "movescu": {"-aem", "SINK"}} {
		out, _ := run(t, name, append(append(query[:len(query):len(query)], args...), host, port)...)
		if m := finalResponse.FindStringSubmatch(out); m != nil && m[1] == "Success" || bytes.Contains([]byte(out), []byte("Pending")) {
			t.Errorf("%s is answered while the journal cannot append: %s", name, tail(out, 500))
		}
	}
	if files := sink.take(t); len(files) != 0 {
		t.Errorf("C-MOVE brings %d files while the journal cannot append", len(files))
	}
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		return // not even an association: as good
	}
	defer c.abort()
	rng := rngFor(t)
	other := still{Study: uid(rng), Series: uid(rng), Instance: uid(rng), Size: 1000}
	if status, err := c.store(vlEndoscopic, other.Instance, bytes.NewReader(other.dataSet(rng))); err == nil && status != 0xa700 {
		t.Errorf("C-STORE answers %04x while the journal cannot append", status)
	}
}
