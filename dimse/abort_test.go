package dimse_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"lumen/dimse"
	"lumen/dimse/pdu"
)

// stuck is a source that gives nothing until it is freed.
type stuck struct {
	once          sync.Once
	reading, free chan struct{}
}

func (s *stuck) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.reading) })
	<-s.free
	return 0, io.EOF
}

// An object that cannot be read further does not keep its association: Abort and
// the end of the context end it, in the middle of the message, and the peer is
// told.
func TestAbortWhileAnObjectIsRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int64 // bytes that are on their way by then
		cancel bool
		want   error
	}{
		{"abort before the first byte", 0, false, dimse.ErrClosed},
		{"abort in the middle", 1 << 20, false, dimse.ErrClosed},
		{"end of the context in the middle", 1 << 20, true, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := new(archive).server()
			s.Events.Closed = func(_ *dimse.Association, err error) { ended <- err }
			client := dial(t, serve(t, s), propose(ctClass)...)
			source := &stuck{reading: make(chan struct{}), free: make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stored := make(chan error, 1)
			go func() {
				_, err := client.Store(ctx, dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: explicit},
					io.MultiReader(io.LimitReader(zeros{}, c.before), source))
				stored <- err
			}()
			<-source.reading
			if c.cancel {
				cancel()
			} else {
				go client.Abort()
			}
			select {
			case err := <-ended:
				var abort *dimse.AbortError
				if !errors.As(err, &abort) || abort.Source != pdu.AbortUser {
					t.Errorf("the peer saw %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("the association goes on")
			}
			close(source.free)
			if err := <-stored; !errors.Is(err, c.want) {
				t.Errorf("the store ended with %v", err)
			}
		})
	}
}
