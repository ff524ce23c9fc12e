package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lumen/store/blob/s3/s3test"
)

// bucketSettings are the lines of a configuration that keeps objects in the
// bucket of a server, with short times.
func bucketSettings(t *testing.T, server *s3test.Server) string {
	t.Helper()
	dir := t.TempDir()
	for name, secret := range map[string]string{"access": s3test.AccessKey, "secret": s3test.SecretKey} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("storage:\n  min_free: 1MiB\n  min_free_percent: 0\n  bucket:\n    endpoint: %s\n    region: %s\n    name: %s\n"+
		"    access_key: file:%s/access\n    secret_key: file:%s/secret\n    grace: 0s\n",
		server.Endpoint, s3test.Region, s3test.Bucket, dir, dir)
}

// A bucket that is away stops nobody: objects are safe in the spool, and go when
// it is back. None is lost, none is there twice.
func TestBucketGoesAwayUnderIngest(t *testing.T) {
	server := s3test.Start(t)
	n := startNode(t, bucketSettings(t, server))
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	rng := rngFor(t)
	var kept []acknowledged
	push := func(count int) {
		for range count {
			s := still{Study: "2.25.601", Series: "2.25.601.1", Instance: uid(rng), Name: "Buc^Ket", ID: "B1", Number: len(kept), Size: 50_000}
			data := s.dataSet(rng)
			if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
				t.Fatalf("C-STORE %d: %04x, %v", len(kept), status, err)
			}
			kept = append(kept, acknowledged{s, sha256.Sum256(data)})
		}
	}
	push(20)
	server.Stop(t)
	push(20)
	for _, a := range kept[20:] {
		a.isThere(t, n) // from the spool
	}
	server.Restart(t)
	push(20)
	c.abort()
	n.until("the backlog is uploaded", 60*time.Second, func() bool { return n.backlog() == 0 })

	n.stop()
	n.start()
	for _, a := range kept {
		a.isThere(t, n)
	}
	if found := n.qido(n.url("/dicom-web/studies/2.25.601/instances"), "00080018"); len(found) != len(kept) {
		t.Errorf("QIDO-RS finds %d instances of %d", len(found), len(kept))
	}
	n.clean()
	n.stop()
	n.config = withoutBucket(t)
	if out, code := n.lumen("check"); code != 1 || !strings.Contains(out, "storage.bucket") {
		t.Errorf("without its bucket the folder is opened: code %d: %s", code, out)
	}
}

// withoutBucket is a configuration that forgets about the bucket.
func withoutBucket(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lumen.yaml")
	if err := os.WriteFile(name, []byte("log: {level: debug}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var backlogLine = regexp.MustCompile(`(?m)^lumen_spool_pending_objects (\d+)`)

// backlog is how many objects wait for their upload; -1 when the node does not
// say.
func (n *node) backlog() int {
	_, metrics := n.get(n.url("/metrics"), "text/plain")
	m := backlogLine.FindSubmatch(metrics)
	if m == nil {
		return -1
	}
	var count int
	fmt.Sscan(string(m[1]), &count)
	return count
}
