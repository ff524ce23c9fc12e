package wado

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"

	"lumen/store"
)

// content is a single-part representation of known length.
type content struct {
	contentType string
	size        int64
	etag        string // strong; "" when none can be promised
	location    string // URL of the resource

	// open reads n bytes from offset off; both lie within size. When ranges is
	// false it is only asked for the whole.
	open   func(ctx context.Context, off, n int64) (io.ReadCloser, error)
	ranges bool
}

// part is the head of the body part that c is in.
func (c content) part() part { return part{c.contentType, c.size, c.location} }

// serve answers with c, or the part of it that Range asks for (RFC 9110 13, 14).
func (x *exchange) serve(c content) error {
	h := x.Header()
	h.Set("Vary", "Accept")
	if c.etag != "" {
		h.Set("ETag", c.etag)
	}
	h.Set("Content-Location", c.location)
	switch checkConditions(x.r.Header, c.etag) {
	case preconditionFailed:
		return refuse(http.StatusPreconditionFailed, "the representation is not the one that If-Match names")
	case notModified:
		x.WriteHeader(http.StatusNotModified)
		return nil
	}
	status, r := http.StatusOK, byteRange{0, c.size}
	if c.ranges {
		h.Set("Accept-Ranges", "bytes")
		if field := x.r.Header.Get("Range"); field != "" && rangeApplies(x.r.Header, c.etag) {
			asked, ok, satisfiable := parseRange(field, c.size)
			switch {
			case ok && !satisfiable:
				return &requestError{http.StatusRequestedRangeNotSatisfiable, "the range lies outside of the representation",
					[2]string{"Content-Range", "bytes */" + strconv.FormatInt(c.size, 10)}}
			case ok:
				status, r = http.StatusPartialContent, asked
				h.Set("Content-Range", r.contentRange(c.size))
			}
		}
	} else {
		h.Set("Accept-Ranges", "none")
	}
	h.Set("Content-Type", c.contentType)
	h.Set("Content-Length", strconv.FormatInt(r.length, 10))
	if x.head() || r.length == 0 {
		x.WriteHeader(status)
		return nil
	}
	body, err := c.open(x.r.Context(), r.offset, r.length)
	if err != nil {
		h.Del("Content-Length")
		return err
	}
	defer body.Close()
	x.WriteHeader(status)
	return x.copy(body, r.length)
}

// etag makes a strong entity tag of what the bytes are made from: the blob, of
// which no byte ever changes, and what distinguishes this representation of it.
func etag(blob store.BlobRef, representation string) string {
	h := sha256.New()
	h.Write(blob.ID[:])
	io.WriteString(h, representation)
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18]) + `"`
}
