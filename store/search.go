package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"strconv"
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
		Detail:    describe(q),
	}); err != nil {
		return nil, err
	}
	a.metrics.searches.Inc()
	return a.index.Search(ctx, q), nil
}

// maxRecordedKeys is how much of a query's keys is recorded as it is, in bytes.
// A peer may ask with an identifier of a MiB as often as it likes: its right to
// ask is none to fill the disk that the journal needs.
const maxRecordedKeys = 4 << 10

// describe writes a query for the journal, which seals it. Keys that are too
// long are cut, and identified by their length and SHA-256.
func describe(q *Query) map[string]string {
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
	detail := map[string]string{"level": q.Level.String(), "keys": b.String()}
	if keys := b.String(); len(keys) > maxRecordedKeys {
		digest := sha256.Sum256([]byte(keys))
		detail["keys"] = strings.ToValidUTF8(keys[:maxRecordedKeys], "")
		detail["keys_bytes"] = strconv.Itoa(len(keys))
		detail["keys_sha256"] = hex.EncodeToString(digest[:])
	}
	return detail
}
