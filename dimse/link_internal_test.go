package dimse

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// An interrupt raises a flag, then ends the read. Who saw the flag before the read
// was ended waits on, and does not take that for the peer's silence.
func TestInterruptThatWasSeenIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours, Limits{}.orDefaults(), true)
		got := make(chan error, 1)
		go func() { got <- l.await(time.Hour) }()
		synctest.Wait()
		ours.SetReadDeadline(time.Now())
		synctest.Wait()
		go theirs.Write([]byte{1})
		if err := <-got; err != nil {
			t.Error(err)
		}
		theirs.Close()
		ours.Close()
	})
}
