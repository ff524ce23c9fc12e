package e2e_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Our client talks to others' nodes, and sends files as they are.
func TestClientCommands(t *testing.T) {
	sink := startReceiver(t, "SINK")
	peer := "SINK@127.0.0.1:" + sink.port
	lumen := func(args ...string) (string, int) {
		t.Helper()
		return run(t, lumenBinary, args...)
	}
	if out, code := lumen("echo", "--as", "E2E", peer); code != 0 {
		t.Errorf("echo ends with %d: %s", code, out)
	}
	if out, code := lumen("echo", "127.0.0.1:1"); code != 1 {
		t.Errorf("echo to nobody ends with %d: %s", code, out)
	}

	rng := rngFor(t)
	dir := t.TempDir()
	sent := map[string][]byte{}
	for i := range 3 {
		s := still{Study: "2.25.801", Series: "2.25.801.1", Instance: uid(rng), Name: "Sent^By", ID: "C1", Number: i, Size: 100_000}
		sent[s.Instance] = s.dataSet(rng)
		announced := s.Instance
		if i == 0 { // the File Meta is of another instance: the data set counts
			announced = "2.25.800"
		}
		save(t, dir, file(vlEndoscopic, announced, jpegBaseline, sent[s.Instance]))
	}
	save(t, dir, []byte("not DICOM"))
	n := startNode(t, "")
	for _, to := range []string{peer, n.dimse} {
		if out, code := lumen("send", to, dir); code != 0 || !strings.Contains(out, "3 sent, 1 not DICOM, 0 refused") {
			t.Errorf("send ends with %d: %s", code, out)
		}
	}
	received := sink.take(t)
	if len(received) != len(sent) {
		t.Errorf("storescp has %d files", len(received))
	}
	for _, b := range received {
		if p, err := parsePart10(b); err != nil || !bytes.Equal(p.DataSet, sent[p.SOPInstance]) || p.TransferSyntax != jpegBaseline {
			t.Errorf("storescp received something else: %v", err)
		}
	}
	out, err := exec.CommandContext(t.Context(), lumenBinary, "find", n.dimse, "PatientName=SENT*", "NumberOfStudyRelatedInstances=").Output()
	if err != nil || jsonValue(append(append([]byte("["), bytes.TrimSpace(out)...), ']'), "0020000D") != "2.25.801" {
		t.Errorf("find: %v %s", err, out)
	}
	if out, code := lumen("find", n.dimse, "Nonsense=1"); code != 1 || !strings.Contains(out, "keyword") {
		t.Errorf("find by nonsense ends with %d: %s", code, out)
	}
}
