package node

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// serveExport streams the Part 10 files of one study, or of all studies of a
// patient, as a tar archive whose names are STUDY/SERIES/INSTANCE by their UIDs.
// A stream that cannot be completed is cut.
func (n *node) serveExport(w http.ResponseWriter, r *http.Request) {
	rq := commandRequest(protocolExport)
	rq.Destination = r.FormValue("to")
	studies, err := n.exportedStudies(r, rq)
	if err == nil && len(studies) == 0 {
		err = store.ErrNotFound
	}
	out := tar.NewWriter(w)
	for i, study := range studies {
		if err = n.exportStudy(r, rq, study, out); err != nil {
			if i > 0 { // something has left
				n.log.Error("an export ends early", "error", err)
				panic(http.ErrAbortHandler) // so that the client does not take it for whole
			}
			break
		}
	}
	switch {
	case err == nil:
		if err := out.Close(); err != nil {
			panic(http.ErrAbortHandler)
		}
	case errors.Is(err, errCut):
		n.log.Error("an export ends early", "error", err)
		panic(http.ErrAbortHandler)
	case errors.Is(err, store.ErrNotFound):
		answer(w, http.StatusNotFound, "there is nothing to export")
	case errors.Is(err, errIssuers):
		answer(w, http.StatusConflict, err.Error())
	case errors.Is(err, store.ErrJournal):
		n.log.Error("an export failed", "error", err)
		answer(w, http.StatusServiceUnavailable, err.Error())
	default:
		n.log.Error("an export failed", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
	}
}

var (
	errCut     = errors.New("the stream was cut")
	errIssuers = errors.New("patients of several issuers have this id: say which with --patient-issuer")
)

// exportedStudies finds what the request is for. A patient is one id of one
// issuer: studies of two are never put together.
func (n *node) exportedStudies(r *http.Request, rq store.Request) ([]string, error) {
	if study := r.FormValue("study"); study != "" {
		return []string{study}, nil
	}
	id, issuer := r.FormValue("patient"), r.FormValue("issuer")
	q := store.NewQuery(store.StudyLevel)
	if err := errors.Join(q.Match(dict.PatientID, id), q.Match(dict.IssuerOfPatientID, "")); err != nil {
		return nil, err
	}
	matches, err := n.archive.Search(r.Context(), n.principal(r), rq, q)
	if err != nil {
		return nil, err
	}
	var studies, issuers []string
	for m, err := range matches {
		if err != nil {
			return nil, err
		}
		from := m.Attributes.String(dict.IssuerOfPatientID)
		if m.Attributes.String(dict.PatientID) != id || issuer != "" && from != issuer {
			continue // an id with a star in it is no wildcard here
		}
		studies = append(studies, m.StudyInstanceUID)
		if !slices.Contains(issuers, from) {
			issuers = append(issuers, from)
		}
	}
	if len(issuers) > 1 {
		return nil, errIssuers
	}
	return studies, nil
}

// exportStudy writes the files of one study. An error that wraps errCut comes
// after something was written.
func (n *node) exportStudy(r *http.Request, rq store.Request, study string, out *tar.Writer) (err error) {
	retrieval, err := n.archive.Open(r.Context(), n.principal(r), rq, store.Selection{StudyInstanceUID: study})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, retrieval.Close(err)) }()
	e := store.Event{Kind: store.EventExport, Principal: n.principal(r), Request: rq, StudyInstanceUID: study}
	if _, err := n.tenant.Append(r.Context(), e); err != nil {
		return err
	}
	for _, instance := range retrieval.Instances() {
		if err := exportInstance(r.Context(), instance, out); err != nil {
			return errors.Join(errCut, err)
		}
	}
	return nil
}

func exportInstance(ctx context.Context, instance *store.Instance, out *tar.Writer) (err error) {
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: instance.SOPClassUID, MediaStorageSOPInstanceUID: instance.SOPInstanceUID,
		TransferSyntaxUID: instance.TransferSyntaxUID, SourceApplicationEntityTitle: instance.CallingAE,
	}.AppendTo(nil)
	data, err := instance.DataSet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	name := path.Join(instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID)
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(meta)) + instance.Size}); err != nil {
		return err
	}
	if _, err := out.Write(meta); err != nil {
		return err
	}
	_, err = io.Copy(out, data)
	return err
}
