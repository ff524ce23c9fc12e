package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a node may take until it is ready: enough for a busy
// machine of two cores.
const startTimeout = 30 * time.Second

// node is a running lumen with its data folder.
type node struct {
	t      *testing.T
	data   string
	config string // path of its configuration file
	dimse  string // HOST:PORT
	http   string
	flags  []string // of serve
	cmd    *exec.Cmd
	log    *logBuffer
	exited chan struct{} // closed once Wait has returned
}

// logBuffer collects standard output and error of all runs of a node.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newNode makes a node that does not run yet. Its data folder is below dir, or
// a temporary one. settings are lines of YAML beside the defaults, which suit
// tests: small journal segments, little free space needed, debug logs.
func newNode(t *testing.T, dir, settings string) *node {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	n := &node{t: t, data: filepath.Join(dir, "data"), config: filepath.Join(t.TempDir(), "lumen.yaml"), log: &logBuffer{},
		flags: []string{"--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0"}}
	for _, s := range []struct{ key, lines string }{
		{"storage:", "storage: {min_free: 1MiB, min_free_percent: 0}\n"},
		{"audit:", "audit: {segment_size: 1MiB}\n"},
		{"log:", "log: {level: debug}\n"},
	} {
		if !strings.Contains(settings, s.key) {
			settings += s.lines
		}
	}
	if err := os.WriteFile(n.config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("log of the node:\n%s", tail(n.log.String(), 4000))
		}
	})
	return n
}

// startNode makes a node and starts it. With a bucket it is not ready before
// somebody has decided about a backup of its root key.
func startNode(t *testing.T, settings string) *node {
	t.Helper()
	n := newNode(t, "", settings)
	n.launch()
	if strings.Contains(settings, "bucket:") {
		n.expect(0, "", "keys", "backup", "--waive")
	}
	n.untilReady()
	return n
}

// start runs the node until it is ready.
func (n *node) start() {
	n.t.Helper()
	n.launch()
	n.untilReady()
}

func (n *node) untilReady() {
	n.t.Helper()
	n.until("the node is ready", startTimeout, func() bool { return n.readiness() == http.StatusOK })
}

// readiness is the status that /readyz answers with, 0 when nobody listens.
func (n *node) readiness() int {
	rsp, err := http.Get("http://" + n.http + "/readyz")
	if err != nil {
		return 0
	}
	rsp.Body.Close()
	return rsp.StatusCode
}

// launch runs the node until it listens.
func (n *node) launch() {
	n.t.Helper()
	addrFile := filepath.Join(n.data, "run", "addr.json")
	os.Remove(addrFile)
	n.cmd = exec.Command(lumenBinary, append([]string{"serve", "--config", n.config, "--data", n.data}, n.flags...)...)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		close(exited)
	}(n.cmd, n.exited)
	n.until("the node listens", startTimeout, func() bool {
		text, err := os.ReadFile(addrFile)
		if err != nil {
			return false
		}
		var a struct{ DIMSE, HTTP string }
		if json.Unmarshal(text, &a) != nil {
			return false
		}
		n.dimse, n.http = a.DIMSE, a.HTTP
		return true
	})
}

// until polls a condition of another process; it fails the test when the node
// exits or the time is over first.
func (n *node) until(what string, limit time.Duration, ok func() bool) {
	n.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-n.exited:
			n.t.Fatalf("the node exited before %s: %v\n%s", what, n.cmd.ProcessState, tail(n.log.String(), 4000))
		case <-deadline:
			n.t.Fatalf("%s: not within %v", what, limit)
		case <-tick.C:
		}
	}
}

// running reports whether the process is alive.
func (n *node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill ends the process as a power failure would.
func (n *node) kill() {
	if n.running() {
		n.cmd.Process.Kill()
		<-n.exited
	}
}

// stop asks the node to finish and expects it to do so without complaint.
func (n *node) stop() {
	n.t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(60 * time.Second):
		n.t.Fatal("the node does not stop")
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.t.Fatalf("the node ended with code %d", code)
	}
}

// lumen runs another command of the binary on the node's data folder.
func (n *node) lumen(args ...string) (output string, code int) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), lumenBinary, append(args, "--data", n.data, "--config", n.config)...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// clean expects the checks of the archive and of the journal to find nothing.
func (n *node) clean() {
	n.t.Helper()
	for _, args := range [][]string{{"check"}, {"audit", "verify"}} {
		if out, code := n.lumen(args...); code != 0 {
			n.t.Errorf("lumen %s ends with code %d:\n%s", strings.Join(args, " "), code, tail(out, 4000))
		}
	}
}

func (n *node) hostPort() (host, port string) {
	host, port, err := net.SplitHostPort(n.dimse)
	if err != nil {
		n.t.Fatal(err)
	}
	return host, port
}

func (n *node) url(format string, args ...any) string {
	return "http://" + n.http + fmt.Sprintf(format, args...)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "[...] " + s[len(s)-n:]
	}
	return s
}
