package scp

import (
	"context"
	"io"

	"lumen/access"
	"lumen/dimse"
	"lumen/store"
)

// echo answers those who may ask. The archive has no part in it, so the right is
// looked at here.
func (s *Server) echo(_ context.Context, a *dimse.Association) error {
	if principal(a).Can(access.Echo) {
		return nil
	}
	s.post(a, store.EventDenied, store.OutcomeMinorFailure, map[string]string{"right": access.Echo.String()})
	return &dimse.StatusError{Status: dimse.StatusNotAuthorized, Comment: "not authorized"}
}

// store keeps one object. Success is answered only when the archive says that
// it is durable and journaled; a duplicate and one that goes to quarantine are
// kept too, so they are successes as well, unless the AE is to be told.
func (s *Server) store(ctx context.Context, a *dimse.Association, rq *dimse.StoreRequest, data io.Reader) error {
	c := callerOf(a)
	receipt, err := s.cfg.Archive.Ingest(ctx, principal(a), request(a, "C-STORE"), store.Incoming{
		SOPClassUID:    rq.SOPClassUID,
		SOPInstanceUID: rq.SOPInstanceUID,
		TransferSyntax: rq.TransferSyntax,
		Source:         store.SourceDIMSE,
		CharacterSet:   c.CharacterSet,
		RefuseConflict: c.Conflicts == Refuse,
	}, data)
	if err == nil && receipt.Outcome == store.Quarantined && c.Conflicts == Warn {
		return &dimse.StatusError{Status: dimse.StatusCoercion, Comment: "another object with this SOP Instance UID is stored"}
	}
	return statusError(ctx, err)
}
