package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lumen/internal/loopback"
)

// lumenBinary is the lumen that all tests run. $LUMEN_BINARY names one that is
// built already.
var lumenBinary = os.Getenv("LUMEN_BINARY")

// TestMain builds outside, where a network may be needed, and tests inside, where
// nobody else reaches storescp and Orthanc, which listen on all interfaces.
func TestMain(m *testing.M) {
	if os.Getenv(attackedAddr) != "" {
		os.Exit(attackProgram())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if lumenBinary == "" {
		dir, err := os.MkdirTemp("", "lumen-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		lumenBinary = filepath.Join(dir, "lumen")
		build := exec.Command("go", "build", "-o", lumenBinary, "lumen/cmd/lumen")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build lumen:", err)
			return 1
		}
		os.Setenv("LUMEN_BINARY", lumenBinary)
	}
	return loopback.Run(m.Run)
}
