package wado

import (
	"io"
	"net/http"
	"strconv"
)

// modelList streams data sets, as an array of JSON objects or as parts. The
// beginning is held back, so that an answer of usual size has a Content-Length,
// an empty one is 204, an error that comes early is still told as such, and a
// Warning is known before the header goes.
type modelList struct {
	x     *exchange
	media string
	parts *multipartWriter // of a multipart form, else nil
	hold  int              // bytes held back at most
	buf   []byte
	begun bool
	warn  bool // a Warning may follow
	count int
}

const (
	modelChunk = 64 << 10
	modelHold  = 8 << 20 // above 5 000 studies with all their attributes
)

func newModelList(x *exchange, form offer, warn bool) *modelList {
	a := &modelList{x: x, media: form.media, hold: modelChunk, warn: warn}
	if form.multipart {
		a.parts = newMultipartWriter(x)
	}
	if warn {
		a.hold = modelHold
	}
	return a
}

// add appends one object.
func (a *modelList) add(object func([]byte) ([]byte, error)) (err error) {
	a.begin()
	if a.buf, err = object(a.buf); err != nil {
		return err
	}
	return a.flushFull()
}

// stream appends one object that is too large to be held.
func (a *modelList) stream(object func(io.Writer) error) error {
	a.begin()
	return object(modelWriter{a})
}

// modelWriter writes a part of an object.
type modelWriter struct{ a *modelList }

func (w modelWriter) Write(b []byte) (int, error) {
	w.a.buf = append(w.a.buf, b...)
	return len(b), w.a.flushFull()
}

// begin writes what stands before an object.
func (a *modelList) begin() {
	a.count++
	switch {
	case a.parts != nil:
		a.buf = a.parts.appendHead(a.buf, part{contentType: a.media, length: -1}, a.count == 1)
	case a.count == 1:
		a.buf = append(a.buf, '[')
	default:
		a.buf = append(a.buf, ',')
	}
}

// flushFull sends what is held when it is much.
func (a *modelList) flushFull() error {
	limit := a.hold
	if a.begun {
		limit = modelChunk
	}
	if len(a.buf) < limit {
		return nil
	}
	return a.flush()
}

// flush sends what is held. A Warning can then only follow as a trailer.
func (a *modelList) flush() error {
	if !a.begun {
		a.begun = true
		a.header()
		if a.warn {
			a.x.Header().Set("Trailer", "Warning")
		}
		a.x.WriteHeader(http.StatusOK)
	}
	if !a.x.head() {
		if _, err := a.x.Write(a.buf); err != nil {
			return err
		}
	}
	a.buf = a.buf[:0]
	return nil
}

func (a *modelList) header() {
	media := a.media
	if a.parts != nil {
		media = a.parts.contentType(media)
	}
	a.x.Header().Set("Content-Type", media)
	a.x.Header().Set("Vary", "Accept")
}

// close ends the list; warning may be empty. A list of nothing is 204.
func (a *modelList) close(warning string) error {
	if warning != "" {
		a.x.Header().Add("Warning", warning)
	}
	if a.count == 0 {
		a.x.WriteHeader(http.StatusNoContent)
		return nil
	}
	if a.parts != nil {
		a.buf = a.parts.appendEnd(a.buf)
	} else {
		a.buf = append(a.buf, ']')
	}
	if !a.begun {
		a.begun = true
		a.header()
		a.x.Header().Set("Content-Length", strconv.Itoa(len(a.buf)))
		a.x.WriteHeader(http.StatusOK)
	}
	return a.flush()
}
