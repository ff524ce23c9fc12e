package wado

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lumen/dicom"
	"lumen/store"
)

// storeInstances takes instances in (PS3.18 10.5). Each part is streamed into the
// archive as it arrives; one that fails does not stop the others.
func (s *server) storeInstances(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	form, ok := accept.choose(reportOffers)
	if !ok {
		return notAcceptable("what was stored is answered as application/dicom+json or application/dicom+xml")
	}
	boundary, err := storeBoundary(x.r)
	if err != nil {
		return err
	}
	body := &requestBody{x: x}
	defer func() { s.metrics.received.Add(float64(body.read)) }()
	parts, err := newPartReader(body, boundary, s.limits.Parts, s.limits.PartHeader)
	if err != nil {
		return err
	}
	report := newStoreReport(x.base)
	for {
		contentType, err := parts.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.storePart(x, t.study, contentType, parts, report)
		}
		if err != nil && (len(report.referenced) == 0 || !isMalformed(err)) {
			return err
		}
		if err != nil { // the client must learn what is stored all the same
			report.failed(dicom.FileMeta{}, err)
			break
		}
	}
	return x.sendReport(report, form)
}

// isMalformed reports whether it is the body that cannot be read on.
func isMalformed(err error) bool {
	var request *requestError
	return errors.As(err, &request) || errors.Is(err, io.ErrUnexpectedEOF)
}

var (
	errNotMultipart = unsupported(`send multipart/related; type="application/dicom"`)
	errPartType     = unsupported("a part is not application/dicom")
	errEncoded      = unsupported("content encodings are not taken")
)

// storeBoundary checks what kind of body this is.
func storeBoundary(r *http.Request) (string, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "", errEncoded
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", errNotMultipart
	}
	if media != "multipart/related" {
		return "", errNotMultipart
	}
	if kind := params["type"]; kind != "" && !strings.EqualFold(kind, mediaDICOM) {
		return "", errNotMultipart
	}
	if params["boundary"] == "" {
		// type=application/dicom without its quotes ends ParseMediaType early.
		return looseBoundary(r.Header.Get("Content-Type"))
	}
	return params["boundary"], nil
}

// looseBoundary reads the boundary of a Content-Type whose type parameter is
// not quoted, as some clients send it.
func looseBoundary(field string) (string, error) {
	s := scanner{rest: field}
	s.until(";")
	boundary := ""
	for s.skip(';') {
		s.space()
		name, value, err := s.parameter()
		switch {
		case err != nil:
			return "", errBoundary
		case strings.EqualFold(name, "boundary"):
			boundary = value
		case strings.EqualFold(name, "type") && !strings.EqualFold(value, mediaDICOM):
			return "", errNotMultipart
		}
		s.space()
	}
	if boundary == "" {
		return "", errBoundary
	}
	return boundary, nil
}

// storePart stores one part and notes what became of it. The error it returns
// ends the request: the body cannot be read on, or nothing can be recorded.
func (s *server) storePart(x *exchange, study, contentType string, part *partReader, report *storeReport) error {
	media, _, err := mime.ParseMediaType(contentType)
	if contentType != "" && (err != nil || media != mediaDICOM) {
		report.notDICOM()
		s.metrics.stored.WithLabelValues("failed").Inc()
		return nil
	}
	meta, data, err := dicom.ReadFileMeta(part)
	if err == nil && study != "" {
		data, err = withinStudy(data, meta.TransferSyntaxUID, study)
	}
	var receipt store.Receipt
	if err == nil {
		receipt, err = s.ingest(x, meta, data)
	}
	outcome := receipt.Outcome.String()
	switch {
	case err == nil:
		report.stored(receipt)
	case part.err != nil:
		return part.err
	case x.r.Context().Err() != nil, errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrJournal), errors.Is(err, store.ErrClosed):
		return err
	default:
		outcome = "failed"
		report.failed(meta, err)
		if answerTo(err).status == http.StatusInternalServerError {
			s.logFailedPart(x, err)
		}
	}
	s.metrics.stored.WithLabelValues(outcome).Inc()
	return nil
}

func (s *server) ingest(x *exchange, meta dicom.FileMeta, data io.Reader) (store.Receipt, error) {
	ts, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if !ok {
		return store.Receipt{}, errSyntaxUnknown
	}
	// The UIDs are those of the data set: what tools that rewrite it leave in the
	// File Meta group announces nothing.
	in := store.Incoming{TransferSyntax: ts, Source: store.SourceWeb}
	return s.archive.Ingest(x.r.Context(), x.principal, x.request(), in, data)
}

func (s *server) logFailedPart(x *exchange, err error) {
	s.logger.ErrorContext(x.r.Context(), "instance not stored", "request", x.id, "cause", err)
}

// Failure reasons of stored instances (PS3.18 table I.2-2).
const (
	reasonNoResources   = 0xA700
	reasonMismatch      = 0xA900
	reasonNotUnderstood = 0xC000
	reasonSyntax        = 0xC122
	reasonProcessing    = 0x0110
)

var (
	errSyntaxUnknown = errors.New("unknown transfer syntax")
	errOtherStudy    = errors.New("instance of another study than the path names")
)

// failureReason is the status that C-STORE would have.
func failureReason(err error) int {
	switch {
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrTooLarge), errors.Is(err, errPartCount):
		return reasonNoResources
	case errors.Is(err, store.ErrMismatch), errors.Is(err, errOtherStudy):
		return reasonMismatch
	case errors.Is(err, errSyntaxUnknown):
		return reasonSyntax
	case errors.Is(err, store.ErrUnreadable), errors.Is(err, dicom.ErrSyntax), errors.Is(err, dicom.ErrLimit),
		errors.Is(err, errPartType), isMalformed(err):
		return reasonNotUnderstood
	}
	return reasonProcessing
}

// requestBody reads what the client sends, counts it and lets go of a client
// that stalls.
type requestBody struct {
	x    *exchange
	read int64
}

// Read implements io.Reader. Only a clean end is io.EOF.
func (b *requestBody) Read(p []byte) (int, error) {
	if err := b.x.ctrl.SetReadDeadline(time.Now().Add(b.x.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, clientLeft(err)
	}
	n, err := b.x.r.Body.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) { // from here on only the answer is waited for
		b.x.ctrl.SetReadDeadline(time.Time{})
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = clientLeft(err)
	}
	return n, err
}

// sendReport answers 200 when all was stored, 202 when only some, 409 when
// nothing was (PS3.18 table 10.5.3-1).
func (x *exchange) sendReport(report *storeReport, form offer) error {
	switch report.count() {
	case 0:
		return badRequest("the request holds no instance")
	case report.foreign:
		return errPartType
	}
	body, err := form.appendModel(nil, report.dataSet(), dicom.JSONOptions{})
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	h := x.Header()
	h.Set("Content-Type", form.media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(report.status())
	_, err = x.Write(body)
	return err
}
