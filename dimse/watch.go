package dimse

import (
	"context"
	"errors"
	"sync/atomic"

	"lumen/dimse/pdu"
)

// watcher reads while an operation runs, so that C-CANCEL, the responses to
// sub-operations and the end of the association are seen at once.
type watcher struct {
	a         *Association
	cancel    context.CancelCauseFunc
	messageID uint16
	responses chan command  // of C-STORE sub-operations
	awaited   atomic.Uint32 // message id of the one under way, plus 1; 0 for none
	done      chan struct{} // closed when the goroutine has ended
	stopping  atomic.Bool
	ended     context.Context
	err       error // why it ended on its own; nil after stop
	gaveUp    error // why a sub-operation was the end of the association
}

// watch starts reading. The context it returns is cancelled by C-CANCEL of
// messageID (cause ErrCancelled) and by the end of the association (cause:
// why). Stop must be called before anything else reads.
func (a *Association) watch(ctx context.Context, messageID uint16) (context.Context, *watcher) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watcher{a: a, cancel: cancel, messageID: messageID, ended: ctx,
		responses: make(chan command, 1), done: make(chan struct{})}
	a.link.stop.Store(false)
	go w.run()
	return ctx, w
}

func (w *watcher) run() {
	defer close(w.done)
	defer func() {
		// In a goroutine of its own a panic would end the process.
		if v := recover(); v != nil {
			w.a.server.logPanic(w.a, v)
			w.err = ErrPanic
		}
		if w.err != nil {
			w.cancel(w.err)
		}
	}()
	w.err = w.read()
}

// read takes messages until stop, the end of the association, or a message
// that belongs to the main loop, which is left in a.pending.
func (w *watcher) read() error {
	l := w.a.link
	for {
		err := l.await(forever)
		if errors.Is(err, errInterrupted) {
			l.stop.Store(false)
			if w.stopping.Load() {
				return nil
			}
			continue // the server shuts down: what has begun is finished
		}
		if err != nil {
			return err
		}
		var c command
		id, err := l.command(&c)
		if errors.Is(err, ErrReleased) {
			// The peer lost interest. The operation is ended; the main loop finds
			// the state changed and answers the release.
			w.cancel(ErrReleased)
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case c.Field == cCancelRQ:
			if c.RespondedTo == w.messageID {
				w.cancel(ErrCancelled)
			}
		case c.Field == cStoreRQ|response:
			if !w.take(c) {
				return l.violation(unexpectedPDV, "a response without a request")
			}
		default:
			w.a.pending = &request{contextID: id, command: c}
			return nil
		}
	}
}

// take hands a response to the sub-operation that waits for it.
func (w *watcher) take(c command) bool {
	if !w.awaited.CompareAndSwap(uint32(c.RespondedTo)+1, 0) {
		return false
	}
	select {
	case w.responses <- c:
		return true
	default:
		return false
	}
}

// stop ends the reading and waits for it. The error is the end of the
// association.
func (w *watcher) stop() error {
	w.stopping.Store(true)
	w.a.link.interrupt()
	<-w.done
	w.cancel(nil)
	w.a.link.stop.Store(false)
	if w.gaveUp != nil {
		return w.gaveUp
	}
	return w.err
}

// giveUp aborts the association because of what became of a sub-operation, and
// returns why.
func (w *watcher) giveUp(reason pdu.AbortReason, err error) error {
	w.a.link.abort(pdu.Abort{Source: pdu.AbortProvider, Reason: reason})
	w.gaveUp = err
	w.cancel(err)
	return err
}
