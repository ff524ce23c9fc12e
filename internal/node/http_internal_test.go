package node

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"lumen/config"
)

// A request whose body never comes holds its connection no longer than one
// whose header never comes.
func TestABodyThatNeverComesIsNotWaitedFor(t *testing.T) {
	limits := config.Default().Limits
	limits.HTTPReadHeader = config.Duration(50 * time.Millisecond)
	srv := newWebServer(&web{registry: newRegistry()}, limits, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()
	for _, target := range []string{"GET /healthz", "GET /metrics", "POST /dicom-web/studies", "POST /healthz"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, target+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		rsp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, rsp.Body); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection is open after %v: %v", target, 5*time.Second, err)
		}
	}
}
