package node

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"lumen/config"
)

// A request whose body never comes holds its connection no longer than one
// whose header never comes.
func TestABodyThatNeverComesIsNotWaitedFor(t *testing.T) {
	limits := config.Default().Limits
	limits.HTTPReadHeader = config.Duration(50 * time.Millisecond)
	srv := newWebServer(new(web), limits, slog.New(slog.DiscardHandler))
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

// Before the archive is open, and when it is closed again, the node says that
// it is alive and that it cannot serve yet.
func TestHealthIsAnsweredWhileTheNodeStarts(t *testing.T) {
	w := new(web)
	status := func(path string) int {
		t.Helper()
		rw := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		w.handler().ServeHTTP(rw, r)
		return rw.Code
	}
	expect := func(when string, want map[string]int) {
		t.Helper()
		for path, code := range want {
			if got := status(path); got != code {
				t.Errorf("%s: %s is answered %d, want %d", when, path, got, code)
			}
		}
	}
	closed := map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 503, "/dicom-web/studies": 503}
	expect("starting", closed)
	w.open(&webParts{dicomweb: http.NotFoundHandler(), metrics: newRegistry(), ready: func() error { return nil }})
	expect("open", map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/dicom-web/studies": 404})
	w.open(nil)
	expect("stopping", closed)
}
