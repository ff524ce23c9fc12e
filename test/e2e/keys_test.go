package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// A backup of the root key and a copy of the objects are all that an empty
// machine needs.
func TestRestoredKeyOpensCopiedObjects(t *testing.T) {
	n := startNode(t, "")
	kept := n.storeStills(t, 6)
	identity, recipient := newIdentity(t)
	saved := filepath.Join(t.TempDir(), "root.age")
	n.expect(0, "no backup", "keys", "status")
	if !strings.Contains(n.log.String(), "the root key has no backup") {
		t.Error("serve does not warn that there is no backup")
	}
	n.expect(0, "", "keys", "backup", "--recipient", recipient, "--to", saved)
	n.expect(0, recipient, "keys", "status")
	n.expect(1, "exists", "keys", "backup", "--recipient", recipient, "--to", saved)
	n.expect(1, "in the data folder", "keys", "backup", "--recipient", recipient, "--to", filepath.Join(n.data, "root.age"))
	n.expect(1, "recipient", "keys", "backup", "--recipient", "age1nobody", "--to", saved+"2")
	n.expect(0, `"backup kept"`, "audit", "show", "--log", "node")
	n.stop()
	n.expect(0, recipient, "keys", "status") // and when it does not run
	if info, err := os.Stat(saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, %v", info.Mode(), err)
	}

	m := newNode(t, "", "")
	restore := []string{"keys", "restore", "--identity", identity, "--from", saved}
	stranger, _ := newIdentity(t)
	m.expect(1, "", "keys", "restore", "--identity", stranger, "--from", saved)
	m.expect(0, "restored", restore...)
	m.expect(0, "restored", restore...) // again is no error
	if info, err := os.Stat(filepath.Join(m.data, "keys", "root")); err != nil || info.Mode() != 0o600 {
		t.Fatalf("the restored key has mode %v, %v", info.Mode(), err)
	}
	// Before the objects are there it must not begin another archive.
	for _, command := range [][]string{{"serve"}, {"check"}, {"index", "rebuild"}} {
		m.expect(1, "put ", command...)
	}
	copyBlobs(t, n, m)
	m.expect(1, "lumen index rebuild", "serve")
	m.expect(0, "6 instances", "index", "rebuild")
	m.start()
	for _, a := range kept {
		a.isThere(t, m)
	}
	m.clean()
	m.expect(0, "operation=restored", "audit", "show", "--log", "node")
	m.expect(0, recipient, "keys", "status") // the receipt is among the objects
	m.expect(1, "stop it first", restore...)
	if strings.Contains(m.log.String(), "the root key has no backup") {
		t.Error("a node with a backup warns that there is none")
	}
}

// A key of another archive is refused beside objects, and beside a key.
func TestRestoreRefusesAKeyThatDoesNotFit(t *testing.T) {
	var saved, identities []string
	var nodes []*node
	for range 2 {
		n := startNode(t, "")
		n.stop()
		identity, recipient := newIdentity(t)
		name := filepath.Join(t.TempDir(), "root.age")
		n.expect(0, "", "keys", "backup", "--recipient", recipient, "--to", name)
		saved, identities, nodes = append(saved, name), append(identities, identity), append(nodes, n)
	}
	other := []string{"keys", "restore", "--identity", identities[1], "--from", saved[1]}
	nodes[0].expect(1, "not the one", other...)
	nodes[0].start() // and nothing is otherwise
	nodes[0].stop()
	if err := os.Remove(filepath.Join(nodes[0].data, "keys", "root")); err != nil {
		t.Fatal(err)
	}
	nodes[0].expect(1, "not the one", other...)
	nodes[0].expect(0, "restored", "keys", "restore", "--identity", identities[0], "--from", saved[0])
	nodes[0].start() // the index is there: no rebuild
	nodes[0].clean()
}

func TestBackupCanBeWaived(t *testing.T) {
	n := startNode(t, "")
	n.expect(0, "", "keys", "backup", "--waive")
	n.expect(0, "waived", "keys", "status")
	n.stop()
	before := strings.Count(n.log.String(), "has no backup")
	n.start()
	if strings.Count(n.log.String(), "has no backup") != before {
		t.Error("a node whose backup was waived warns")
	}
}

// expect runs a command on the data folder that ends with a code and says
// something.
func (n *node) expect(code int, says string, args ...string) {
	n.t.Helper()
	if out, got := n.lumen(args...); got != code || !strings.Contains(out, says) {
		n.t.Errorf("lumen %s ends with %d instead of %d, and says, looking for %q:\n%s", strings.Join(args, " "), got, code, says, tail(out, 1500))
	}
}

// newIdentity makes a pair of age keys, and a file with the secret one.
func newIdentity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte("# a test\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

// storeStills pushes stills of two studies.
func (n *node) storeStills(t *testing.T, count int) []acknowledged {
	t.Helper()
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.abort()
	rng := rngFor(t)
	studies := []string{uid(rng), uid(rng)}
	var kept []acknowledged
	for i := range count {
		study := studies[i%2]
		s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Kept^Safe", ID: "K" + study[5:10], Number: i, Size: 5000}
		data := s.dataSet(rng)
		if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
			t.Fatalf("C-STORE: %04x, %v", status, err)
		}
		kept = append(kept, acknowledged{s, sha256.Sum256(data)})
	}
	return kept
}

// copyBlobs copies the objects of one archive to another data folder.
func copyBlobs(t *testing.T, from, to *node) {
	t.Helper()
	if out, code := run(t, "cp", "-a", filepath.Join(from.data, "blobs"), to.data); code != 0 {
		t.Fatal(out)
	}
}
