// Package peertest runs programs of other makers in tests, and waits for them.
package peertest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"lumen/internal/loopback"
)

// Needs says which programs a test runs. A missing one skips the test, and fails
// it in CI (CI=true), so that nobody takes silence for success.
func Needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// Command is a program that a test needs. It is killed when the test ends.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	Needs(t, name)
	return exec.CommandContext(t.Context(), name, args...)
}

// Run expects a program to succeed and returns what it prints.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// FreePort is loopback.FreePort, as programs take it.
func FreePort(t testing.TB) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// patience is how long Eventually waits: enough for a busy machine.
const patience = 10 * time.Second

// Eventually waits for a condition that another process or goroutine brings about.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
