package scp

import (
	"context"
	"io"

	"lumen/dimse"
	"lumen/store"
)

// store keeps one object. Success is answered only when the archive says that
// it is durable and journaled; a duplicate and one that goes to quarantine are
// kept too, so they are successes as well.
func (s *Server) store(ctx context.Context, a *dimse.Association, rq *dimse.StoreRequest, data io.Reader) error {
	_, err := s.cfg.Archive.Ingest(ctx, principal(a), request(a, "C-STORE"), store.Incoming{
		SOPClassUID:    rq.SOPClassUID,
		SOPInstanceUID: rq.SOPInstanceUID,
		TransferSyntax: rq.TransferSyntax,
		Source:         store.SourceDIMSE,
	}, data)
	return statusError(ctx, err)
}
