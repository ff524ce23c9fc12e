package node

import (
	"context"
	"fmt"
	"iter"
	"log/slog"

	"lumen/audit"
	"lumen/store"
)

// journal is an audit.Log in the archive's words.
type journal struct {
	log    *audit.Log
	logger *slog.Logger
}

var _ store.Journal = (*journal)(nil)

// codes says how each kind of event is called in the journal.
var codes = map[store.EventKind]audit.Code{
	store.EventAssociationAccepted: audit.AssociationAccepted,
	store.EventAssociationRejected: audit.AssociationRejected,
	store.EventAssociationReleased: audit.AssociationReleased,
	store.EventAssociationAborted:  audit.AssociationAborted,
	store.EventStored:              audit.Stored,
	store.EventDuplicate:           audit.Duplicate,
	store.EventQuarantined:         audit.Quarantined,
	store.EventRefused:             audit.Refused,
	store.EventQuery:               audit.Query,
	store.EventRetrieveBegin:       audit.RetrieveBegin,
	store.EventRetrieveEnd:         audit.RetrieveEnd,
	store.EventDenied:              audit.Denied,
	store.EventRecovered:           audit.Recovered,
	store.EventSwept:               audit.Swept,
	store.EventRebuilt:             audit.Rebuilt,
	store.EventStart:               audit.Start,
	store.EventStop:                audit.Stop,
	store.EventJournalRead:         audit.JournalRead,
	store.EventConfig:              audit.ConfigChange,
	store.EventKey:                 audit.KeyOperation,
	store.EventDeleted:             audit.Deleted,
	store.EventExport:              audit.Exported,
	store.EventSecurityAlert:       audit.SecurityAlert,
	store.EventUnstored:            audit.Unstored,
}

// kinds is the way back.
var kinds = func() map[audit.Code]store.EventKind {
	m := make(map[audit.Code]store.EventKind, len(codes))
	for kind, code := range codes {
		m[code] = kind
	}
	return m
}()

func (j *journal) Append(ctx context.Context, events ...store.Event) (store.Position, error) {
	records := make([]audit.Record, len(events))
	for i, e := range events {
		var err error
		if records[i], err = recordOf(e); err != nil {
			return 0, err
		}
	}
	next, err := j.log.Append(ctx, records...)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrJournal, err)
	}
	return store.Position(next), nil
}

func (j *journal) Post(e store.Event) {
	r, err := recordOf(e)
	if err != nil {
		j.logger.Error("an event cannot be recorded", "kind", e.Kind.String(), "error", err)
		return
	}
	j.log.Post(r)
}

func (j *journal) Err() error {
	if err := j.log.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrJournal, err)
	}
	return nil
}

func (j *journal) Replay(ctx context.Context, from store.Position) iter.Seq2[store.Recorded, error] {
	return func(yield func(store.Recorded, error) bool) {
		for entry, err := range j.log.Replay(ctx, uint64(from)) {
			var e store.Event
			if err == nil {
				e, err = eventOf(entry)
			}
			if err != nil {
				yield(store.Recorded{}, err)
				return
			}
			if !yield(store.Recorded{Position: store.Position(entry.Index), Time: entry.Leaf.Time, Event: e}, nil) {
				return
			}
		}
	}
}
