package wado

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"lumen/dicom"
	"lumen/store"
)

// withRetrieval opens what the path names, runs serve, and closes the retrieval
// with the outcome, whatever that is: an error, a client that left, a panic.
func (s *server) withRetrieval(x *exchange, t target, serve func([]*store.Instance) error) (err error) {
	ret, err := s.archive.Open(x.r.Context(), x.principal, x.request(), t.selection())
	if err != nil {
		return err
	}
	outcome := errUnfinished // what a panic leaves
	defer func() {
		if closeErr := ret.Close(outcome); closeErr != nil && err == nil {
			err = fmt.Errorf("close retrieval: %w", closeErr)
		}
	}()
	outcome = serve(ret.Instances())
	if errors.Is(outcome, store.ErrNotFound) { // an object that the index knows
		outcome = fmt.Errorf("%w: %v", store.ErrCorrupt, outcome)
	}
	return outcome
}

// retrieveParameters reads what every retrieval needs.
func (x *exchange) retrieveParameters() (target, acceptable, error) {
	t, err := x.target()
	if err != nil {
		return target{}, acceptable{}, err
	}
	accept, err := acceptOf(x.r, x.r.URL.Query()["accept"])
	return t, accept, err
}

// retrieve answers with whole instances (PS3.18 10.4): of a study, a series, or one.
func (s *server) retrieve(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	return s.withRetrieval(x, t, func(instances []*store.Instance) error {
		plan, err := planInstances(instances, accept, t.instance != "")
		if err != nil {
			return err
		}
		if first := plan[0]; !first.form.multipart {
			if !first.form.stored {
				return x.sendTranscoded(first)
			}
			return x.serve(first.content(x.base))
		}
		if missing := len(instances) - len(plan); missing > 0 {
			return x.sendInstances(plan, http.StatusPartialContent,
				fmt.Sprintf(`299 lumen "%d instances cannot be had in an acceptable transfer syntax"`, missing))
		}
		return x.sendInstances(plan, http.StatusOK, "")
	})
}

var errNoForm = notAcceptable("no acceptable media type and transfer syntax can be had of what is stored")

// planned is an instance and the form in which it is sent.
type planned struct {
	*store.Instance
	form offer
}

// planInstances decides for each instance how it is sent; those that cannot be
// had in an acceptable form are left out. None at all is 406. A single part is
// for single instances only.
func planInstances(instances []*store.Instance, accept acceptable, single bool) ([]planned, error) {
	forms := map[string]offer{} // by stored transfer syntax; none: zero
	plan := make([]planned, 0, len(instances))
	for _, instance := range instances {
		form, seen := forms[instance.TransferSyntaxUID]
		if !seen {
			form = chooseInstance(instance.TransferSyntaxUID, accept, single)
			forms[instance.TransferSyntaxUID] = form
		}
		if form.media != "" {
			plan = append(plan, planned{instance, form})
		}
	}
	if len(plan) == 0 {
		return nil, errNoForm
	}
	return plan, nil
}

func chooseInstance(syntax string, accept acceptable, single bool) offer {
	offers := instanceOffers(syntaxOf(syntax))
	if !single {
		offers = multipartOnly(offers)
	}
	form, _ := accept.choose(offers)
	return form
}

func multipartOnly(offers []offer) []offer {
	var wrapped []offer
	for _, o := range offers {
		if o.multipart {
			wrapped = append(wrapped, o)
		}
	}
	return wrapped
}

// syntaxOf looks a stored transfer syntax up. One that the table lacks is a
// private one: sent as stored, never looked into.
func syntaxOf(uid string) dicom.TransferSyntax {
	ts, ok := dicom.LookupTransferSyntax(uid)
	if !ok {
		return dicom.TransferSyntax{UID: uid, Encapsulated: true}
	}
	return ts
}

// head is the preamble and File Meta group (PS3.10 7.1) before the data set.
func (p planned) head(b []byte) []byte {
	return dicom.FileMeta{
		MediaStorageSOPClassUID:      p.SOPClassUID,
		MediaStorageSOPInstanceUID:   p.SOPInstanceUID,
		TransferSyntaxUID:            p.form.syntax,
		ImplementationClassUID:       dicom.ImplementationClassUID,
		ImplementationVersionName:    dicom.ImplementationVersionName,
		SourceApplicationEntityTitle: p.CallingAE,
	}.AppendTo(b)
}

// content is the instance as one part 10 file of known length.
func (p planned) content(base string) content {
	head := p.head(nil)
	prefix := int64(len(head))
	return content{
		contentType: p.form.contentType(),
		size:        prefix + p.Size,
		etag:        etag(p.Blob, string(head)),
		location:    targetOf(p.Instance).url(base),
		ranges:      true,
		open: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			if off >= prefix {
				return p.Range(ctx, off-prefix, n)
			}
			before := head[off:min(prefix, off+n)]
			if n -= int64(len(before)); n == 0 {
				return io.NopCloser(bytes.NewReader(before)), nil
			}
			body, err := p.Range(ctx, 0, n)
			if err != nil {
				return nil, err
			}
			return prefixed{io.MultiReader(bytes.NewReader(before), body), body}, nil
		},
	}
}

// prefixed reads through a MultiReader and closes what is behind it.
type prefixed struct {
	io.Reader
	io.Closer
}

// part is the head of the body part that the file is in.
func (p planned) part(base string) part {
	return part{p.form.contentType(), p.length(), targetOf(p.Instance).url(base)}
}

// length is the size of the file in bytes, -1 when it is transcoded on the way.
func (p planned) length() int64 {
	if !p.form.stored {
		return -1
	}
	return int64(len(p.head(nil))) + p.Size
}

// sendInstances streams the plan as multipart/related, with a Content-Length
// when nothing has to be transcoded.
func (x *exchange) sendInstances(plan []planned, status int, warning string) error {
	out := newMultipartWriter(x)
	h := x.Header()
	h.Set("Content-Type", out.contentType(mediaDICOM))
	h.Set("Vary", "Accept")
	if warning != "" {
		h.Set("Warning", warning)
	}
	length, known := out.endLength(), true
	for i, p := range plan {
		head := p.part(x.base)
		length += out.overhead(head, i == 0) + head.length
		known = known && head.length >= 0
	}
	if known {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if x.head() {
		x.WriteHeader(status)
		return nil
	}
	for _, p := range plan {
		if err := x.sendInstance(out, p, status); err != nil {
			return err
		}
	}
	return out.close()
}

// sendInstance sends one instance as a part. Its data set is opened first, so
// that when the first one cannot be read the answer is still an error.
func (x *exchange) sendInstance(out *multipartWriter, p planned, status int) error {
	body, err := p.DataSet(x.r.Context())
	if err != nil {
		return err
	}
	defer body.Close()
	if x.status == 0 {
		x.WriteHeader(status)
	}
	if err := out.next(p.part(x.base)); err != nil {
		return err
	}
	if !p.form.stored {
		return x.transcode(p, body)
	}
	if _, err := x.Write(p.head(nil)); err != nil {
		return err
	}
	return x.copy(body, p.Size)
}

// sendTranscoded sends one instance as a single part of unknown length.
func (x *exchange) sendTranscoded(p planned) error {
	h := x.Header()
	h.Set("Content-Type", p.form.contentType())
	h.Set("Vary", "Accept")
	h.Set("Accept-Ranges", "none")
	h.Set("Content-Location", targetOf(p.Instance).url(x.base))
	if x.head() {
		return nil
	}
	body, err := p.DataSet(x.r.Context())
	if err != nil {
		return err
	}
	defer body.Close()
	return x.transcode(p, body)
}

// transcode sends the file in the syntax of its form.
func (x *exchange) transcode(p planned, stored io.Reader) error {
	w := bufio.NewWriterSize(x, copySize)
	if _, err := w.Write(p.head(nil)); err != nil {
		return err
	}
	if err := dicom.Transcode(w, stored, syntaxOf(p.TransferSyntaxUID), syntaxOf(p.form.syntax), dicom.Limits{}); err != nil {
		return err
	}
	return w.Flush()
}
