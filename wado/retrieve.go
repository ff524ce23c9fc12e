package wado

import (
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
			return x.serve(first.content())
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
func (p planned) content() content {
	head := p.head(nil)
	prefix := int64(len(head))
	return content{
		contentType: p.form.contentType(),
		size:        prefix + p.Size,
		etag:        etag(p.SHA256, string(head)),
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

// sendInstances streams the plan as multipart/related.
func (x *exchange) sendInstances(plan []planned, status int, warning string) error {
	out := newMultipartWriter(x)
	parts := func(yield func(planned, part) bool) {
		for _, p := range plan {
			head := int64(len(p.head(nil)))
			if !yield(p, part{p.form.contentType(), head + p.Size}) {
				return
			}
		}
	}
	length, first := out.endLength(), true
	for _, part := range parts {
		length += out.overhead(part, first) + part.length
		first = false
	}
	h := x.Header()
	h.Set("Content-Type", out.contentType(mediaDICOM))
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("Vary", "Accept")
	if warning != "" {
		h.Set("Warning", warning)
	}
	if x.head() {
		x.WriteHeader(status)
		return nil
	}
	for p, part := range parts {
		err := x.sendPart(out, part, status, p.head(nil), func(ctx context.Context) (io.ReadCloser, error) { return p.DataSet(ctx) })
		if err != nil {
			return err
		}
	}
	return out.close()
}

// sendPart sends one part: what stands before, then a stream. The stream is
// opened first, so that when nothing can be read the answer is still an error.
func (x *exchange) sendPart(out *multipartWriter, p part, status int, before []byte, open func(context.Context) (io.ReadCloser, error)) error {
	body, err := open(x.r.Context())
	if err != nil {
		return err
	}
	defer body.Close()
	if x.status == 0 {
		x.WriteHeader(status)
	}
	if err := out.next(p); err != nil {
		return err
	}
	if len(before) > 0 {
		if _, err := x.Write(before); err != nil {
			return err
		}
	}
	return x.copy(body, p.length-int64(len(before)))
}
