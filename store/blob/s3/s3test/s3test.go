// Package s3test runs a real S3 server for tests: versitygw with its POSIX
// backend, on the loopback interface, in a folder of the test. It also has a
// proxy that behaves badly on demand.
//
// The binary is built once by "go install" into .tools/bin at the module's root,
// which git ignores. Without it and without a network the test is skipped, or
// fails where CI=true.
package s3test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lumen/internal/peertest"
)

const (
	module    = "github.com/versity/versitygw/cmd/versitygw"
	version   = "v1.8.0"
	AccessKey = "lumen-test"        // of the server's only user
	SecretKey = "lumen-test-secret" // and that user's secret
	Region    = "us-east-1"
	Bucket    = "archive"
)

// Server is a running server with an empty bucket named [Bucket].
type Server struct {
	Endpoint string // http://127.0.0.1:port
	Dir      string // of the bucket's files

	binary, root, versions string
	cmd                    *exec.Cmd
	exited                 chan struct{}
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server { return start(t, false) }

// StartVersioned runs a server whose bucket keeps versions.
func StartVersioned(t testing.TB) *Server { return start(t, true) }

func start(t testing.TB, versioned bool) *Server {
	t.Helper()
	s := &Server{binary: binary(t), root: t.TempDir()}
	s.Dir = filepath.Join(s.root, Bucket)
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if versioned {
		s.versions = t.TempDir()
	}
	s.Endpoint = "http://127.0.0.1:" + peertest.FreePort(t)
	s.Restart(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// Restart starts a stopped server at the same address with the same content.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	args := []string{"--port", s.Endpoint[len("http://"):], "--access", AccessKey, "--secret", SecretKey, "--region", Region, "--quiet", "--keep-alive", "posix"}
	if s.versions != "" {
		args = append(args, "--versioning-dir", s.versions)
	}
	s.cmd = exec.Command(s.binary, append(args, s.root)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // should the test die
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start versitygw: %v", err)
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		_ = cmd.Wait() // it is killed, so there always is an error
		close(exited)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-s.exited:
			t.Fatal("versitygw ended at once")
		case <-ctx.Done():
			t.Fatalf("versitygw does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop kills the server, as a power failure does.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
		return
	default:
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("stop versitygw: %v", err)
	}
	<-s.exited
}

// binary finds the server's program or builds it.
func binary(t testing.TB) string {
	t.Helper()
	folder := filepath.Join(moduleRoot(t), ".tools", "bin")
	name := filepath.Join(folder, "versitygw")
	if _, err := os.Stat(name); err == nil {
		return name
	}
	if err := build(folder); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return name
}

// build holds a lock, because tests of several packages run at once.
func build(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(folder, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // which unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, "versitygw")); !errors.Is(err, fs.ErrNotExist) {
		return err // nil: another test has built it meanwhile
	}
	cmd := exec.Command("go", "install", module+"@"+version)
	cmd.Dir = os.TempDir() // outside our module
	cmd.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build versitygw %s: %w\n%s", version, err, out)
	}
	return nil
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("there is no go.mod above the test: %v", err)
	return ""
}
