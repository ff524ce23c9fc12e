package store

import "sync"

// coverage knows up to which journal position every row has been put into the
// index, while several goroutines append and put in any order. Whoever appends
// an event that leads to a row first takes a ticket.
//
// Without it a row could be lost: appends at positions 5 and 6, put 6 covering
// 7, crash before put 5, and the replay would begin at 7.
type coverage struct {
	mu     sync.Mutex
	known  Position             // the largest that an Append has returned
	active map[*ticket]struct{} // appended or about to, not yet put
}

// ticket stands for an event at position floor or later whose row is not yet
// in the index.
type ticket struct{ floor Position }

func newCoverage(known Position) *coverage {
	return &coverage{known: known, active: make(map[*ticket]struct{})}
}

// begin is called before the event is appended.
func (c *coverage) begin() *ticket {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &ticket{floor: c.known}
	c.active[t] = struct{}{}
	return t
}

// appended notes the position after the ticket's event and returns what a put
// of its row may cover.
func (c *coverage) appended(t *ticket, after Position) Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = max(c.known, after)
	covered := after
	for other := range c.active {
		if other != t {
			covered = min(covered, other.floor)
		}
	}
	return covered
}

// end is called when the row has been put, or when there will be none. After
// a put that failed it is not called: nothing may cover the event then.
func (c *coverage) end(t *ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, t)
}
