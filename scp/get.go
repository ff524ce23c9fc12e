package scp

import (
	"context"
	"fmt"

	"lumen/dicom"
	"lumen/dimse"
)

// get sends what an identifier selects back on the association of the request
// (PS3.4 C.4.3).
func (s *Server) get(ctx context.Context, a *dimse.Association, rq *dimse.GetRequest, store dimse.SubStore,
	progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
	r, err := s.open(ctx, a, request(a, "C-GET"), rq.SOPClassUID, rq.Identifier)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	n := s.send(ctx, r.instances, func(ctx context.Context, p *prepared) (dimse.Status, error) {
		if p.err != nil {
			return 0, fmt.Errorf("read the object: %w", p.err)
		}
		ts, ok := dicom.LookupTransferSyntax(p.instance.TransferSyntaxUID)
		if !ok {
			return 0, dimse.ErrNoContext
		}
		sub := p.request(ts)
		sub.Priority = rq.Priority
		return store(ctx, sub, p.reader())
	}, progress)
	r.close(outcome(ctx, n, nil))
	return n, nil
}
