package node

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

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
	mux.HandleFunc("POST /export", n.serveExport)
	mux.HandleFunc("GET /keys", n.serveKeyStatus)
	mux.HandleFunc("POST /keys/backup", n.serveKeyBackup)
	mux.HandleFunc("POST /keys/receipt", n.serveKeyReceipt)
	return mux
}

// AuditLine is one line of `lumen audit show`.
type AuditLine struct {
	Index   uint64      `json:"index"`
	Time    time.Time   `json:"time"`
	Code    audit.Code  `json:"code"`
	Outcome string      `json:"outcome"`
	Request string      `json:"request,omitempty"`
	Object  string      `json:"object,omitempty"`
	Count   *auditCount `json:"count,omitempty"`
	// Payload is who did what to whom: patient data in clear.
	Payload *audit.Payload `json:"payload,omitempty"`
}

type auditCount struct {
	Instances int64 `json:"instances,omitempty"`
	Frames    int64 `json:"frames,omitempty"`
	Bytes     int64 `json:"bytes,omitempty"`
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
	// What was there before this request is shown.
	end := j.log.Size()
	if _, err := j.Append(r.Context(), store.Event{Kind: store.EventJournalRead, Principal: n.principal(r)}); err != nil {
		n.log.Error("the journal is not shown: reading it cannot be recorded", "error", err)
		answer(w, http.StatusServiceUnavailable, store.ErrJournal.Error())
		return
	}
	lines := json.NewEncoder(w)
	for entry, err := range j.log.Replay(r.Context(), from) {
		if err != nil {
			n.log.Error("reading the journal ends early", "error", err)
			lines.Encode(map[string]string{"error": err.Error()}) // an error is the client's leaving
			return
		}
		if entry.Index >= end {
			return
		}
		if err := lines.Encode(auditLine(entry)); err != nil {
			return
		}
	}
}

func auditLine(entry audit.Entry) AuditLine {
	l := AuditLine{
		Index: entry.Index, Time: entry.Leaf.Time, Code: entry.Leaf.Code, Outcome: entry.Leaf.Outcome.String(),
		Request: entry.Leaf.Request, Object: entry.Leaf.Object,
	}
	if c := (auditCount{entry.Leaf.Instances, entry.Leaf.Frames, entry.Leaf.Bytes}); c != (auditCount{}) {
		l.Count = &c
	}
	if p, err := audit.ParsePayload(entry.Payload); err == nil {
		l.Payload = &p
	}
	return l
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
