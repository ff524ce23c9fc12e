package e2e_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lumen/dicom/dict"
	"lumen/dimse"
	wire "lumen/dimse/pdu"
	"lumen/internal/peertest"
)

// dcmtkOverTLS tries each of DCMTK's security profiles, and carries a study to
// and fro over TLS.
func dcmtkOverTLS(t *testing.T, _ *scene) {
	ca, stranger := newAuthority(t), newAuthority(t)
	n := secureNode(t, ca)
	tower := ca.issue("tower1")
	forged := stranger.issue("tower1")
	for _, c := range []struct {
		name, listener string
		as             pair
		profile, title string
		ok             bool
	}{
		{"bcp195", "dimse_tls", tower, "--profile-bcp195", "TOWER", true},
		{"bcp195-nd", "dimse_tls", tower, "--profile-bcp195-nd", "TOWER", true},
		{"bcp195-ex", "dimse_tls", tower, "--profile-bcp195-ex", "TOWER", true},
		{"the retired AES profile", "dimse_tls", tower, "--profile-aes", "TOWER", false},
		{"authenticated but in clear", "dimse_tls", tower, "--profile-null", "TOWER", false},
		{"the retired AES profile where it is allowed", "dimse_legacy_tls", tower, "--profile-aes", "TOWER", true},
		{"bcp195 where the retired one is allowed", "dimse_legacy_tls", tower, "--profile-bcp195", "TOWER", true},
		{"in clear where the retired one is allowed", "dimse_legacy_tls", tower, "--profile-null", "TOWER", false},
		{"a certificate of another CA", "dimse_tls", forged, "--profile-bcp195", "TOWER", false},
		{"a certificate that is no AE's", "dimse_tls", ca.issue("tower3"), "--profile-bcp195", "TOWER", false},
		{"a title that is not configured", "dimse_tls", tower, "--profile-bcp195", "OTHER", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, port := n.listens(c.listener)
			out, code := run(t, "echoscu", "+tls", c.as.key, c.as.cert, "+cf", ca.file(), c.profile, "-to", "5", "-aet", c.title, "-aec", "LUMEN", host, port)
			if (code == 0) != c.ok {
				t.Errorf("echoscu ends with %d: %s", code, tail(out, 500))
			}
		})
	}
	host, port := n.listens("dimse_tls")
	if out, code := run(t, "echoscu", "-to", "5", "-aet", "TOWER", host, port); code == 0 {
		t.Errorf("in clear: %s", out)
	}
	if out, code := run(t, "echoscu", "+tla", "+cf", ca.file(), "-to", "5", "-aet", "TOWER", host, port); code == 0 {
		t.Errorf("without a certificate: %s", out)
	}
	host, port = n.hostPort()
	if out, code := run(t, "echoscu", "-aet", "TOWER", host, port); code == 0 {
		t.Errorf("a title that wants a certificate, in clear: %s", out)
	}
	t.Run("store_and_move", func(t *testing.T) { movesOverTLS(t, ca) })
}

// tlsNode is a node with a TLS listener that any AE may call, and a destination
// over TLS.
func tlsNode(t *testing.T, ca *authority, title, port string) *node {
	t.Helper()
	own := ca.issue("lumen")
	return startNode(t, fmt.Sprintf(`
dimse: {tls: {listen: "127.0.0.1:0", certificate: %[1]q, key: %[2]q, client_ca: %[3]q}}
destinations:
- {title: %[4]s, address: "127.0.0.1:%[5]s", tls: {ca: %[3]q, certificate: %[1]q, key: %[2]q}}
`, own.cert, own.key, ca.file(), title, port))
}

// movesOverTLS has storescu send over TLS, and the node send on to storescp over
// TLS, certificates on all sides.
func movesOverTLS(t *testing.T, ca *authority) {
	as := ca.issue("dcmtk")
	secure := []string{"+tls", as.key, as.cert, "+cf", ca.file()}
	sink := startReceiver(t, "SINK", secure...)
	n := tlsNode(t, ca, "SINK", sink.port)
	all := stills(t, 2, manyPDUs)
	_, port := n.listens("dimse_tls")
	dcmtkAt(t, port, "storescu", append(append(secure, "-R", "-xy"), files(all)...)...)
	if out, code := run(t, lumenBinary, "move", "--to", "SINK", n.dimse, "StudyInstanceUID="+all[0].study); code != 0 {
		t.Fatalf("move ends with %d: %s", code, tail(out, 500))
	}
	sameToReaders(t, all, arrived(t, sink.take(t)))
}

// weCallDCMTKOverTLS calls storescp with each of its profiles.
func weCallDCMTKOverTLS(t *testing.T, _ *scene) {
	ca := newAuthority(t)
	as := ca.issue("dcmtk")
	d := dialer
	d.TLS = ca.client(ca.issue("lumen"))
	all := stills(t, 1, manyPDUs)
	for profile, ok := range map[string]bool{"bcp195": true, "bcp195-nd": true, "bcp195-ex": true, "null": false, "aes": false} {
		t.Run(profile, func(t *testing.T) {
			sink := startReceiver(t, "SINK", "+tls", as.key, as.cert, "+cf", ca.file(), "--profile-"+profile)
			c, err := d.Dial(t.Context(), "127.0.0.1:"+sink.port, "SINK", []dimse.PresentationContext{presentation(vlEndoscopic, dimse.RoleSCU, jpegBaseline)})
			if !ok {
				if err == nil {
					t.Error("it connects")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if status, err := storeFile(t.Context(), c, all[0], nil); err != nil || status != dimse.StatusSuccess {
				t.Errorf("store: %v, %v", status, err)
			}
			if err := c.Release(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			sameToReaders(t, all, arrived(t, sink.take(t)))
		})
	}
}

// secureOrthanc is an Orthanc and a node that call each other over TLS.
func secureOrthanc(t *testing.T) (*orthanc, *node, *authority) {
	t.Helper()
	ca := newAuthority(t)
	as := ca.issue("orthanc")
	port := peertest.FreePort(t)
	n := tlsNode(t, ca, "ORTHANC", port)
	_, ours := n.listens("dimse_tls")
	o := startOrthanc(t, port, nil, map[string]any{
		"DicomTlsEnabled": true, "DicomTlsCertificate": as.cert, "DicomTlsPrivateKey": as.key, "DicomTlsTrustedCertificates": ca.file(),
		"DicomModalities": map[string]any{"LUMEN": map[string]any{"AET": "LUMEN", "Host": "127.0.0.1", "Port": number(ours), "UseDicomTls": true}},
	})
	return o, n, ca
}

// number is a port or a length as Orthanc's configuration wants it.
func number(digits string) json.Number { return json.Number(digits) }

func orthancOverTLS(t *testing.T, _ *scene) {
	o, _, _ := secureOrthanc(t)
	o.post(t, "/modalities/LUMEN/echo", []byte("{}"), nil)
	all := stills(t, 2, manyPDUs)
	ids, reads := o.own(t, all)
	for _, id := range ids {
		o.post(t, "/modalities/LUMEN/store", []byte(id), nil)
	}
	o.forget(t, ids)
	o.fetch(t, "Study", all[0].orthancKeys("Study"))
	sameToOrthanc(t, o, all, reads)
}

func weCallOrthancOverTLS(t *testing.T, _ *scene) {
	o, _, ca := secureOrthanc(t)
	d := dialer
	d.TLS = ca.client(ca.issue("lumen"))
	all := stills(t, 1, manyPDUs)
	c := dialContexts(t, &d, o.dicom, "ORTHANC", presentation(vlEndoscopic, dimse.RoleSCU, jpegBaseline))
	if status, err := storeFile(t.Context(), c, all[0], nil); err != nil || status != dimse.StatusSuccess {
		t.Errorf("store: %v, %v", status, err)
	}
	if o.find(t, all[0].instance) == "" {
		t.Error("Orthanc does not have it")
	}
	d.TLS = &tls.Config{RootCAs: ca.pool()}
	if c, err := d.Dial(t.Context(), o.dicom, "ORTHANC", []dimse.PresentationContext{presentation(dict.UIDVerification, dimse.RoleSCU, explicitLE)}); err == nil {
		c.Abort()
		t.Error("Orthanc takes us without a certificate")
	}
}

// dcmtkIdentifies has storescu, the one of DCMTK's clients that can, give each
// kind of user identity (PS3.7 annex D.3.3.7).
func dcmtkIdentifies(t *testing.T, _ *scene) {
	dir := t.TempDir()
	ticket := filepath.Join(dir, "ticket")
	for name, content := range map[string]string{ticket: "a ticket", filepath.Join(dir, "joe"): "secret"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := startNode(t, fmt.Sprintf("dimse:\n  users:\n  - {name: joe, passcode: %q}\n  - {name: guest}\n", "file:"+filepath.Join(dir, "joe")))
	_, port := n.hostPort()
	all := stills(t, 1, 1000)
	for _, c := range []struct {
		name  string
		flags []string
		ok    bool
	}{
		{"none", nil, true},
		{"name_and_passcode", []string{"-usr", "joe", "-pwd", "secret"}, true},
		{"name_and_passcode_with_a_response", []string{"-usr", "joe", "-pwd", "secret", "-rsp"}, true},
		{"wrong_passcode", []string{"-usr", "joe", "-pwd", "Secret"}, false},
		{"empty_passcode", []string{"-usr", "joe", "-epw"}, false},
		{"name_alone", []string{"-usr", "guest", "-rsp"}, true},
		{"name_alone_of_one_with_a_passcode", []string{"-usr", "joe"}, false},
		{"unknown_name", []string{"-usr", "jim", "-pwd", "secret"}, false},
		{"Kerberos", []string{"-kt", ticket}, false},
		{"SAML", []string{"--saml", ticket}, false},
		{"JWT", []string{"--jwt", ticket}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := run(t, "storescu", dcmtkArgs(port, append(append(c.flags, "-R", "-xy"), all[0].file)...)...)
			if (code == 0) != c.ok {
				t.Errorf("storescu ends with %d: %s", code, tail(out, 1000))
			}
		})
	}
}

// identifies gives a peer that asks for none a user identity, with and without
// wanting a response: it serves us as if there were none.
func identifies(t *testing.T, addr, title string) {
	t.Helper()
	for name, id := range map[string]*wire.UserIdentity{
		"name":                     {Type: wire.IdentityUser, Primary: []byte("joe")},
		"name_and_passcode":        {Type: wire.IdentityPasscode, Primary: []byte("joe"), Secondary: []byte("secret")},
		"passcode_and_no_response": {Type: wire.IdentityPasscode, Primary: []byte("joe"), Secondary: []byte("secret"), ResponseRequested: true},
		"JWT":                      {Type: wire.IdentityJWT, Primary: []byte("a.b.c")},
	} {
		t.Run(name, func(t *testing.T) {
			d := dialer
			d.Identity = id
			c, err := d.Dial(t.Context(), addr, title, []dimse.PresentationContext{presentation(dict.UIDVerification, dimse.RoleSCU, explicitLE)})
			if err != nil {
				t.Fatal(err)
			}
			goesOn(t, c)
		})
	}
}

func weIdentifyAtDCMTK(t *testing.T, s *scene) { identifies(t, "127.0.0.1:"+s.sink.port, "SINK") }

func weIdentifyAtOrthanc(t *testing.T, s *scene) { identifies(t, s.orthanc.dicom, "ORTHANC") }
