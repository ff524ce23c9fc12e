package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lumen/internal/peertest"
)

// python is the interpreter that has pydicom on Debian.
const python = "/usr/bin/python3"

// facts is what pydicom says of a file.
type facts struct {
	Study, Series, Instance   string
	Name, ID, Date, Accession string
	Readable                  bool // to the end, every element
	Error                     string
}

// describe lets pydicom read files, in one process.
func describe(t *testing.T, files []string) map[string]facts {
	t.Helper()
	peertest.Needs(t, python)
	cmd := exec.CommandContext(t.Context(), python, "testdata/describe.py")
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("describe.py:", err)
	}
	var all map[string]facts
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// describeAll fills in the facts of all samples that were sent.
func describeAll(t *testing.T, all []*sample) {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for i, s := range all {
		if s.sent {
			name := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(name, s.written, 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, name)
		}
	}
	described := describe(t, files)
	for i, s := range all {
		s.facts = described[filepath.Join(dir, fmt.Sprint(i))]
	}
}
