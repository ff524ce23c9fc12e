package wado

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"lumen/access"
	"lumen/store"
)

// exchange is one request and its answer. It is the http.ResponseWriter that
// handlers write to: it counts, and gives each write its own deadline, so that
// a client that reads slowly is served and one that stalls is let go.
type exchange struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
	r    *http.Request

	stall     time.Duration // see Limits
	id        string
	protocol  string
	base      string // URL of Prefix
	principal access.Principal

	status int // 0 until the header is written
	sent   int64
}

func (x *exchange) Header() http.Header         { return x.w.Header() }
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.w.WriteHeader(status)
}

// Write sends b to the client, in pieces that each have the time of one write;
// its errors wrap errClientLeft.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	written := 0
	for {
		piece := b[written:min(len(b), written+copySize)]
		if err := x.ctrl.SetWriteDeadline(time.Now().Add(x.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return written, clientLeft(err)
		}
		n, err := x.w.Write(piece)
		x.sent += int64(n)
		if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			return written + n, clientLeft(err)
		}
		if written += len(piece); written == len(b) { // a HEAD answer has no body to fail on
			return written, nil
		}
	}
}

// clientLeft keeps the kind of a network error but not its text, which holds
// nothing that helps.
func clientLeft(err error) error { return fmt.Errorf("%w: %w", errClientLeft, err) }

// head reports whether only the header is asked for.
func (x *exchange) head() bool { return x.r.Method == http.MethodHead }

// request is what the archive records of where the call came from.
func (x *exchange) request() store.Request {
	return store.Request{ID: x.id, Protocol: x.protocol, Peer: x.r.RemoteAddr}
}

// copySize is the number of bytes in one write to a client.
const copySize = 256 << 10

// copyBuffers hold what passes between the archive and a client.
var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// copy sends exactly n bytes of src, or all of it when n is -1, through one
// buffer. A read error is returned as it is, a short src is an error, a write
// error wraps errClientLeft.
func (x *exchange) copy(src io.Reader, n int64) error {
	buffer := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buffer)
	for copied := int64(0); copied != n; {
		window := buffer[:]
		if n >= 0 {
			window = window[:min(int64(len(window)), n-copied)]
		}
		filled, err := fill(src, window)
		if filled > 0 {
			if _, err := x.Write(window[:filled]); err != nil {
				return err
			}
			copied += int64(filled)
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return err
		case n >= 0 && copied < n:
			return fmt.Errorf("%w: %d of %d bytes", errShort, copied, n)
		default:
			return nil
		}
	}
	return nil
}

// errShort says that the archive gave less than it had announced.
var errShort = errors.New("content ends early")

// fill reads until b is full, so that writes are few and large.
func fill(src io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = src.Read(b[n:])
		n += m
	}
	return n, err
}

// handle wraps a handler in what every request needs: an id, a principal, a
// recover, the error table, metrics and one log line without identifiers.
func (s *server) handle(route, protocol string, serve func(*exchange) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		x := &exchange{w: w, ctrl: http.NewResponseController(w), r: r, stall: s.limits.Stall, id: newID(), protocol: protocol, base: s.base(r)}
		h := w.Header()
		h.Set("Cache-Control", "private, no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin") // no page elsewhere embeds an answer

		err := s.serve(x, serve)
		status, cut := x.finish(err)
		s.metrics.observe(route, status, x.sent, time.Since(start))
		s.log(x, route, status, time.Since(start), err)
		if cut {
			if status != statusClientLeft {
				s.metrics.truncated.Inc()
			}
			panic(http.ErrAbortHandler) // the server closes the connection, quietly
		}
	})
}

// serve recognises the principal, runs the handler and turns a panic into an
// error with its stack.
func (s *server) serve(x *exchange, serve func(*exchange) error) (err error) {
	defer catch(&err)
	x.principal, err = s.principal(x.r)
	if err != nil {
		var denied *access.DeniedError
		if errors.As(err, &denied) {
			return err
		}
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	return serve(x)
}

// catch is deferred by whatever runs a part of a request.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = &panicError{value: p, stack: debug.Stack()}
	}
}

// panicError carries the stack to the log. The panic's value may hold anything,
// a patient's name included: only its type is told.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	if err, ok := e.value.(interface{ RuntimeError() }); ok {
		return fmt.Sprintf("panic: %T", err)
	}
	return fmt.Sprintf("panic: %T", e.value)
}

// finish sends the error answer where there is still room for one. It returns
// the status to record, and whether the connection must be cut.
func (x *exchange) finish(err error) (status int, cut bool) {
	if err == nil {
		if x.status == 0 {
			x.WriteHeader(http.StatusOK)
		}
		return x.status, false
	}
	if x.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return statusClientLeft, true
	}
	answer := answerTo(err)
	switch {
	case answer.status == statusClientLeft:
		return answer.status, true
	case x.status != 0:
		return x.status, true
	}
	writeError(x, x.id, answer)
	return answer.status, false
}

func (s *server) log(x *exchange, route string, status int, took time.Duration, err error) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("request", x.id), slog.String("route", route), slog.Int("status", status),
		slog.Int64("sent_bytes", x.sent), slog.Duration("duration", took),
		slog.String("peer", x.r.RemoteAddr), slog.Any("principal", x.principal),
	}
	if err != nil {
		if answerTo(err).status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		attrs = append(attrs, slog.String("cause", err.Error()))
		var panicked *panicError
		if errors.As(err, &panicked) {
			s.metrics.panics.Inc()
			attrs = append(attrs, slog.String("stack", string(panicked.stack)))
		}
	}
	s.logger.LogAttrs(x.r.Context(), level, "dicomweb request", attrs...)
}

// newID names a request in the journal and in the log: 16 random bytes, hex.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
