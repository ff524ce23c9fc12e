package scp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"lumen/dimse"
	"lumen/dimse/pdu"
)

// move sends what an identifier selects to a configured destination (PS3.4
// C.4.2).
func (s *Server) move(ctx context.Context, a *dimse.Association, rq *dimse.MoveRequest,
	progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
	to, ok := s.cfg.Destinations[rq.Destination]
	if !ok {
		return dimse.SubOperations{}, &dimse.StatusError{Status: dimse.StatusDestinationUnknown, Comment: "move destination unknown"}
	}
	through := request(a, "C-MOVE")
	through.Destination = rq.Destination
	r, err := s.open(ctx, a, through, rq.SOPClassUID, rq.Identifier)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	defer r.close(dimse.ErrPanic) // unless it is closed below
	c := &courier{title: rq.Destination, to: to, log: s.log,
		dialer:   dimse.Dialer{CallingAE: s.cfg.AETitle, TLS: to.TLS, Limits: s.cfg.Limits},
		origin:   dimse.MoveOriginator{AE: a.CallingAE, MessageID: rq.MessageID},
		priority: rq.Priority,
		offers:   offers(r.instances)}
	defer c.release(ctx)
	n, failed := s.send(ctx, r.instances, c.store, progress)
	err = verdict(n, failed)
	r.close(outcome(ctx, n, err))
	return n, err
}

// courier sends objects to one destination over one association at a time.
type courier struct {
	title    string
	to       Destination
	dialer   dimse.Dialer
	origin   dimse.MoveOriginator
	priority uint16
	offers   map[group]int // see offers
	log      *slog.Logger

	client *dimse.Client
	batch  int   // of the offers that the client made
	failed error // why there is no client; nil when there was one
	down   error // why nothing more is tried
}

const (
	defaultTries   = 3
	retryPause     = 500 * time.Millisecond // before the first retry; doubled for each further one
	releaseTimeout = 5 * time.Second
)

// Why a destination does not get an object.
var (
	errRefused = errors.New("the destination refuses the association")
	errFull    = errors.New("the destination has no room for the association")
	errDown    = errors.New("the destination cannot be reached")
	errSlow    = errors.New("the destination does not answer in time")
	errLost    = errors.New("the destination ends the association")
)

// reason tells which of them an error is.
func reason(err error) error {
	var rejected *dimse.RejectedError
	var abort *dimse.AbortError
	switch {
	case errors.As(err, &rejected) && rejected.Result == pdu.RejectedPermanent:
		return errRefused
	case errors.As(err, &rejected):
		return errFull
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, dimse.ErrTimeout):
		return errSlow
	case errors.Is(err, dimse.ErrClosed), errors.Is(err, dimse.ErrProtocol), errors.As(err, &abort):
		return errLost
	}
	return errDown
}

// store sends one object, on a new association when the one there was is lost.
// What the destination answers is not tried again: it knows why. Once it is
// clear that the destination takes nothing, all further objects fail at once.
func (c *courier) store(ctx context.Context, p *prepared) (dimse.Status, error) {
	if p.err != nil {
		return 0, fmt.Errorf("read the object: %w", p.err)
	}
	tries := c.to.Tries
	or(&tries, defaultTries)
	pause := retryPause
	for try := 1; ; try++ {
		if c.down != nil {
			return 0, c.down
		}
		status, err := c.once(ctx, p)
		if errors.Is(err, errRefused) || errors.Is(err, errSlow) {
			c.down = err
		}
		if !retryable(err) || ctx.Err() != nil {
			return status, err
		}
		if try == tries {
			c.down = c.failed
			return 0, err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return 0, err
		}
		if err := p.rewind(ctx); err != nil {
			return 0, fmt.Errorf("read the object again: %w", err)
		}
	}
}

// retryable reports whether a new association may help.
func retryable(err error) bool {
	var source *dimse.SourceError
	return err != nil && !errors.Is(err, dimse.ErrNoContext) && !errors.Is(err, errRefused) &&
		!errors.Is(err, errSlow) && !errors.As(err, &source)
}

// once sends one object.
func (c *courier) once(ctx context.Context, p *prepared) (dimse.Status, error) {
	if err := c.connect(ctx, c.offers[group{p.instance.SOPClassUID, p.instance.TransferSyntaxUID}]); err != nil {
		return 0, err
	}
	from, to, err := choose(c.client.Accepted(p.instance.SOPClassUID), p.instance)
	if err != nil {
		return 0, err
	}
	rq := p.request(to)
	rq.MoveOriginator, rq.Priority = c.origin, c.priority
	data := p.open(from, to)
	status, err := c.client.Store(ctx, rq, data)
	data.Close()
	var source *dimse.SourceError
	switch {
	case err == nil, errors.Is(err, dimse.ErrNoContext), errors.As(err, &source) && !source.Aborted:
		return status, err
	case source == nil:
		err = errors.Join(reason(err), err)
	}
	c.client.Abort()
	c.client = nil
	return 0, err
}

// connect makes sure that there is an association for a batch.
func (c *courier) connect(ctx context.Context, batch int) error {
	if c.client != nil && c.batch == batch {
		return nil
	}
	c.release(ctx)
	var contexts []dimse.PresentationContext
	for g, n := range c.offers {
		if n == batch {
			contexts = append(contexts, dimse.PresentationContext{SOPClass: g.sopClass, TransferSyntaxes: []string{g.transferSyntax}})
		}
	}
	client, err := c.dialer.Dial(ctx, c.to.Address, c.title, contexts)
	if err != nil {
		c.failed = errors.Join(reason(err), err)
		return c.failed
	}
	c.client, c.batch, c.failed = client, batch, nil
	return nil
}

func (c *courier) release(ctx context.Context) {
	if c.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := c.client.Release(ctx); err != nil {
		c.log.Warn("destination did not release the association in order", "error", err.Error())
	}
	c.client = nil
}

func or(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}
