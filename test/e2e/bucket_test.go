package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
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

// A bucket that is away stops nobody, not even a start: objects are safe in the
// spool, and go when it is back. None is lost, none is there twice.
func TestBucketGoesAwayUnderIngest(t *testing.T) {
	server := s3test.Start(t)
	n := startNode(t, strings.Replace(bucketSettings(t, server), "grace: 0s", "grace: 1h", 1))
	l := &load{t: t, n: n, rng: rngFor(t)}
	l.push(20, 50_000)
	server.Stop(t)
	l.push(20, 50_000)
	l.isThere(l.kept[20:]) // in the spool
	n.stop()
	n.start()
	if !strings.Contains(n.log.String(), "the bucket is away") {
		t.Error("the log does not say that the bucket is away")
	}
	l.push(20, 50_000)
	l.isThere(l.kept)
	server.Restart(t)
	l.push(20, 50_000)
	n.until("the backlog is uploaded", 60*time.Second, func() bool { return n.backlog() == 0 })
	n.stop()

	// Without the copies everything comes from the bucket.
	settings, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.config, bytes.Replace(settings, []byte("grace: 1h"), []byte("grace: 0s"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.until("the copies are dropped", 30*time.Second, func() bool { return l.instancesIn(filepath.Join(n.data, "spool")) == 0 })
	if count := l.instancesIn(server.Dir); count != len(l.kept) {
		t.Errorf("the bucket holds %d instances of %d", count, len(l.kept))
	}
	l.isThere(l.kept)
	l.isFoundOnce()
	n.clean()
	n.stop()

	server.Stop(t)
	n.start()
	l.isFoundOnce()
	gone := l.kept[0]
	rsp, _ := n.get(n.url("/dicom-web/studies/%s/series/%s/instances/%s", gone.Study, gone.Series, gone.Instance), asStored)
	if rsp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without the bucket, what is only there is answered with %s", rsp.Status)
	}
	if status, err := l.try(); err != nil || status != 0xa700 {
		t.Errorf("without the bucket, an image of a study whose key is only there is answered with %04x, %v", status, err)
	}
	n.stop()
	n.config = withoutBucket(t)
	n.expect(1, "storage.bucket", "check")
}

// A network that delays, cuts, refuses and changes bytes: what it does never
// gets further than to an error, and in the end everything is in the bucket.
func TestBucketBehindABadNetwork(t *testing.T) {
	server := s3test.Start(t)
	proxy := s3test.NewProxy(t, server.Endpoint)
	n := startNode(t, strings.Replace(bucketSettings(t, server), server.Endpoint, proxy.Endpoint, 1))
	l := &load{t: t, n: n, rng: rngFor(t)}
	chaos := rngFor(t)
	faults := map[string]int{}
	proxy.Set(func(r *http.Request) s3test.Fault { // called under a lock
		name, f := "none", s3test.Fault{}
		switch chaos.IntN(14) {
		case 0:
			name, f = "5xx", s3test.Fault{Status: http.StatusServiceUnavailable}
		case 1:
			name, f = "cut request", s3test.Fault{CutRequest: true}
		case 2:
			name, f = "cut answer", s3test.Fault{CutAnswer: true}
		case 3:
			name, f = "cut body", s3test.Fault{CutBody: 1 + chaos.Int64N(40_000)}
		case 4:
			name, f = "delay", s3test.Fault{Delay: 50 * time.Millisecond}
		case 5:
			name, f = "wrong bytes to the server", s3test.Fault{FlipRequest: r.Method == http.MethodPut}
		case 6, 7:
			name, f = "wrong bytes from the server", s3test.Fault{FlipAnswer: r.Method == http.MethodGet}
		}
		faults[name]++
		return f
	})
	for range 4 {
		l.push(10, 50_000)
		l.push(1, 9<<20) // in two parts
		l.isThereOrAnError()
	}
	proxy.Set(nil)
	n.until("the backlog is uploaded", 120*time.Second, func() bool { return n.backlog() == 0 })
	n.until("the copies are dropped", 30*time.Second, func() bool { return l.instancesIn(filepath.Join(n.data, "spool")) == 0 })
	if count := l.instancesIn(server.Dir); count != len(l.kept) {
		t.Errorf("the bucket holds %d instances of %d", count, len(l.kept))
	}
	if len(faults) < 8 {
		t.Errorf("only these faults were tried: %v", faults)
	}
	l.isThere(l.kept)
	l.isFoundOnce()
	n.clean()
	n.stop()
}

// load pushes stills of one study and knows what was acknowledged.
type load struct {
	t    *testing.T
	n    *node
	rng  *rand.Rand
	kept []acknowledged
}

const loadStudy = "2.25.601"

func (l *load) push(count, size int) {
	l.t.Helper()
	c, err := l.n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.abort()
	for range count {
		s := l.still(size)
		data := s.dataSet(l.rng)
		if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
			l.t.Fatalf("C-STORE %d: %04x, %v", len(l.kept), status, err)
		}
		l.kept = append(l.kept, acknowledged{s, sha256.Sum256(data)})
	}
}

func (l *load) still(size int) still {
	return still{Study: loadStudy, Series: loadStudy + ".1", Instance: uid(l.rng), Name: "Buc^Ket", ID: "B1", Number: len(l.kept), Size: size}
}

// try pushes one still and returns what it is answered with.
func (l *load) try() (uint16, error) {
	c, err := l.n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		return 0, err
	}
	defer c.abort()
	s := l.still(5_000)
	return c.store(vlEndoscopic, s.Instance, bytes.NewReader(s.dataSet(l.rng)))
}

func (l *load) isThere(all []acknowledged) {
	l.t.Helper()
	for _, a := range all {
		a.isThere(l.t, l.n)
	}
}

// isThereOrAnError retrieves everything; what comes whole has the right bytes.
func (l *load) isThereOrAnError() {
	l.t.Helper()
	for _, a := range l.kept {
		parts, err := l.n.tryRetrieve(l.n.url("/dicom-web/studies/%s/series/%s/instances/%s", a.Study, a.Series, a.Instance))
		if err != nil {
			continue
		}
		p, err := parsePart10(bytes.Join(parts, nil))
		if err != nil || sha256.Sum256(p.DataSet) != a.digest {
			l.t.Errorf("instance %d was served with other bytes: %v", a.Number, err)
		}
	}
}

func (l *load) isFoundOnce() {
	l.t.Helper()
	if found := l.n.qido(l.n.url("/dicom-web/studies/%s/instances", loadStudy), "00080018"); len(found) != len(l.kept) {
		l.t.Errorf("QIDO-RS finds %d instances of %d", len(found), len(l.kept))
	}
}

var instanceName = regexp.MustCompile(`(?:^|/)[0-9a-f]{32}/[0-9a-f]{32}/[0-9a-f]{32}$`)

// instancesIn counts the sealed instances below a folder.
func (l *load) instancesIn(folder string) int {
	l.t.Helper()
	count := 0
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile
		}
		if err == nil && !e.IsDir() && instanceName.MatchString(filepath.ToSlash(name)) {
			count++
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return count
}

// What a bucket is for it only does with the root key in another place: then
// another machine needs nothing but the two.
func TestNodeWithABucketIsNotReadyWithoutABackup(t *testing.T) {
	settings := bucketSettings(t, s3test.Start(t))
	n := newNode(t, "", settings)
	n.launch()
	n.until("the node has started", startTimeout, func() bool {
		_, body := n.get(n.url("/readyz"), "*/*")
		return strings.Contains(string(body), "lumen keys backup")
	})
	if code := n.readiness(); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d", code)
	}
	identity, recipient := newIdentity(t)
	saved := filepath.Join(t.TempDir(), "root.age")
	n.expect(0, "", "keys", "backup", "--recipient", recipient, "--to", saved)
	if code := n.readiness(); code != http.StatusOK {
		t.Errorf("with a backup /readyz answers %d", code)
	}
	n.stop()
	n.start() // the receipt is remembered
	kept := n.storeStills(t, 4)
	n.until("the backlog is uploaded", 60*time.Second, func() bool { return n.backlog() == 0 })
	n.stop()

	m := newNode(t, "", settings)
	m.expect(0, "restored", "keys", "restore", "--identity", identity, "--from", saved)
	m.expect(1, "lumen index rebuild", "serve", "--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0")
	m.expect(0, "4 instances", "index", "rebuild")
	m.start()
	for _, a := range kept {
		a.isThere(t, m)
	}
	m.clean()
	m.stop()
}

// An archive that was in a folder goes to a bucket by the way that the manual
// gives.
func TestArchiveMovesIntoABucket(t *testing.T) {
	server := s3test.Start(t)
	n := startNode(t, "")
	l := &load{t: t, n: n, rng: rngFor(t)}
	l.push(10, 5_000)
	n.expect(0, "", "keys", "backup", "--waive")
	n.stop()
	n.config = newNode(t, "", bucketSettings(t, server)).config
	n.expect(1, "rename it to spool", "check")
	if err := os.Rename(filepath.Join(n.data, "blobs"), filepath.Join(n.data, "spool")); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.until("the copies are dropped", 60*time.Second, func() bool { return l.instancesIn(filepath.Join(n.data, "spool")) == 0 })
	if count := l.instancesIn(server.Dir); count != len(l.kept) {
		t.Errorf("the bucket holds %d instances of %d", count, len(l.kept))
	}
	l.push(10, 5_000)
	l.isThere(l.kept)
	l.isFoundOnce()
	n.clean()
	n.stop()
}

// What is wrong with a bucket is said in words, and nothing is served.
func TestWrongBucketIsExplainedAtStart(t *testing.T) {
	server := s3test.Start(t)
	settings := bucketSettings(t, server)
	for name, tc := range map[string]struct{ old, new, says string }{
		"bucket":   {"name: " + s3test.Bucket, "name: elsewhere", `there is no bucket "elsewhere"`},
		"nobody":   {server.Endpoint, "http://127.0.0.1:1", "the bucket is needed for the first start"},
		"protocol": {"http://", "https://", "speaks HTTP, not HTTPS"},
		"secret":   {"/secret\n", "/access\n", "the secret key is not the one"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "", strings.Replace(settings, tc.old, tc.new, 1))
			n.expect(1, tc.says, "serve", "--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0")
		})
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
