package store

import (
	"context"
	"iter"
	"strings"

	"lumen/access"
)

// Search finds what matches q for the principal. When it returns nil the
// record of the query is durable; the matches follow as they are found, with
// every instance that was acknowledged before. The sequence holds nothing open
// between two matches; an error ends it.
func (a *Archive) Search(ctx context.Context, p access.Principal, rq Request, q *Query) (iter.Seq2[Match, error], error) {
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.running.Done()
	if err := a.allow(ctx, p, access.Query, rq); err != nil {
		return nil, err
	}
	if _, err := a.journal.Append(ctx, Event{
		Kind:      EventQuery,
		Principal: p,
		Request:   rq,
		Detail:    map[string]string{"level": q.Level.String(), "keys": describe(q)},
	}); err != nil {
		return nil, err
	}
	a.metrics.searches.Inc()
	return a.index.Search(ctx, q), nil
}

// describe writes the keys of a query for the journal, which seals it.
func describe(q *Query) string {
	var b strings.Builder
	for i, k := range q.Keys {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(k.Tag.String())
		for _, t := range k.Path {
			b.WriteString("." + t.String())
		}
		b.WriteByte('=')
		b.WriteString(k.Value)
	}
	return b.String()
}
