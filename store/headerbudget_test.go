package store

import (
	"testing"

	"lumen/access"
)

// A share grows by doubling while it can, by what is needed when it must, up to
// half of the whole for one principal; and gives all of it back.
func TestHeaderShares(t *testing.T) {
	b := &headerBudget{total: 1000}
	ae := func(name string) access.Principal { return access.Principal{Kind: access.KindAE, Name: name} }
	first, second := b.share(ae("A"), 100), b.share(ae("A"), 100)
	grow := func(s *headerShare, need, want, used int64) {
		t.Helper()
		if got := s.grow(need); got != want || b.used != used {
			t.Errorf("grow(%d) = %d, %d used; want %d, %d", need, got, b.used, want, used)
		}
	}
	grow(first, 100, 100, 0)
	grow(first, 101, 200, 100)
	grow(first, 200, 200, 100)
	grow(first, 500, 500, 400) // more than double
	grow(second, 150, 200, 500)
	if second.short {
		t.Error("short of nothing")
	}
	grow(second, 201, 200, 500)
	if !second.short {
		t.Error("one principal has more than half")
	}
	other := b.share(ae("B"), 100)
	grow(other, 550, 550, 950)
	local := b.share(access.Principal{Kind: access.KindLocal, Name: "X"}, 0)
	grow(local, 50, 50, 1000)
	grow(b.share(access.Principal{Kind: access.KindLocal, Name: "Y"}, 0), 1, 0, 1000)
	for range 2 {
		for _, s := range []*headerShare{first, second, other, local} {
			s.release()
		}
	}
	if b.used != 0 || len(b.by) != 0 {
		t.Errorf("%d used, %v", b.used, b.by)
	}
}
