package e2e_test

import (
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNodeIsSafeWithoutConfiguration(t *testing.T) {
	n := startNode(t, "")
	for _, f := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o700}, {"keys", 0o700}, {"keys/root", 0o600}, {"keys/journal-default", 0o600}, {"run/admin.sock", 0o600}} {
		info, err := os.Stat(filepath.Join(n.data, f.name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != f.mode {
			t.Errorf("%s has mode %04o, want %04o", f.name, info.Mode().Perm(), f.mode)
		}
	}
	if lines := strings.SplitN(n.log.String(), "\n", 3); len(lines) < 3 || !strings.Contains(lines[0], n.dimse) || !strings.Contains(lines[1], n.http) {
		t.Errorf("the log does not begin with the addresses: %q", lines)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		out, err := exec.CommandContext(t.Context(), lumenBinary, "serve", "--data", t.TempDir()+"/data", "--http", addr).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "loopback") {
			t.Errorf("--http %s: %v %s", addr, err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), lumenBinary, "serve", "--data", n.data, "--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another lumen process") {
		t.Errorf("a second node on the folder: %v %s", err, out)
	}
}

// A page in a browser may not read the node under a name of its own.
func TestHostHeaderIsChecked(t *testing.T) {
	n := startNode(t, "http: {hosts: [pacs.example]}\n")
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "127.0.0.1": http.StatusOK, "[::1]:80": http.StatusOK, "pacs.example:8104": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "127.0.0.1.evil.example": http.StatusMisdirectedRequest, "192.0.2.1": http.StatusMisdirectedRequest,
	} {
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url("/healthz"), nil)
		if err != nil {
			t.Fatal(err)
		}
		rq.Host = host
		rsp, err := http.DefaultClient.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		rsp.Body.Close()
		if rsp.StatusCode != status {
			t.Errorf("Host: %s is answered %s", host, rsp.Status)
		}
	}
}

// Commands do the same whether the node runs or not.
func TestCommandsWithAndWithoutTheNode(t *testing.T) {
	n := startNode(t, "")
	n.warmUp(t)
	for _, running := range []bool{true, false} {
		n.clean()
		for _, format := range []string{"text", "json", "dicom", "fhir"} {
			out, code := n.lumen("audit", "show", "--format", format)
			if code != 0 || !strings.Contains(out, "110104") || !strings.Contains(out, "2.25.76.1.1") {
				t.Errorf("running %t: lumen audit show as %s ends with %d: %s", running, format, code, tail(out, 500))
			}
		}
		if running {
			n.stop()
		}
	}
	if out, code := n.lumen("check", "--nonsense"); code != 2 {
		t.Errorf("an unknown flag ends with %d: %s", code, out)
	}
	if out, code := newNode(t, "", "").lumen("check"); code != 1 {
		t.Errorf("check of a folder that is not there ends with %d: %s", code, out)
	}
}

// A node that is told to stop finishes what it accepted.
func TestStopFinishesWhatWasAccepted(t *testing.T) {
	n := startNode(t, "")
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	rng := rngFor(t)
	s := still{Study: "2.25.701", Series: "2.25.701.1", Instance: uid(rng), Name: "Slow^Tower", ID: "S1", Size: 1 << 20}
	data := s.dataSet(rng)
	r, w := io.Pipe()
	answered := make(chan uint16, 1)
	go func() {
		status, err := c.store(vlEndoscopic, s.Instance, r)
		if err != nil {
			t.Error(err)
		}
		answered <- status
	}()
	if _, err := w.Write(data[:len(data)/2]); err != nil {
		t.Fatal(err)
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.until("it stops taking others", startTimeout, func() bool {
		other, err := net.Dial("tcp", n.dimse)
		if err == nil {
			other.Close()
		}
		return err != nil
	})
	if _, err := w.Write(data[len(data)/2:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if status := <-answered; status != 0 {
		t.Errorf("the store under way is answered %04x", status)
	}
	c.abort()
	<-n.exited
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the node ended with code %d", code)
	}
	n.start()
	acknowledged{s, sha256.Sum256(data)}.isThere(t, n)
	n.clean()
}
