package s3test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	Delay        time.Duration // before the request is passed on
	Status       int           // is answered in place of the server
	CutRequest   bool          // the connection breaks, the server sees nothing
	CutAnswer    bool          // the server does it, and its answer is lost
	CutBody      int64         // the answer breaks off after so many bytes
	Stall        bool          // nothing more comes once the body has begun, until the client leaves
	FlipRequest  bool          // a byte of the request's body is changed
	FlipAnswer   bool          // a byte of the answer's body is changed
	HideChecksum bool          // the server looks like one without checksums
}

type faultKey struct{}

// Proxy stands between a client and a server.
type Proxy struct {
	Endpoint string

	answered atomic.Int64
	mu       sync.Mutex
	choose   func(*http.Request) Fault
	requests []string
}

// NewProxy starts a proxy in front of an endpoint until the test ends.
func NewProxy(t testing.TB, endpoint string) *Proxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	reverse := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is part of the signature
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Body = counted{resp.Body, &p.answered}
			return spoil(resp)
		},
		ErrorLog:     log.New(io.Discard, "", 0), // our own cuts
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := p.next(r)
		time.Sleep(f.Delay)
		switch {
		case f.CutRequest:
			panic(http.ErrAbortHandler)
		case f.Status != 0:
			_, _ = io.Copy(io.Discard, r.Body) // so that the answer gets through
			w.WriteHeader(f.Status)
			return
		case f.FlipRequest:
			r.Body = &flip{r.Body, false}
		}
		reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), faultKey{}, f)))
	}))
	t.Cleanup(server.Close)
	p.Endpoint = server.URL
	return p
}

// Set chooses the fault of every request from now on; nil is none.
func (p *Proxy) Set(choose func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
	p.requests = nil
}

// Answered is how many bytes of answers' bodies came from the server so far.
func (p *Proxy) Answered() int64 { return p.answered.Load() }

// counted counts what is read of a body.
type counted struct {
	io.ReadCloser
	total *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.total.Add(int64(n))
	return n, err
}

// Requests returns the methods and queries since the last Set.
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

func (p *Proxy) next(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, strings.TrimSuffix(r.Method+" "+r.URL.RawQuery, " "))
	if p.choose == nil {
		return Fault{}
	}
	return p.choose(r)
}

var errCut = errors.New("cut by the proxy")

// spoil does to an answer what the request's fault says.
func spoil(resp *http.Response) error {
	f := resp.Request.Context().Value(faultKey{}).(Fault)
	switch {
	case f.CutAnswer:
		return errCut
	case f.CutBody > 0:
		resp.Body = &cut{resp.Body, f.CutBody}
	case f.Stall:
		resp.Body = &stall{resp.Body, resp.Request.Context().Done(), false}
	case f.FlipAnswer:
		resp.Body = &flip{resp.Body, false}
	case f.HideChecksum:
		return hideChecksum(resp)
	}
	return nil
}

var checksumElement = regexp.MustCompile(`<Checksum[A-Z0-9a-z]+>[^<]*</Checksum[A-Z0-9a-z]+>`)

// hideChecksum removes checksums from the header, and from the XML that answers a
// completed upload.
func hideChecksum(resp *http.Response) error {
	for name := range resp.Header {
		if strings.HasPrefix(name, "X-Amz-Checksum") {
			resp.Header.Del(name)
		}
	}
	if resp.Request.Method != http.MethodPost {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	body = checksumElement.ReplaceAll(body, nil)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// flip changes the first byte that passes.
type flip struct {
	io.ReadCloser
	done bool
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[n/2] ^= 1
		f.done = true
	}
	return n, err
}

// cut breaks off after some bytes.
type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errCut
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// stall gives one piece and then nothing.
type stall struct {
	io.ReadCloser
	gone  <-chan struct{}
	begun bool
}

func (s *stall) Read(p []byte) (int, error) {
	if s.begun {
		<-s.gone
		return 0, errCut
	}
	s.begun = true
	return s.ReadCloser.Read(p[:min(len(p), 1000)])
}
