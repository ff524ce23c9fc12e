package node

import (
	"encoding/json"
	"iter"
	"net/http"
	"strconv"

	"lumen/access"
	"lumen/audit"
	"lumen/store"
)

// adminHandler answers commands. Answers are JSON, long ones a line for each
// thing as it is found.
func (n *node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "running") })
	mux.HandleFunc("GET /audit", n.serveAudit)
	mux.HandleFunc("POST /check", n.serveCheck)
	mux.HandleFunc("POST /import", n.serveImport)
	mux.HandleFunc("POST /import/known", n.serveKnown)
	mux.HandleFunc("POST /export", n.serveExport)
	mux.HandleFunc("GET /keys", n.serveKeyStatus)
	mux.HandleFunc("POST /keys/backup", n.serveKeyBackup)
	mux.HandleFunc("POST /keys/receipt", n.serveKeyReceipt)
	return mux
}

// serveAudit streams the entries of a journal. Reading it is recorded in it
// first.
func (n *node) serveAudit(w http.ResponseWriter, r *http.Request) {
	j := n.tenant
	switch r.FormValue("log") {
	case "", access.DefaultTenant:
	case "node":
		j = n.own
	default:
		answer(w, http.StatusNotFound, "there is no such journal")
		return
	}
	from, err := strconv.ParseUint(r.FormValue("from"), 10, 64)
	if r.FormValue("from") != "" && err != nil {
		answer(w, http.StatusBadRequest, "from is not a number")
		return
	}
	format, err := audit.ParseFormat(r.FormValue("format"))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	// What was there before this request is shown.
	end := j.log.Size()
	if _, err := j.Append(r.Context(), store.Event{Kind: store.EventJournalRead, Principal: n.principal(r)}); err != nil {
		n.log.Error("the journal is not shown: reading it cannot be recorded", "error", err)
		answer(w, http.StatusServiceUnavailable, store.ErrJournal.Error())
		return
	}
	err = audit.Show(w, format, "lumen/"+n.config.DIMSE.AETitle, upTo(end, j.log.Replay(r.Context(), from)))
	if err != nil {
		n.log.Error("reading the journal ends early", "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
}

// upTo yields the entries before a position.
func upTo(end uint64, entries iter.Seq2[audit.Entry, error]) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for e, err := range entries {
			if err == nil && e.Index >= end || !yield(e, err) {
				return
			}
		}
	}
}

// serveCheck runs the archive's check to its end.
func (n *node) serveCheck(w http.ResponseWriter, r *http.Request) {
	report, err := n.archive.Check(r.Context(), store.CheckOptions{Quick: r.FormValue("quick") == "true"})
	if err != nil {
		n.log.Error("the check ends early", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(report) // an error is the client's leaving
}
