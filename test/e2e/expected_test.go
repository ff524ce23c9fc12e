package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// checkExpected compares what storescu could send with the checked-in list: a
// file must not fall out of the tests because a program changed.
func checkExpected(t *testing.T, all []*sample) {
	t.Helper()
	if *update {
		var b strings.Builder
		b.WriteString("# What is expected of each file of the shared collection; go test ./test/e2e -run Collection -update writes it.\n")
		b.WriteString("# stored: storescu sends it, it goes in and comes out. refused: it lacks a study, series or instance UID.\n")
		b.WriteString("# unsent: DCMTK cannot send it, our own client does.\n")
		for _, s := range all {
			fmt.Fprintf(&b, "%s\t%s\n", s.Name, s.verdict())
		}
		if err := os.WriteFile(expectedFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, verdict, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			expected[name] = verdict
		}
	}
	for _, s := range all {
		switch want, ok := expected[s.Name]; {
		case !ok:
			t.Errorf("%s is not in %s", s.Name, expectedFile)
		case want != s.verdict():
			t.Errorf("%s is %s, expected %s", s.Name, s.verdict(), want)
		}
		delete(expected, s.Name)
	}
	for name := range expected {
		t.Errorf("%s is in %s but not in the collection", name, expectedFile)
	}
}
