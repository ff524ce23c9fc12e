package dimse

import (
	"context"
	"errors"
)

// watcher reads while an operation runs, so that C-CANCEL, the responses to
// sub-operations and the end of the association are seen at once.
type watcher struct {
	a         *Association
	cancel    context.CancelCauseFunc
	messageID uint16
	responses chan command  // of C-STORE sub-operations
	done      chan struct{} // closed when the goroutine has ended
	ended     context.Context
	err       error // why it ended on its own; nil after stop
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
			return nil
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
			select {
			case w.responses <- c:
			default:
				return l.violation(unexpectedPDV, "a response without a request")
			}
		default:
			w.a.pending = &request{contextID: id, command: c}
			return nil
		}
	}
}

// stop ends the reading and waits for it. The error is the end of the
// association.
func (w *watcher) stop() error {
	w.a.link.interrupt()
	<-w.done
	w.cancel(nil)
	if !w.a.server.closing.Load() {
		w.a.link.stop.Store(false)
	}
	return w.err
}
