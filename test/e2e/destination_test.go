package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// How often a destination is tried is what the configuration says, none
// included.
func TestRetriesOfADestination(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	at := l.Addr().String()
	n := startNode(t, fmt.Sprintf(`
destinations:
- {title: NEVER, address: %q, retries: 0}
- {title: ONCE, address: %[1]q, retries: 1}
- {title: DEFAULT, address: %[1]q}
`, at))
	rng := rngFor(t)
	dir := t.TempDir()
	for range 2 {
		s := still{Study: "2.25.831", Series: "2.25.831.1", Instance: uid(rng), Name: "Try^Again", ID: "R1", Size: 10_000}
		save(t, dir, file(vlEndoscopic, s.Instance, jpegBaseline, s.dataSet(rng)))
	}
	if out, code := run(t, lumenBinary, "send", n.dimse, dir); code != 0 {
		t.Fatal(out)
	}
	for title, want := range map[string]int32{"NEVER": 1, "ONCE": 2, "DEFAULT": 3} {
		connections.Store(0)
		out, code := run(t, lumenBinary, "move", "--to", title, n.dimse, "StudyInstanceUID=2.25.831")
		if code != 1 || !strings.Contains(out, "ends the association") || !strings.Contains(out, "A702") {
			t.Errorf("%s: move ends with %d: %s", title, code, out)
		}
		if got := connections.Load(); got != want {
			t.Errorf("%s: %d connections, want %d", title, got, want)
		}
	}
}
