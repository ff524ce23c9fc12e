package wado

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"lumen/access"
	"lumen/store"
)

// statusClientLeft is what is logged and counted for a client that went away
// before its answer was complete. It never goes on the wire.
const statusClientLeft = 499

// statuses is the one place where a cause becomes an HTTP status. The first
// row that matches decides; what matches none is 500. The reason goes to the
// client, the cause only to the log.
var statuses = []struct {
	cause  error
	status int
	reason string
}{
	{errClientLeft, statusClientLeft, "the client left"},
	{context.Canceled, statusClientLeft, "the client left"},
	{store.ErrDenied, http.StatusForbidden, "not authorised"},
	{store.ErrNotFound, http.StatusNotFound, "nothing is stored under this path"},
	{store.ErrNoFrame, http.StatusNotFound, "the instance has no such frame"},
	{store.ErrTooMany, http.StatusRequestEntityTooLarge, "the search matches too much: narrow it or set a limit"},
	{store.ErrTooLarge, http.StatusRequestEntityTooLarge, "the instance is larger than this archive takes"},
	{store.ErrMismatch, http.StatusConflict, "the data set is not what was announced"},
	{store.ErrNoUID, http.StatusBadRequest, "the data set lacks a valid study, series, SOP instance or SOP class UID"},
	{store.ErrUnreadable, http.StatusBadRequest, "the data set cannot be understood"},
	{store.ErrJournal, http.StatusServiceUnavailable, "the audit journal cannot record this request"},
	{store.ErrNoSpace, http.StatusServiceUnavailable, "out of space"},
	{store.ErrAway, http.StatusServiceUnavailable, "where this is kept cannot be reached now"},
	{store.ErrClosed, http.StatusServiceUnavailable, "shutting down"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timed out"},
	{io.ErrUnexpectedEOF, http.StatusBadRequest, "the request body ends early"},
}

// requestError is a refusal that this package decides on. Its reason is a
// constant of ours: it never quotes what the client sent.
type requestError struct {
	status int
	reason string
	header [2]string // a field that belongs to the refusal, if any
}

func (e *requestError) Error() string { return e.reason }

func refuse(status int, reason string) error { return &requestError{status: status, reason: reason} }
func badRequest(reason string) error         { return refuse(http.StatusBadRequest, reason) }
func notFound(reason string) error           { return refuse(http.StatusNotFound, reason) }
func notAcceptable(reason string) error      { return refuse(http.StatusNotAcceptable, reason) }
func tooLarge(reason string) error           { return refuse(http.StatusRequestEntityTooLarge, reason) }
func unsupported(reason string) error        { return refuse(http.StatusUnsupportedMediaType, reason) }

// errClientLeft wraps every failure to write to, or read from, the client.
var errClientLeft = errors.New("client left")

// errUnfinished is the outcome of a retrieval whose handler panicked.
var errUnfinished = errors.New("request was not finished")

// answerTo maps a cause to what the client is told.
func answerTo(err error) *requestError {
	var refused *requestError
	if errors.As(err, &refused) {
		return refused
	}
	var denied *access.DeniedError
	if errors.As(err, &denied) {
		return &requestError{status: http.StatusForbidden, reason: denied.Reason}
	}
	for _, s := range statuses {
		if errors.Is(err, s.cause) {
			return &requestError{status: s.status, reason: s.reason}
		}
	}
	return &requestError{status: http.StatusInternalServerError, reason: "internal error"}
}

// writeError answers with a JSON object; headers of an answer that did not come
// to be are taken back.
func writeError(w http.ResponseWriter, id string, e *requestError) {
	h := w.Header()
	for _, name := range []string{"Content-Location", "Content-Range", "ETag", "Warning", "Accept-Ranges", "Trailer", "Vary"} {
		h.Del(name)
	}
	if e.header[0] != "" {
		h.Set(e.header[0], e.header[1])
	}
	body, _ := json.Marshal(struct { // two strings always marshal
		Error   string `json:"error"`
		Request string `json:"request"`
	}{e.reason, id})
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.status)
	w.Write(body)
}
