package e2e_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lumen/internal/shareddata"
)

// answerTimeout is how long the node may take to answer for one small file.
const answerTimeout = 20 * time.Second

// Files that are broken, and those that DCMTK cannot send, are sent byte by
// byte by our own client. Each is refused with a status of the table, or stored
// whole and given back; the node neither crashes nor hangs nor keeps a half.
func TestMalformedFilesAreRefusedOrStoredWhole(t *testing.T) {
	n := startNode(t, "")
	kept := map[string]bool{}
	refused := map[string]int{} // by status
	for _, e := range unsendable(t) {
		file := rawFile(e.Bytes(t), e.TransferSyntax)
		c, err := n.associate(file.SOPClass, file.TransferSyntax)
		if err != nil { // a SOP class or transfer syntax that nobody knows: announced as another
			refused["context"]++
			file.SOPClass, file.TransferSyntax = secondaryCapture, explicitLE
			if c, err = n.associate(file.SOPClass, file.TransferSyntax); err != nil {
				t.Fatalf("before %s: %v", e.Name, err)
			}
		}
		timer := time.AfterFunc(answerTimeout, c.abort)
		status, err := c.store(file.SOPClass, file.SOPInstance, bytes.NewReader(file.DataSet))
		timer.Stop()
		c.abort()
		switch {
		case err != nil:
			t.Errorf("%s: no answer: %v", e.Name, err)
		case status == 0:
			checkKept(t, n, e.Name, file, kept)
		case !isRefusal(status):
			t.Errorf("%s: answered %04x, which is not in the table", e.Name, status)
		default:
			refused[fmt.Sprintf("%04X", status)]++
		}
	}
	t.Logf("kept %d, refused %v", len(kept), refused)
	instances := n.qido(n.url("/dicom-web/instances?limit=5000"), "00080018")
	if len(instances) != len(kept) {
		t.Errorf("QIDO-RS finds %d instances, %d were acknowledged", len(instances), len(kept))
	}
	n.clean()
	n.stop()
	if strings.Contains(n.log.String(), "panic") {
		t.Error("the log tells of a panic")
	}
}

// unsendable lists what TestCollection does not send: the malformed files and
// the valid ones that DCMTK cannot handle.
func unsendable(t *testing.T) []shareddata.Entry {
	t.Helper()
	entries := shareddata.Files(t)
	for _, s := range samples(t) {
		if s.sent {
			entries = slices.DeleteFunc(entries, func(e shareddata.Entry) bool { return e.Name == s.Name })
		}
	}
	return entries
}

// rawFile makes the most of a file: what its File Meta says, or else its index
// entry, or else guesses.
func rawFile(b []byte, transferSyntax string) part10 {
	p, err := parsePart10(b)
	if err != nil {
		p = part10{DataSet: b}
		if len(b) > 132 && string(b[128:132]) == "DICM" {
			p.DataSet = b[132:]
		}
	}
	for _, d := range []struct {
		field *string
		value string
	}{
		{&p.TransferSyntax, transferSyntax}, {&p.TransferSyntax, "1.2.840.10008.1.2"},
		{&p.SOPClass, secondaryCapture}, {&p.SOPInstance, "2.25.4711"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return p
}

// checkKept retrieves what was acknowledged and compares it. A second file under
// the same UID may have been put aside: then the first is there, whole.
func checkKept(t *testing.T, n *node, name string, file part10, kept map[string]bool) {
	t.Helper()
	rsp, body := n.get(n.url("/dicom-web/instances?SOPInstanceUID=%s&includefield=0020000D&includefield=0020000E", file.SOPInstance), "application/dicom+json")
	if rsp.StatusCode != 200 {
		t.Errorf("%s: acknowledged, and then QIDO-RS answers %s", name, rsp.Status)
		return
	}
	study, series := jsonValue(body, "0020000D"), jsonValue(body, "0020000E")
	parts := n.retrieve(n.url("/dicom-web/studies/%s/series/%s/instances/%s", study, series, file.SOPInstance))
	if len(parts) != 1 {
		t.Errorf("%s: acknowledged, and then %d parts", name, len(parts))
		return
	}
	back, err := parsePart10(parts[0])
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if !bytes.Equal(back.DataSet, file.DataSet) && !kept[file.SOPInstance] {
		t.Errorf("%s: comes back with other bytes (%d, sent %d)", name, len(back.DataSet), len(file.DataSet))
	}
	kept[file.SOPInstance] = true
}

// isRefusal knows the statuses of DESIGN section 9 for C-STORE.
func isRefusal(status uint16) bool {
	return status == 0xa700 || status == 0xa900 || status == 0xc000 || status == 0x0122 || status == 0x0124 || status&0xff00 == 0xc100
}
