package scp

import (
	"context"
	"fmt"

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
	defer r.close(dimse.ErrPanic) // unless it is closed below
	var contexts []dimse.Context
	for _, c := range a.Contexts() {
		if c.PeerIsSCP {
			contexts = append(contexts, c)
		}
	}
	n, failed := s.send(ctx, r.instances, func(ctx context.Context, p *prepared) (dimse.Status, error) {
		if p.err != nil {
			return 0, fmt.Errorf("read the object: %w", p.err)
		}
		from, to, err := choose(contexts, p.instance)
		if err != nil {
			return 0, err
		}
		sub := p.request(to)
		sub.Priority = rq.Priority
		data := p.open(from, to)
		defer data.Close()
		return store(ctx, sub, data)
	}, progress)
	err = verdict(n, failed)
	r.close(outcome(ctx, n, err))
	return n, err
}
