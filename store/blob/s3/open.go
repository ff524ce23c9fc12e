package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// Open implements store.Blobs.
func (b *Blobs) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	if n == 0 {
		if _, err := b.Stat(ctx, name); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	rc, err := b.openKey(ctx, b.key(name), off, n)
	if err != nil {
		return nil, wrap(ctx, "open object", err)
	}
	return rc, nil
}

func (b *Blobs) openKey(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reader{b: b, ctx: ctx, cancel: cancel, key: key, off: off, left: n}
	if err := r.open(); err != nil {
		cancel(nil)
		return nil, err
	}
	return r, nil
}

var errStalled = errors.New("the server sends nothing")

// reader reads one range, and asks for the rest of it when the connection breaks.
type reader struct {
	b      *Blobs
	ctx    context.Context
	cancel context.CancelCauseFunc
	key    string
	off    int64 // of the next byte
	left   int64 // bytes; -1 while unknown
	etag   string
	body   io.ReadCloser
	broken int // tries since the last byte
}

// open asks for the range [off, off+left).
func (r *reader) open() error {
	opts := minio.GetObjectOptions{}
	var err error
	switch {
	case r.left > 0:
		err = opts.SetRange(r.off, r.off+r.left-1)
	case r.off > 0:
		err = opts.SetRange(r.off, 0) // to the end
	}
	if err == nil && r.etag != "" {
		err = opts.SetMatchETag(r.etag)
	}
	if err != nil {
		return err
	}
	body, info, header, err := r.b.core.GetObject(r.ctx, r.b.cfg.Bucket, r.key, opts)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange || minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		r.left, r.body = 0, http.NoBody // begins at the end or later
		return nil
	}
	if err != nil {
		return err
	}
	if r.off > 0 && header.Get("Content-Range") == "" {
		return errors.Join(errors.New("the server does not serve ranges"), body.Close())
	}
	if r.left < 0 || info.Size < r.left && r.etag == "" {
		r.left = info.Size // a range past the end is cut there
	}
	r.body, r.etag = body, info.ETag
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		n, err := r.read(p[:min(int64(len(p)), r.left)])
		r.off, r.left = r.off+int64(n), r.left-int64(n)
		if n > 0 {
			r.broken = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if err := r.repair(err); err != nil {
			return 0, err
		}
	}
}

// read reads from the body, and cuts the connection when nothing comes.
func (r *reader) read(p []byte) (int, error) {
	if r.body == nil {
		return 0, io.ErrUnexpectedEOF // the last repair has not got one
	}
	body := r.body
	timer := time.AfterFunc(r.b.cfg.Stall, func() { _ = body.Close() }) // makes Read return
	n, err := body.Read(p)
	if !timer.Stop() && err != nil {
		err = errStalled
	}
	return n, err
}

// repair opens the rest of the range after cause, with growing pauses.
func (r *reader) repair(cause error) error {
	if r.body != nil {
		_ = r.body.Close() // it is broken already
		r.body = nil
	}
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	if r.broken++; r.broken >= r.b.cfg.Retries {
		return wrap(r.ctx, "read object", cause)
	}
	if err := pause(r.ctx, r.broken); err != nil {
		return context.Cause(r.ctx)
	}
	if err := r.open(); err != nil {
		return wrap(r.ctx, "read object", err) // minio-go has tried it several times
	}
	return nil
}

// Close ends the request.
func (r *reader) Close() error {
	r.cancel(errors.New("the object was closed"))
	if r.body == nil {
		return nil
	}
	_ = r.body.Close() // what an abandoned response says does not matter
	return nil
}
