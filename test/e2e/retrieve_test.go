package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Our client has a node send elsewhere, and fetches from it.
func TestMoveAndGetCommands(t *testing.T) {
	sink := startReceiver(t, "SINK")
	n := startNode(t, "destinations: [{title: SINK, address: \"127.0.0.1:"+sink.port+"\"}]\n")
	rng := rngFor(t)
	dir := t.TempDir()
	sent := map[string][]byte{}
	for i := range 3 {
		s := still{Study: "2.25.811", Series: "2.25.811.1", Instance: uid(rng), Name: "Fetched^By", ID: "C2", Number: i, Size: 50_000}
		sent[s.Instance] = s.dataSet(rng)
		save(t, dir, file(vlEndoscopic, s.Instance, jpegBaseline, sent[s.Instance]))
	}
	if out, code := run(t, lumenBinary, "send", n.dimse, dir); code != 0 {
		t.Fatal(out)
	}
	if out, code := run(t, lumenBinary, "move", "--to", "SINK", n.dimse, "StudyInstanceUID=2.25.811"); code != 0 || !strings.Contains(out, "3 done, 0 failed") {
		t.Errorf("move ends with %d: %s", code, out)
	}
	into := filepath.Join(t.TempDir(), "got")
	if out, code := run(t, lumenBinary, "get", "--into", into, n.dimse, "StudyInstanceUID=2.25.811"); code != 0 || !strings.Contains(out, "3 done, 0 failed") {
		t.Errorf("get ends with %d: %s", code, out)
	}
	got := map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(into, "*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = b
	}
	for how, files := range map[string]map[string][]byte{"move": sink.take(t), "get": got} {
		if len(files) != len(sent) {
			t.Errorf("%s brings %d files", how, len(files))
		}
		for _, b := range files {
			if p, err := parsePart10(b); err != nil || !bytes.Equal(p.DataSet, sent[p.SOPInstance]) || p.TransferSyntax != jpegBaseline {
				t.Errorf("%s brings something else: %v", how, err)
			}
		}
	}
	if out, code := run(t, lumenBinary, "move", "--to", "NOBODY", n.dimse, "StudyInstanceUID=2.25.811"); code != 1 {
		t.Errorf("move to nobody ends with %d: %s", code, out)
	}
}
