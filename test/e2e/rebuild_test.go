package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"
)

// Keys and objects are all that a backup needs: on an empty machine the index is
// made anew from them.
func TestIndexIsRebuiltFromKeysAndObjects(t *testing.T) {
	n := startNode(t, "")
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	rng := rngFor(t)
	var kept []acknowledged
	for i := range 12 {
		study := []string{"2.25.501", "2.25.502", "2.25.503"}[i%3]
		s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Re^Build", ID: "R" + study, Number: i, Size: 5000}
		data := s.dataSet(rng)
		if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
			t.Fatalf("C-STORE: %04x, %v", status, err)
		}
		kept = append(kept, acknowledged{s, sha256.Sum256(data)})
	}
	c.abort()
	if out, code := n.lumen("index", "rebuild"); code != 1 {
		t.Errorf("rebuilding under a running node ends with %d: %s", code, out)
	}
	before := n.qido(n.url("/dicom-web/instances"), "00080018")
	n.kill() // what is still in the write log is in stage

	restored := newNode(t, "", "")
	if err := os.Mkdir(restored.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, "cp", "-a", n.data+"/keys", n.data+"/blobs", n.data+"/stage", restored.data); code != 0 {
		t.Fatal(out)
	}
	if out, code := restored.lumen("index", "rebuild"); code != 0 {
		t.Fatalf("lumen index rebuild ends with %d: %s", code, out)
	}
	restored.start()
	if after := restored.qido(restored.url("/dicom-web/instances"), "00080018"); len(after) != len(before) {
		t.Errorf("%d instances after the rebuild, %d before", len(after), len(before))
	}
	for _, a := range kept {
		a.isThere(t, restored)
	}
	restored.clean()
}

// A rebuild begins no archive: not in a folder that is not there, not without
// keys, not without objects.
func TestRebuildBeginsNothing(t *testing.T) {
	n := startNode(t, "")
	n.stop()
	m := newNode(t, "", "")
	m.expect(1, "no such file", "index", "rebuild")
	if _, err := os.Stat(m.data); !os.IsNotExist(err) {
		t.Errorf("a rebuild made a data folder: %v", err)
	}
	if err := os.Mkdir(m.data, 0o700); err != nil {
		t.Fatal(err)
	}
	copyBlobs(t, n, m)
	m.expect(1, "no root key", "index", "rebuild")
	if err := os.RemoveAll(m.data + "/blobs"); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, "cp", "-a", n.data+"/keys", m.data); code != 0 {
		t.Fatal(out)
	}
	m.expect(1, "there are no objects here", "index", "rebuild")
	copyBlobs(t, n, m)
	m.expect(0, "0 instances", "index", "rebuild")
	m.start()
	m.clean()
}
