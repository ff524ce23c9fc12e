package test_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport says for each package which of our own packages it may import.
// Imports point one way: protocols over the archive, the archive over sealing
// and data sets, nothing over the wiring. "*" allows all.
var mayImport = map[string][]string{
	"access":              {},
	"audit":               {"internal/durable"},
	"cmd/lumen":           {"audit", "config", "dicom", "dicom/dict", "internal/durable", "internal/node", "internal/scu", "internal/transfer"},
	"config":              {"access"},
	"dicom":               {"dicom/dict"},
	"dicom/dict":          {},
	"dicom/pixel":         {"dicom", "dicom/dict"},
	"dimse":               {"dicom", "dicom/dict", "dimse/pdu"},
	"dimse/pdu":           {},
	"internal/durable":    {},
	"internal/loopback":   {},
	"internal/media":      {"dicom", "dicom/dict"},
	"internal/node":       {"*"},
	"internal/scu":        {"dicom", "dicom/dict", "dimse", "dimse/pdu"},
	"internal/shareddata": {},
	"internal/transfer":   {"dicom", "dicom/dict", "internal/durable", "internal/media", "internal/node"},
	"scp":                 {"access", "dicom", "dicom/dict", "dimse", "dimse/pdu", "store"},
	"store":               {"access", "dicom", "dicom/dict", "internal/durable", "store/blob", "store/seal"},
	"store/blob":          {},
	"store/blob/dir":      {"internal/durable", "store/blob"},
	"store/blob/mem":      {"store/blob"},
	"store/blob/s3":       {"store/blob", "store/seal"},
	"store/blob/spool":    {"internal/durable", "store/blob"},
	"store/blob/stage":    {"internal/durable", "store/blob"},
	"store/index":         {"access", "dicom", "dicom/dict", "internal/durable", "store", "store/seal"},
	"store/seal":          {"internal/durable", "store/blob"},
	"store/seal/backup":   {"store/blob", "store/seal"},
	"wado":                {"access", "dicom", "dicom/dict", "store"},
}

// onlyIn says which packages alone may import a module from outside.
var onlyIn = map[string][]string{
	"go.etcd.io/bbolt":          {"store/index"},
	"github.com/minio/minio-go": {"store/blob/s3"},
	"go.yaml.in/yaml":           {"config"},
	"golang.org/x/text":         {"dicom"},
	"golang.org/x/mod":          {"audit", "internal/node"},
	"filippo.io/age":            {"store/seal/backup"},
}

// isTool knows what is beside the node: benches, generators and packages for
// tests. They may import what they measure, make or test.
func isTool(pkg string) bool {
	return strings.HasPrefix(pkg, "bench") || strings.HasSuffix(pkg, "test") || strings.HasPrefix(pkg, "test") || strings.Contains(pkg, "/internal/gen") || strings.HasSuffix(pkg, "/internal/conformance")
}

func TestImportsPointOneWay(t *testing.T) {
	for _, pkg := range packages(t) {
		if isTool(pkg.name) {
			continue
		}
		allowed, known := mayImport[pkg.name]
		if !known {
			t.Errorf("%s is not in the map of the house: add it to mayImport and to docs/ARCHITECTURE.md", pkg.name)
			continue
		}
		for _, imported := range pkg.imports {
			if inner, ok := strings.CutPrefix(imported, "lumen/"); ok {
				if !slices.Contains(allowed, inner) && !slices.Contains(allowed, "*") {
					t.Errorf("%s may not import %s", pkg.name, inner)
				}
				continue
			}
			for module, users := range onlyIn {
				if strings.HasPrefix(imported, module) && !slices.Contains(users, pkg.name) {
					t.Errorf("%s may not import %s", pkg.name, imported)
				}
			}
			if pkg.name == "dicom" && strings.Contains(imported, ".") && !strings.HasPrefix(imported, "golang.org/x/text") {
				t.Errorf("dicom may import only the standard library and golang.org/x/text, not %s", imported)
			}
		}
	}
}

type pkg struct {
	name    string
	imports []string
}

// packages lists our packages and what their non-test files import.
func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports", "lumen/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ours := strings.CutPrefix(p.ImportPath, "lumen/"); ours {
			found = append(found, pkg{name, p.Imports})
		}
	}
}
