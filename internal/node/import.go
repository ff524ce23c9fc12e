package node

import (
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
	protocolKeys   = "KEYS"
)

// commandRequest says through what a command came.
func commandRequest(protocol string) store.Request {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return store.Request{ID: hex.EncodeToString(id[:]), Protocol: protocol, Peer: "local"}
}

// ImportReceipt is the answer to POST /import.
type ImportReceipt struct {
	Outcome  string `json:"outcome"`   // of store.IngestOutcome
	CutShort bool   `json:"cut_short"` // the data set ends in the middle
}

// serveImport takes one data set in. Its UIDs are those in it, whatever the
// file's meta information said: collections are imported as they are.
func (n *node) serveImport(w http.ResponseWriter, r *http.Request) {
	syntax, ok := dicom.LookupTransferSyntax(r.URL.Query().Get("syntax"))
	if !ok {
		io.Copy(io.Discard, r.Body) // a client that is still sending might miss the answer
		answer(w, http.StatusUnprocessableEntity, "unknown transfer syntax")
		return
	}
	receipt, err := n.archive.Ingest(r.Context(), n.principal(r), commandRequest(protocolImport), store.Incoming{
		TransferSyntax: syntax, Source: store.SourceImport,
	}, r.Body)
	if err == nil {
		answerJSON(w, ImportReceipt{receipt.Outcome.String(), receipt.Findings.Has(dicom.CutShort)})
		return
	}
	io.Copy(io.Discard, r.Body)
	switch {
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrJournal), errors.Is(err, store.ErrClosed):
		n.log.Error("import stops", "error", err)
		answer(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, store.ErrMismatch), errors.Is(err, store.ErrUnreadable), errors.Is(err, store.ErrTooLarge):
		answer(w, http.StatusUnprocessableEntity, err.Error())
	case r.Context().Err() != nil: // the client is gone
	default:
		n.log.Error("an import failed", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
	}
}

// ImportQuestion asks whether an instance is in the archive and, when it has a
// digest, whether with the same content.
type ImportQuestion struct {
	Instance string `json:"instance"` // SOP Instance UID
	Digest   string `json:"digest"`   // of the content, hexadecimal
}

// serveKnown saves an import that goes on from sending what is there. A
// duplicate that is found so is recorded as any other.
func (n *node) serveKnown(w http.ResponseWriter, r *http.Request) {
	var q ImportQuestion
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&q); err != nil {
		answer(w, http.StatusBadRequest, "not a question")
		return
	}
	row, found, err := n.index.Locate(r.Context(), q.Instance)
	if err != nil {
		n.log.Error("an instance is not looked up", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	if found && q.Digest != "" {
		// What is lost from the disk is not known: it is stored again when it is sent.
		_, lost := n.blobs.Stat(r.Context(), row.Blob.Name(n.keys.Tenant()))
		found = q.Digest == hex.EncodeToString(row.Digest[:]) && lost == nil
		if found {
			_, err := n.tenant.Append(r.Context(), store.Event{
				Kind: store.EventDuplicate, Principal: n.principal(r), Request: commandRequest(protocolImport),
				PatientID: row.Attributes.String(dict.PatientID), IssuerOfPatientID: row.Attributes.String(dict.IssuerOfPatientID),
				StudyInstanceUID: row.StudyInstanceUID, Instances: []string{row.SOPInstanceUID},
				Counts: store.Counts{Instances: 1, Bytes: row.Size},
			})
			if err != nil {
				answer(w, http.StatusServiceUnavailable, store.ErrJournal.Error())
				return
			}
		}
	}
	answerJSON(w, found)
}

// answerJSON answers a command with what it asked for.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error is the client's leaving
}
