package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheStatementSaysWhatTheCodeDoes(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made, err := filled(text)
	if err != nil || !bytes.Equal(made, text) {
		t.Errorf("docs/CONFORMANCE.md is not what the code makes of it: run make generate; %v", err)
	}
}
