package dicom_test

import (
	"os"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestConformanceStatementHasTheTables(t *testing.T) {
	b, err := os.ReadFile("../docs/CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, ts := range dicom.TransferSyntaxes() {
		missing = append(missing, "| "+ts.UID+" |")
	}
	for _, c := range dicom.CharacterSets() {
		missing = append(missing, "| `"+c.Term+"` |")
	}
	for _, uid := range dict.StorageSOPClasses() {
		missing = append(missing, "| "+uid+" |")
	}
	for _, row := range missing {
		if !strings.Contains(string(b), row) {
			t.Errorf("no row %s: run make generate", row)
		}
	}
}
