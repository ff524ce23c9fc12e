package node

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lumen/config"
)

// web is the HTTP side of a node. It lets requests through to the archive from
// open on until it is closed again: while the node starts and stops only health
// is left.
type web struct {
	hosts []string // names accepted in the Host header
	parts atomic.Pointer[webParts]
}

type webParts struct {
	dicomweb http.Handler
	metrics  prometheus.Gatherer
	ready    func() error // nil when the node can serve
}

// notOpen is what is answered without parts.
const notOpen = "the node is starting or stopping"

func newHTTPServer(h http.Handler, l config.Limits, log *slog.Logger) *http.Server {
	return &http.Server{
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Handler:           h,
		MaxHeaderBytes:    int(l.HTTPHeader),
		ReadHeaderTimeout: time.Duration(l.HTTPReadHeader),
		IdleTimeout:       time.Duration(l.HTTPIdle),
	}
}

// newWebServer is newHTTPServer for peers, which need not mean well.
func newWebServer(w *web, l config.Limits, log *slog.Logger) *http.Server {
	return newHTTPServer(unreadWithin(time.Duration(l.HTTPReadHeader), w.handler()), l, log)
}

// unreadWithin gives what a handler left of a request's body the time d to
// come. The server reads it before the next request, with a GET before the
// answer, and would wait for ever.
func unreadWithin(d time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Body == http.NoBody {
			next.ServeHTTP(rw, r)
			return
		}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			rw.Header().Set("Connection", "close")
		}
		next.ServeHTTP(rw, r)
		// An error is the client's leaving.
		http.NewResponseController(rw).SetReadDeadline(time.Now().Add(d))
	})
}

// open lets requests through to the archive; nil closes it again.
func (w *web) open(p *webParts) { w.parts.Store(p) }

func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, http.StatusOK, "alive") })
	mux.Handle("GET /readyz", w.whenOpen(func(p *webParts) http.Handler { return http.HandlerFunc(p.readyz) }))
	mux.Handle("GET /metrics", w.whenOpen(func(p *webParts) http.Handler {
		return promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	}))
	mux.Handle("/dicom-web/", w.whenOpen(func(p *webParts) http.Handler { return p.dicomweb }))
	return w.checkHost(mux)
}

// whenOpen serves with a part of the node, when there is one.
func (w *web) whenOpen(part func(*webParts) http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p := w.parts.Load()
		if p == nil {
			rw.Header().Set("Retry-After", "5")
			answer(rw, http.StatusServiceUnavailable, notOpen)
			return
		}
		part(p).ServeHTTP(rw, r)
	})
}

func (p *webParts) readyz(rw http.ResponseWriter, _ *http.Request) {
	if err := p.ready(); err != nil {
		answer(rw, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(rw, http.StatusOK, "ready")
}

// checkHost answers only to names of ours. Without it a web page could give its
// own name our loopback address and read patient data with the browser of
// whoever looks at it (DNS rebinding). Over TLS the browser checks the name
// itself, and an address that the client connected to is no name at all.
func (w *web) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		addr, err := netip.ParseAddr(host)
		ours, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if r.TLS != nil || err == nil && isAddress(ours, addr) || host == "localhost" || err == nil && addr.Unmap().IsLoopback() || slices.Contains(w.hosts, host) {
			next.ServeHTTP(rw, r)
			return
		}
		answer(rw, http.StatusMisdirectedRequest, "this node does not answer to the name in the Host header")
	})
}

func isAddress(local net.Addr, addr netip.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap() == addr.Unmap()
}

// answer writes a short reason as JSON.
func answer(rw http.ResponseWriter, status int, text string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	json.NewEncoder(rw).Encode(map[string]string{"status": text}) // an error is the client's leaving
}
