package shareddata

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Entry is one row of the collection's INDEX.tsv.
type Entry struct {
	Name           string // as in the index, "malformed/..." included
	Path           string // where it lies on this machine
	SOPClass       string // the name of its SOP class, empty where the index has none
	TransferSyntax string // UID, empty where the index has none
	CharacterSet   string // value of (0008,0005)
	Quirk          string // what is odd about it
	Malformed      bool   // kept as broken: a reader may refuse it, but not fall over
}

// Bytes reads the whole file.
func (e Entry) Bytes(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(e.Path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Dir returns the collection's root: it has `data` and `tools` in it. Without
// one the test is skipped, or fails when CI=true.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("LUMEN_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "shared", "data", "INDEX.tsv")); err == nil {
			return filepath.Join(dir, "shared")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	const missing = "no shared/data found beside the module; set LUMEN_SHARED"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// Files lists the whole collection in the order of its index, malformed files
// included.
func Files(t testing.TB) []Entry {
	t.Helper()
	data := filepath.Join(Dir(t), "data")
	f, err := os.Open(filepath.Join(data, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []Entry
	lines := bufio.NewScanner(f)
	lines.Scan() // the column names
	for lines.Scan() {
		col := strings.Split(lines.Text(), "\t")
		if len(col) < 13 {
			t.Fatalf("INDEX.tsv: a row of %d columns", len(col))
		}
		e := Entry{Name: col[1], SOPClass: col[4], TransferSyntax: col[5], CharacterSet: col[7], Quirk: col[12]}
		e.Malformed = strings.HasPrefix(col[0], "malformed/")
		if e.Malformed {
			e.Name = "malformed/" + e.Name
		}
		e.Path = filepath.Join(data, filepath.FromSlash(e.Name))
		entries = append(entries, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return entries
}

// Valid lists the files that are not malformed.
func Valid(t testing.TB) []Entry {
	t.Helper()
	var valid []Entry
	for _, e := range Files(t) {
		if !e.Malformed {
			valid = append(valid, e)
		}
	}
	return valid
}
