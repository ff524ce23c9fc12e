// Command conformance writes the tables of package dicom into
// docs/CONFORMANCE.md, between two marks. It runs in the folder dicom.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
)

const (
	file  = "../docs/CONFORMANCE.md"
	begin = "<!-- written by make generate: package dicom -->\n"
	end   = "<!-- end of package dicom -->\n"
)

func main() {
	log.SetFlags(0)
	old, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	head, rest, ok := bytes.Cut(old, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		log.Fatalf("conformance: no marks in %s", file)
	}
	b := append([]byte(nil), head...)
	b = append(b, begin...)
	b = append(b, tables()...)
	b = append(b, end...)
	if err := os.WriteFile(file, append(b, tail...), 0o644); err != nil {
		log.Fatal(err)
	}
}

func tables() []byte {
	var b bytes.Buffer
	b.WriteString("\n### Transfer syntaxes\n\nData sets in all of these are read and kept as they are; \"read and written\" are those that Lumen can also turn into each other.\n\n")
	b.WriteString("| transfer syntax | UID | codec |\n|---|---|---|\n")
	for _, ts := range dicom.TransferSyntaxes() {
		codec := "kept, passed on"
		if !ts.Encapsulated && !ts.Lossy {
			codec = "read and written"
		}
		name := ts.Name
		if ts.Retired {
			name += " (retired)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, ts.UID, codec)
	}
	b.WriteString("\n### Character sets\n\nText in these is decoded, in items too; bytes that a set does not have are shown as PS3.5 section 6.1.2.3 suggests (`\\351`).\n\n")
	b.WriteString("| defined term | |\n|---|---|\n")
	for _, c := range dicom.CharacterSets() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.Term, c.About)
	}
	b.WriteString("\n### Storage SOP classes\n\n| SOP class | UID |\n|---|---|\n")
	for _, uid := range dict.StorageSOPClasses() {
		u, _ := dict.LookupUID(uid)
		name := u.Name
		if u.Retired {
			name = strings.TrimSuffix(name, " Retired") + " (retired)"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, uid)
	}
	b.WriteString("\n")
	return b.Bytes()
}
