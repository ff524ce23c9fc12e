package wado

import (
	"context"
	"iter"
	"sync"
)

const (
	pumpBatch = 64 // values handed over at a time
	pumpAhead = 2  // batches that wait
)

// pump runs a sequence in a goroutine of its own, a few batches ahead of who
// ranges over it: what comes of the values can be made while the next are
// found. The sequence has ended when the range has; a panic in it is its last
// error.
func pump[T any](ctx context.Context, values iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()

		type batch struct {
			values []T
			err    error // after the values
		}
		batches := make(chan batch, pumpAhead)
		running.Go(func() {
			defer close(batches)
			var b batch
			send := func() bool {
				select {
				case batches <- b:
					b = batch{}
					return true
				case <-ctx.Done():
					return false
				}
			}
			err := collect(values, func(v T) bool {
				b.values = append(b.values, v)
				return len(b.values) < pumpBatch || send()
			})
			if b.err = err; err != nil || len(b.values) > 0 {
				send()
			}
		})
		for b := range batches {
			for _, v := range b.values {
				if !yield(v, nil) {
					return
				}
			}
			if b.err != nil {
				yield(none, b.err)
				return
			}
		}
		if ctx.Err() != nil { // there may have been more
			yield(none, context.Cause(ctx))
		}
	}
}

// collect gives visit the values of a sequence and returns the error that ended
// it, or what a panic left.
func collect[T any](values iter.Seq2[T, error], visit func(T) bool) (err error) {
	defer catch(&err)
	for v, err := range values {
		if err != nil {
			return err
		}
		if !visit(v) {
			return nil
		}
	}
	return nil
}
