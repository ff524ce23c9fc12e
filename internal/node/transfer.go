package node

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// The protocols that commands are recorded under.
const (
	protocolImport = "IMPORT"
	protocolExport = "EXPORT"
)

// serveImport takes one data set in. Its UIDs are those in it, whatever the
// file's meta information said: collections are imported as they are.
func (n *node) serveImport(w http.ResponseWriter, r *http.Request) {
	syntax, ok := dicom.LookupTransferSyntax(r.URL.Query().Get("syntax"))
	if !ok {
		answer(w, http.StatusUnprocessableEntity, "unknown transfer syntax")
		return
	}
	receipt, err := n.archive.Ingest(r.Context(), n.principal(r), commandRequest(protocolImport), store.Incoming{
		TransferSyntax: syntax, Source: store.SourceImport,
	}, r.Body)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"outcome": receipt.Outcome.String()}) // an error is the client's leaving
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrJournal):
		n.log.Error("import stops", "error", err)
		answer(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, store.ErrMismatch), errors.Is(err, store.ErrUnreadable), errors.Is(err, store.ErrTooLarge):
		answer(w, http.StatusUnprocessableEntity, err.Error())
	default:
		n.log.Error("an import failed", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
	}
}

func commandRequest(protocol string) store.Request {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return store.Request{ID: hex.EncodeToString(id[:]), Protocol: protocol, Peer: "local"}
}

// serveExport streams Part 10 files of one study, or of all studies of a
// patient, as a tar archive. A stream that cannot be completed is cut.
func (n *node) serveExport(w http.ResponseWriter, r *http.Request) {
	studies, err := n.exportedStudies(r)
	if err != nil {
		n.log.Error("an export failed", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	if len(studies) == 0 {
		answer(w, http.StatusNotFound, "nothing to export")
		return
	}
	out := tar.NewWriter(w)
	for _, study := range studies {
		if err = n.exportStudy(r, study, out); err != nil {
			break
		}
	}
	if err == nil {
		err = out.Close()
	}
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound):
		answer(w, http.StatusNotFound, "nothing to export")
	default:
		n.log.Error("an export ends early", "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
}

// exportedStudies finds what the request is for.
func (n *node) exportedStudies(r *http.Request) ([]string, error) {
	if study := r.FormValue("study"); study != "" {
		return []string{study}, nil
	}
	q := store.NewQuery(store.StudyLevel)
	if err := q.Match(dict.PatientID, r.FormValue("patient")); err != nil {
		return nil, err
	}
	matches, err := n.archive.Search(r.Context(), n.principal(r), commandRequest(protocolExport), q)
	if err != nil {
		return nil, err
	}
	var studies []string
	for m, err := range matches {
		if err != nil {
			return nil, err
		}
		studies = append(studies, m.StudyInstanceUID)
	}
	return studies, nil
}

func (n *node) exportStudy(r *http.Request, study string, out *tar.Writer) (err error) {
	rq := commandRequest(protocolExport)
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
			return err
		}
	}
	return nil
}

func exportInstance(ctx context.Context, instance *store.Instance, out *tar.Writer) error {
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: instance.SOPClassUID, MediaStorageSOPInstanceUID: instance.SOPInstanceUID,
		TransferSyntaxUID:      instance.TransferSyntaxUID,
		ImplementationClassUID: dicom.ImplementationClassUID, ImplementationVersionName: dicom.ImplementationVersionName,
	}.AppendTo(nil)
	data, err := instance.DataSet(ctx)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := out.WriteHeader(&tar.Header{Name: instance.SOPInstanceUID, Mode: 0o600, Size: int64(len(meta)) + instance.Size}); err != nil {
		return err
	}
	if _, err := out.Write(meta); err != nil {
		return err
	}
	_, err = io.Copy(out, data)
	return err
}
