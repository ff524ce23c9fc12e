package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Our client proves who it is, to nodes that ask for it, and asks them in turn.
func TestClientCommandsOverTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	server := ca.issue("lumen")
	passcode := filepath.Join(t.TempDir(), "joe.passcode")
	if err := os.WriteFile(passcode, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, fmt.Sprintf(`
dimse:
  tls: {listen: "127.0.0.1:0", certificate: %q, key: %q, client_ca: %q}
  users:
  - {name: joe, passcode: "file:%s"}
  - {name: guest}
aes:
- {title: TOWER, certificates: ["cn:tower1"], rights: [echo, store, query, retrieve]}
`, server.cert, server.key, ca.file(), passcode))
	host, port := n.listens("dimse_tls")
	peer := "LUMEN@" + host + ":" + port
	tower, forged := ca.issue("tower1"), stranger.issue("tower1")
	as := func(p pair, more ...string) []string {
		return append([]string{"--as", "TOWER", "--ca", ca.file(), "--cert", p.cert, "--key", p.key}, more...)
	}
	t.Setenv("JOES_PASSCODE", "open sesame")
	t.Setenv("WRONG_PASSCODE", "open barley")
	for _, c := range []struct {
		name  string
		flags []string
		ok    bool
	}{
		{"both show their certificates", as(tower), true},
		{"we are of another CA", as(forged), false},
		{"we show none", []string{"--as", "TOWER", "--ca", ca.file()}, false},
		{"in clear", []string{"--as", "TOWER"}, false},
		{"the peer is of a CA that we do not know", []string{"--as", "TOWER", "--tls", "--cert", tower.cert, "--key", tower.key}, false},
		{"the peer is another than we want", as(tower, "--tls-name", "other.example"), false},
		{"a user by name", as(tower, "--user", "guest"), true},
		{"a user with a passcode in a file", as(tower, "--user", "joe", "--passcode", "file:"+passcode), true},
		{"a user with a passcode in the environment", as(tower, "--user", "joe", "--passcode", "env:JOES_PASSCODE"), true},
		{"another passcode", as(tower, "--user", "joe", "--passcode", "env:WRONG_PASSCODE"), false},
		{"no passcode where there is one", as(tower, "--user", "joe"), false},
		{"a user that is not there", as(tower, "--user", "jim"), false},
		{"a passcode of nobody", as(tower, "--passcode", "env:JOES_PASSCODE"), false},
		{"a passcode on the command line", as(tower, "--user", "joe", "--passcode", "open sesame"), false},
	} {
		if out, code := run(t, lumenBinary, append([]string{"echo", peer}, c.flags...)...); (code == 0) != c.ok {
			t.Errorf("%s: echo ends with %d: %s", c.name, code, out)
		} else if strings.Contains(out, "sesame") {
			t.Errorf("%s: the passcode is printed", c.name)
		}
	}
	if out, code := run(t, lumenBinary, "echo", "--user", "guest", "192.0.2.1:104"); code != 1 || !strings.Contains(out, "TLS only") {
		t.Errorf("a user in clear: echo ends with %d: %s", code, out)
	}

	out, _ := n.lumen("audit", "show", "--format", "json")
	if strings.Count(out, `"user":"joe"`) != 2 || strings.Count(out, `"user":"guest"`) != 1 {
		t.Error("the journal does not say which users came")
	}

	rng := rngFor(t)
	dir := t.TempDir()
	s := still{Study: "2.25.821", Series: "2.25.821.1", Instance: uid(rng), Name: "Safe^Way", ID: "S1", Size: 50_000}
	save(t, dir, file(vlEndoscopic, s.Instance, jpegBaseline, s.dataSet(rng)))
	into := filepath.Join(t.TempDir(), "got")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"send", peer, dir}, "1 sent"},
		{[]string{"find", peer, "PatientID=S1", "StudyInstanceUID="}, "2.25.821"},
		{[]string{"get", "--into", into, peer, "StudyInstanceUID=2.25.821"}, "1 done"},
	} {
		if out, code := run(t, lumenBinary, append(c.args, as(tower)...)...); code != 0 || !strings.Contains(out, c.says) {
			t.Errorf("%s ends with %d: %s", c.args[0], code, out)
		}
	}
}

// DCMTK takes our client's TLS for BCP 195, and its certificate.
func TestClientCommandsOverTLSToDCMTK(t *testing.T) {
	ca := newAuthority(t)
	server, tower := ca.issue("sink"), ca.issue("tower1")
	for _, profile := range []string{"--profile-bcp195", "--profile-bcp195-nd", "--profile-bcp195-ex"} {
		sink := startReceiver(t, "SINK", "+tls", server.key, server.cert, "+cf", ca.file(), profile)
		if out, code := run(t, lumenBinary, "echo", "SINK@127.0.0.1:"+sink.port, "--ca", ca.file(), "--cert", tower.cert, "--key", tower.key); code != 0 {
			t.Errorf("%s: echo ends with %d: %s", profile, code, out)
		}
		if out, code := run(t, lumenBinary, "echo", "SINK@127.0.0.1:"+sink.port); code == 0 {
			t.Errorf("%s: in clear: %s", profile, out)
		}
	}
}
