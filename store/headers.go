package store

import (
	"sync"

	"lumen/access"
)

// freeHeader is how much memory every data set has for its header beside the
// budget: enough for nearly all.
const freeHeader = 128 << 10

// headerBudget is the memory that large headers share: how much they hold
// together, and how much of that those of one principal, which is at most half.
// Nobody waits for it, so nobody can be made to wait, and holders cannot wait for
// each other: where there is no room a header is cut, and indexed from what fits.
type headerBudget struct {
	total int64

	mu   sync.Mutex
	used int64
	by   map[string]int64
}

// share is what one data set takes of the budget. The first free bytes cost
// nothing.
func (b *headerBudget) share(p access.Principal, free int64) *headerShare {
	who := string(p.Kind) + ":" + p.Name
	if p.Kind == access.KindLocal { // a local peer calls itself what it likes
		who = string(p.Kind)
	}
	return &headerShare{budget: b, who: who, free: free}
}

func (b *headerBudget) take(who string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total || b.by[who]+n > b.total/2 {
		return false
	}
	if b.by == nil {
		b.by = make(map[string]int64)
	}
	b.used += n
	b.by[who] += n
	return true
}

func (b *headerBudget) give(who string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.by[who] -= n; b.by[who] == 0 {
		delete(b.by, who)
	}
}

type headerShare struct {
	budget *headerBudget
	who    string
	free   int64
	taken  int64
	short  bool // it was asked for more than there was
}

// grow asks for room for need bytes in all and returns for how many there is.
// It doubles what it has if it can.
func (s *headerShare) grow(need int64) int64 {
	have := s.free + s.taken
	if need <= have {
		return have
	}
	for _, want := range [...]int64{2 * have, need} {
		if want >= need && s.budget.take(s.who, want-have) {
			s.taken = want - s.free
			return want
		}
	}
	s.short = true
	return have
}

// release gives back what was taken. It may be called again.
func (s *headerShare) release() {
	if s.taken > 0 {
		s.budget.give(s.who, s.taken)
		s.taken = 0
	}
}
