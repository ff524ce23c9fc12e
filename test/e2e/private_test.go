package e2e_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// Private classes are stored when they are configured, and, unless the
// configuration says otherwise, when the tower declares what they are kinds of.
func TestPrivateClasses(t *testing.T) {
	const private, listed = "1.2.826.0.1.3680043.999.1", "1.2.826.0.1.3680043.999.2"
	short := func(uid string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(uid))), uid...)
	}
	related := short(vlEndoscopic)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(related))), related...)
	kind := item(0x57, short(private), short("1.2.840.10008.4.2"), list) // PS3.7 table D.3-12
	rng := rngFor(t)
	for settings, accepts := range map[string]bool{
		"dimse: {sop_classes: [" + listed + "]}":                     true,
		"dimse: {sop_classes: [" + listed + "], specialized: false}": false,
	} {
		n := startNode(t, settings+"\n")
		for _, c := range []struct {
			class string
			says  [][]byte
			ok    bool
		}{{private, [][]byte{kind}, accepts}, {private, nil, false}, {listed, nil, true}} {
			client, err := n.associate(c.class, jpegBaseline, c.says...)
			if (err == nil) != c.ok {
				t.Errorf("%s: class %s, declared %t: %v", settings, c.class, c.says != nil, err)
			}
			if err != nil {
				continue
			}
			s := still{Study: "2.25.841", Series: "2.25.841.1", Instance: uid(rng), Name: "Private^Class", ID: "X1", Size: 10_000}
			data := bytes.Replace(s.dataSet(rng), padded(vlEndoscopic), padded(c.class), 1)
			binary.LittleEndian.PutUint16(data[6:], uint16(len(padded(c.class)))) // SOP Class UID is the first element
			if status, err := client.store(c.class, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
				t.Errorf("%s: class %s: %04X, %v", settings, c.class, status, err)
			}
			client.abort()
			out, code := run(t, lumenBinary, "find", n.dimse, "--level", "IMAGE", "SOPInstanceUID="+s.Instance, "StudyInstanceUID=2.25.841", "SeriesInstanceUID=2.25.841.1", "SOPClassUID=")
			if code != 0 || !strings.Contains(out, c.class) {
				t.Errorf("%s: class %s: find ends with %d: %s", settings, c.class, code, out)
			}
		}
	}
}
