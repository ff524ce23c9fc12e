package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lumen/internal/peertest"
)

// run runs a program and returns what it printed and its exit code.
func run(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// receiver is a running storescp that writes what it receives bit by bit.
type receiver struct {
	dir  string
	port string
}

// startReceiver starts `storescp +B` with a title and further options.
func startReceiver(t *testing.T, title string, options ...string) receiver {
	t.Helper()
	r := receiver{dir: t.TempDir(), port: peertest.FreePort(t)}
	args := append([]string{"+B", "+xa", "-pm", "-aet", title, "-od", r.dir}, options...)
	startProgram(t, peertest.Command(t, "storescp", append(args, r.port)...), "127.0.0.1:"+r.port)
	return r
}

// take removes the files that were received so far from the folder and returns
// them by name.
func (r receiver) take(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		name := filepath.Join(r.dir, e.Name())
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
		os.Remove(name)
	}
	return files
}

// part10 is what the tests need of a DICOM file, read without our own codec.
type part10 struct {
	SOPClass, SOPInstance, TransferSyntax string
	DataSet                               []byte // as received
}

// parsePart10 reads preamble and File Meta Information (PS3.10 section 7.1),
// which is in explicit VR little endian and begins with its own length.
func parsePart10(b []byte) (part10, error) {
	if len(b) < 144 || string(b[128:132]) != "DICM" || !bytes.Equal(b[132:140], []byte("\x02\x00\x00\x00UL\x04\x00")) {
		return part10{}, fmt.Errorf("no File Meta Information in %d bytes", len(b))
	}
	end := 144 + int(binary.LittleEndian.Uint32(b[140:]))
	if end > len(b) {
		return part10{}, fmt.Errorf("group 0002 of %d bytes in a file of %d", end, len(b))
	}
	p := part10{DataSet: b[end:]}
	for meta := b[144:end]; len(meta) >= 8; {
		element, vr := binary.LittleEndian.Uint16(meta[2:]), string(meta[4:6])
		head, length := 8, int(binary.LittleEndian.Uint16(meta[6:]))
		if vr == "OB" || vr == "UN" {
			head, length = 12, int(binary.LittleEndian.Uint32(meta[8:]))
		}
		if head+length > len(meta) {
			return part10{}, fmt.Errorf("element (0002,%04x) is cut", element)
		}
		value := strings.TrimRight(string(meta[head:head+length]), "\x00 ")
		switch element {
		case 0x0002:
			p.SOPClass = value
		case 0x0003:
			p.SOPInstance = value
		case 0x0010:
			p.TransferSyntax = value
		}
		meta = meta[head+length:]
	}
	return p, nil
}

// profile writes a storescu configuration that proposes one SOP class in one
// transfer syntax: so storescu sends a file as it is or not at all.
func profile(t *testing.T, sopClass, transferSyntax string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "storescu.cfg")
	text := fmt.Sprintf("[[TransferSyntaxes]]\n[T]\nTransferSyntax1 = %s\n"+
		"[[PresentationContexts]]\n[C]\nPresentationContext1 = %s\\T\n"+
		"[[Profiles]]\n[P]\nPresentationContexts = C\n", transferSyntax, sopClass)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
