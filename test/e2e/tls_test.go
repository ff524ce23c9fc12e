package e2e_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lumen/internal/peertest"
)

// listens returns an entry of the node's addr.json, split.
func (n *node) listens(name string) (host, port string) {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.data, "run", "addr.json"))
	var all map[string]string
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err == nil {
		host, port, err = net.SplitHostPort(all[name])
	}
	if err != nil {
		n.t.Fatalf("address of %s: %v", name, err)
	}
	return host, port
}

// secureNode is a node with all TLS listeners, and two AEs of one title.
func secureNode(t *testing.T, ca *authority) *node {
	t.Helper()
	server := ca.issue("lumen")
	section := fmt.Sprintf("{listen: \"127.0.0.1:0\", certificate: %q, key: %q, client_ca: %q}", server.cert, server.key, ca.file())
	return startNode(t, `
dimse:
  tls: `+section+`
  legacy_tls: `+section+`
http:
  tls: `+section+`
  clients:
  - {name: viewer, certificates: ["cn:viewer"], rights: [query, retrieve]}
aes:
- {title: TOWER, certificates: ["cn:tower1"], rights: [echo, store]}
- {title: TOWER, certificates: ["cn:tower2"], rights: [echo]}
- {title: LOCAL, addresses: [127.0.0.0/8], rights: [echo, store, query]}
`)
}

// What the certificate says decides who it is, and what it may do, over DIMSE
// and over HTTP.
func TestCertificatesHaveRights(t *testing.T) {
	peertest.Needs(t, "storescu")
	ca := newAuthority(t)
	n := secureNode(t, ca)
	rng := rngFor(t)
	s := still{Study: "2.25.901", Series: "2.25.901.1", Instance: uid(rng), Name: "Secure^One", ID: "T1", Size: 300_000}
	name := save(t, t.TempDir(), file(vlEndoscopic, s.Instance, jpegBaseline, s.dataSet(rng)))
	host, port := n.listens("dimse_tls")
	for who, stores := range map[string]bool{"tower2": false, "tower1": true} {
		as := ca.issue(who)
		out, code := run(t, "storescu", "+tls", as.key, as.cert, "+cf", ca.file(), "-R", "-xy", "-aet", "TOWER", "-aec", "LUMEN", host, port, name)
		if (code == 0) != stores {
			t.Errorf("storescu as %s ends with %d: %s", who, code, tail(out, 500))
		}
	}
	host, port = n.listens("https")
	get := func(path string, c *tls.Config) (int, string) {
		t.Helper()
		rsp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}).Get("https://" + net.JoinHostPort(host, port) + path)
		if err != nil {
			return 0, err.Error()
		}
		defer rsp.Body.Close()
		body, _ := io.ReadAll(rsp.Body)
		return rsp.StatusCode, string(body)
	}
	if status, body := get("/dicom-web/studies?PatientID=T1", ca.client(ca.issue("viewer"))); status != http.StatusOK || !strings.Contains(body, s.Study) {
		t.Errorf("the viewer gets %d: %s", status, body)
	}
	if status, body := get("/dicom-web/studies", ca.client(ca.issue("tower1"))); status != http.StatusForbidden {
		t.Errorf("a tower gets %d: %s", status, body)
	}
	if status, body := get("/healthz", ca.client()); status != 0 {
		t.Errorf("a client without a certificate gets %d: %s", status, body)
	}
	out, _ := n.lumen("audit", "show", "--format", "json")
	if !strings.Contains(out, `"viewer"`) {
		t.Error("the journal does not say that it was the viewer")
	}
}

// A renewed certificate is used without a restart, a broken one is not.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	n := secureNode(t, ca)
	as := ca.client(ca.issue("tower1"))
	host, port := n.listens("dimse_tls")
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", net.JoinHostPort(host, port), as)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	before := serial()
	ca.issue("lumen")
	n.until("the new certificate is shown", 10*time.Second, func() bool { return serial() != before })
	after := serial()
	if err := os.WriteFile(filepath.Join(ca.dir, "lumen.crt"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.until("the broken file is noticed", 10*time.Second, func() bool {
		if serial() != after {
			t.Fatal("a broken file changed the certificate")
		}
		return strings.Contains(n.log.String(), "cannot be used")
	})
}

// What would be unsafe is refused with a reason.
func TestUnsafeListenersAreRefused(t *testing.T) {
	ca := newAuthority(t)
	server := ca.issue("lumen")
	files := fmt.Sprintf("certificate: %q, key: %q", server.cert, server.key)
	for settings, says := range map[string]string{
		"dimse: {listen: \"0.0.0.0:0\"}":                                                              "allow_plaintext",
		"dimse: {tls: {listen: \"0.0.0.0:0\", " + files + "}}":                                        "client_ca",
		"http: {tls: {listen: \"0.0.0.0:0\", " + files + ", client_ca: \"" + ca.file() + "\"}}":       "http.clients",
		"dimse: {listen: off}":                                                                        "nobody could connect",
		"dimse: {tls: {listen: \"127.0.0.1:0\", certificate: none.pem, key: \"" + server.key + "\"}}": "none.pem",
	} {
		file := filepath.Join(t.TempDir(), "lumen.yaml")
		if err := os.WriteFile(file, []byte(settings+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), lumenBinary, "serve", "--data", t.TempDir()+"/data", "--config", file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), says) {
			t.Errorf("%s: %v %s", settings, err, out)
		}
	}
}
