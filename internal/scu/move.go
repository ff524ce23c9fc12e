package scu

import (
	"context"

	"lumen/dicom/dict"
	"lumen/dimse"
)

// Counts are the sub-operations of a retrieval.
type Counts = dimse.SubOperations

// Move performs C-MOVE (Study Root) of what the keys select to the AE
// destination, and calls progress with each pending response.
func Move(ctx context.Context, p Peer, destination, level string, keys []string, progress func(dimse.SubOperations)) (dimse.SubOperations, error) {
	const class = dict.UIDStudyRootQueryRetrieveInformationModelMove
	id, err := identifier(level, keys)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	c, err := p.dial(ctx, queryContext(class))
	if err != nil {
		return dimse.SubOperations{}, err
	}
	n, err := c.Move(ctx, class, destination, id, func(n dimse.SubOperations) error { progress(n); return ctx.Err() })
	return n, end(ctx, c, err)
}

// end releases an association after its operation, or aborts it when it failed.
func end(ctx context.Context, c *dimse.Client, err error) error {
	if err != nil {
		c.Abort()
		return err
	}
	return c.Release(ctx)
}
