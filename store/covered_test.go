package store

import (
	"testing"

	"pgregory.net/rapid"
)

// In any interleaving of appends and puts, a put covers no event whose row has
// not been put before it or with it.
func TestCoverageNeverPassesAMissingRow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type ingest struct {
			ticket *ticket
			at     Position // of its event, once appended
			after  bool     // appended
			covers Position
		}
		c := newCoverage(0)
		var (
			next    Position // of the journal
			open    []*ingest
			missing = map[Position]bool{} // appended, not put
		)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			step := rapid.IntRange(0, 4).Draw(rt, "step")
			if step == 0 || len(open) == 0 {
				open = append(open, &ingest{ticket: c.begin()})
				continue
			}
			if step == 1 { // an event without a row: a query, a retrieval
				next++
				continue
			}
			i := rapid.IntRange(0, len(open)-1).Draw(rt, "which")
			in := open[i]
			if !in.after { // the append, then what its put may cover, at once or after others
				in.at, in.after = next, true
				missing[in.at] = true
				next++
				in.covers = 0
				continue
			}
			if in.covers == 0 {
				in.covers = c.appended(in.ticket, in.at+1)
				continue
			}
			delete(missing, in.at)
			for at := range missing {
				if at < in.covers {
					rt.Fatalf("a put covers %d, and the row of %d is missing", in.covers, at)
				}
			}
			c.end(in.ticket)
			open = append(open[:i], open[i+1:]...)
		}
	})
}
