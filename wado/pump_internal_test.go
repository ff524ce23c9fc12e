package wado

import (
	"context"
	"errors"
	"iter"
	"testing"
)

// numbers yields 0 to n-1, then what end says.
func numbers(n int, end func() error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err := end(); err != nil {
			yield(0, err)
		}
	}
}

func TestPumpKeepsTheOrderAndTheEnd(t *testing.T) {
	broken := errors.New("broken")
	for _, n := range []int{0, 1, pumpBatch - 1, pumpBatch, pumpBatch + 1, 10 * pumpBatch} {
		for _, c := range []struct {
			end  func() error
			want func(error) bool
		}{
			{func() error { return nil }, func(err error) bool { return err == nil }},
			{func() error { return broken }, func(err error) bool { return errors.Is(err, broken) }},
			{func() error { panic("deliberate") }, func(err error) bool { p := new(panicError); return errors.As(err, &p) }},
		} {
			next := 0
			var last error
			for v, err := range pump(t.Context(), numbers(n, c.end)) {
				if last = err; err == nil && v != next {
					t.Fatalf("%d comes after %d", v, next-1)
				}
				if err == nil {
					next++
				}
			}
			if next != n || !c.want(last) {
				t.Errorf("%d of %d values, then %v", next, n, last)
			}
		}
	}
}

func TestPumpEndsWithItsRange(t *testing.T) {
	running := true
	endless := func(yield func(int, error) bool) {
		defer func() { running = false }()
		for yield(1, nil) {
		}
	}
	for range pump(t.Context(), endless) {
		break
	}
	if running {
		t.Error("the sequence runs after its range")
	}
}

func TestPumpTellsWhenItWasCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range pump(ctx, numbers(100*pumpBatch, func() error { return nil })) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after what was cut comes %v", last)
	}
}
