package dimse

import (
	"context"
	"errors"
	"testing"
)

// What reads beside a running operation has a goroutine of its own: a panic
// there ends the association, not the process.
func TestPanicWhileWatchingEndsTheOperation(t *testing.T) {
	ctx, w := (&Association{server: &Server{}, link: &link{}}).watch(t.Context(), 1) // of no connection: reading panics
	<-w.done
	if !errors.Is(w.err, ErrPanic) || !errors.Is(context.Cause(ctx), ErrPanic) {
		t.Errorf("error = %v, cause %v", w.err, context.Cause(ctx))
	}
}
