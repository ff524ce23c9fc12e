package e2e_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// What an AE is configured with is what it gets: its rights, its PDU length, its
// answer to a conflict. One that is not configured is told so, and the journal
// says it once, and how often in the end.
func TestConfiguredAEs(t *testing.T) {
	n := startNode(t, `
aes:
- {title: E2E, addresses: [192.0.2.1/32], rights: [echo]}
- {title: E2E, addresses: [127.0.0.0/8], rights: [store], max_pdu: 16KiB, conflicts: refuse}
- {title: VIEWER, rights: [echo, query]}
- {title: FAR, addresses: [192.0.2.0/24], rights: [echo]}
`)
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.abort()
	if c.maxPDU != 16<<10 {
		t.Errorf("PDUs of %d bytes are announced", c.maxPDU)
	}
	rng := rngFor(t)
	for i, want := range []uint16{0, 0xC101} {
		s := still{Study: "2.25.851", Series: "2.25.851.1", Instance: "2.25.851.1.1", Name: "Some^One", ID: "Q1", Number: i, Size: 10_000}
		if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(s.dataSet(rng))); err != nil || status != want {
			t.Errorf("store %d: %04X, %v, want %04X", i, status, err, want)
		}
	}
	for _, e := range []struct {
		as, called string
		code       int
		says       string
	}{
		{"VIEWER", "LUMEN", 0, "answers"},
		{"E2E", "LUMEN", 1, "0124"},
		{"FAR", "LUMEN", 1, "result 1, source 1, reason 3"},
		{"NOBODY", "LUMEN", 1, "result 1, source 1, reason 3"},
		{"NOBODY", "LUMEN", 1, "result 1, source 1, reason 3"},
		{"NOBODY", "LUMEN", 1, "result 1, source 1, reason 3"},
		{"VIEWER", "OTHER", 1, "result 1, source 1, reason 7"},
	} {
		if out, code := run(t, lumenBinary, "echo", "--as", e.as, e.called+"@"+n.dimse); code != e.code || !strings.Contains(out, e.says) {
			t.Errorf("%s calls %s: echo ends with %d: %s", e.as, e.called, code, out)
		}
	}
	rejected := func() (list []string) {
		out, _ := n.lumen("audit", "show", "--format", "json")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "association rejected") {
				list = append(list, line)
			}
		}
		return list
	}
	n.until("the rejections are in the journal, which nobody waits for", 10*time.Second, func() bool { return len(rejected()) >= 3 })
	const unknown = "the calling AE title is not configured"
	if list := rejected(); len(list) != 3 || strings.Count(strings.Join(list, ""), unknown) != 1 {
		t.Errorf("the journal has %q", list)
	}
	c.abort()
	n.stop()
	list := rejected()
	if len(list) != 4 || !strings.Contains(list[3], unknown) || !strings.Contains(list[3], `"count":"2"`) {
		t.Errorf("in the end the journal has %q", list)
	}
}
