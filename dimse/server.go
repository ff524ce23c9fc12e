package dimse

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// forever is longer than any operation: no idle timer runs during one.
const forever = 365 * 24 * time.Hour

// Server accepts associations. Its fields must not change once Serve was
// called. It is safe for concurrent use.
type Server struct {
	// Associate decides who may have an association. What it returns becomes
	// [Association].Value. A *[Reject] decides the rejection; any other error is
	// one without a reason. Nil accepts everybody.
	Associate func(ctx context.Context, rq *AssociateRequest) (any, error)

	Services []Service
	Events   Events
	Limits   Limits
	Logger   *slog.Logger // nil logs nothing

	once    sync.Once
	classes map[string]*Service

	closing   atomic.Bool
	mu        sync.Mutex
	listeners map[net.Listener]bool
	live      map[*Association]*list.Element
	halfOpen  list.List // connections without an association, not yet or no more; oldest first
	peers     map[netip.Addr]int
	admitted  map[*Association]bool
	room      chan struct{} // signalled when halfOpen gets shorter
	throttle  throttle
	wg        sync.WaitGroup
}

// Events tells what happens, for a journal and for metrics. Each may be nil.
// They are called in the goroutine of the association, which waits for them.
type Events struct {
	Accepted func(a *Association)
	Rejected func(rq *AssociateRequest, why *Reject)
	// Refused is called for a connection that was closed unread because too many
	// of its address had failed, in the goroutine that accepts.
	Refused func(remote netip.AddrPort)
	// Closed is called once for each Accepted; err is nil after an orderly
	// release, and an *AbortError when the peer aborted.
	Closed  func(a *Association, err error)
	Message func(a *Association, m Message)
}

// Message is a message that was served.
type Message struct {
	Operation   string // "C-STORE", "C-FIND" ...
	SOPClassUID string
	Status      Status // the final one
	Duration    time.Duration
	Bytes       int64 // of data sets, received or sent
	Err         error // what the handler returned, or what ended the association
}

// Serve accepts connections on l until Shutdown (then it returns nil) or a
// failure of the listener. It closes l. Ctx is what handlers get; when it is
// done, all associations are cut.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return errors.New("server is shut down")
	}
	defer s.untrack(l)
	defer context.AfterFunc(ctx, s.cut)()
	lim := s.Limits.orDefaults()
	for {
		s.makeRoom(ctx, lim)
		conn, err := l.Accept()
		if err != nil {
			if s.closing.Load() {
				return nil
			}
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of descriptors: they come back
				s.logger().ErrorContext(ctx, "cannot accept a connection", "error", err)
				select {
				case <-time.After(acceptPause):
					continue
				case <-ctx.Done():
				}
			}
			return fmt.Errorf("accept: %w", err)
		}
		if ok, hurry := s.throttle.admit(remote(conn).Addr(), lim.Failures); ok {
			s.start(ctx, conn, lim, hurry)
			continue
		}
		conn.Close()
		if s.Events.Refused != nil {
			s.Events.Refused(remote(conn))
		}
	}
}

// acceptPause is how long accepting rests when descriptors have run out.
const acceptPause = 50 * time.Millisecond

// start makes the association of a new connection and its goroutine.
func (s *Server) start(ctx context.Context, conn net.Conn, lim Limits, hurry bool) {
	a := &Association{ID: newID(), server: s, Remote: remote(conn), since: time.Now(), hurry: hurry}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		conn.Close()
		return
	}
	a.link = newLink(conn, lim, true)
	if s.live == nil {
		s.live = make(map[*Association]*list.Element)
		s.peers = make(map[netip.Addr]int)
		s.admitted = make(map[*Association]bool)
	}
	s.live[a] = s.halfOpen.PushBack(a)
	s.wg.Go(func() {
		defer s.forget(a)
		a.run(ctx)
	})
}

// makeRoom waits until there is room for one more connection without an
// association. While there is none, the oldest has half a moment to ask, or to
// close, and is cut then: real peers do so at once, unless we are behind with
// serving them. Meanwhile new connections wait in the kernel's queue.
func (s *Server) makeRoom(ctx context.Context, lim Limits) {
	for {
		s.mu.Lock()
		if s.halfOpen.Len() < lim.HalfOpen {
			s.mu.Unlock()
			return
		}
		oldest := s.halfOpen.Front()
		wait := halfOpenGrace - time.Since(oldest.Value.(*Association).since)
		if wait <= 0 {
			s.halfOpen.Remove(oldest).(*Association).link.conn.Close()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// halfOpenGrace is what a connection without an association has at least, when
// there are more of them than allowed.
const halfOpenGrace = 250 * time.Millisecond

// drop takes a connection off the list of half-open ones. The caller holds mu.
func (s *Server) drop(a *Association) {
	s.halfOpen.Remove(s.live[a])
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// opened notes that a request has come.
func (s *Server) opened(a *Association) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(a)
}

// admit counts an association against the limits.
func (s *Server) admit(a *Association) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	lim, addr := &a.link.lim, a.Remote.Addr()
	if s.closing.Load() || len(s.admitted) >= lim.Associations || s.peers[addr] >= lim.PerPeer {
		return errLimit
	}
	s.admitted[a] = true
	s.peers[addr]++
	return nil
}

// leave ends the counting of an association that is over, and says for how long
// its connection may wait to be closed by the peer.
func (s *Server) leave(a *Association) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admitted[a] {
		delete(s.admitted, a)
		addr := a.Remote.Addr()
		if s.peers[addr]--; s.peers[addr] == 0 {
			delete(s.peers, addr)
		}
	}
	s.drop(a)
	lim := &a.link.lim
	switch {
	case !a.link.machine.is(staAwaitClose), s.halfOpen.Len() >= lim.HalfOpen:
		return 0
	case s.closing.Load():
		return min(lim.ARTIM, shutdownLinger)
	}
	a.since = time.Now()
	s.live[a] = s.halfOpen.PushBack(a)
	return lim.ARTIM
}

// shutdownLinger is how long a peer has to close a connection that we end
// because we shut down.
const shutdownLinger = time.Second

// forget drops a connection that is closed.
func (s *Server) forget(a *Association) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(a)
	delete(s.live, a)
}

// Shutdown stops accepting, lets every operation that has begun finish, aborts
// associations between messages, and waits for all of them. When ctx is done
// first it cuts the rest, waits for their handlers and returns the cause.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing.Store(true)
	for l := range s.listeners {
		l.Close()
	}
	for a := range s.live {
		a.link.interrupt()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.cut()
		<-done
		return context.Cause(ctx)
	}
}

// cut closes all connections.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.live {
		a.link.conn.Close()
	}
}

// Associations returns how many associations there are.
func (s *Server) Associations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.admitted)
}

func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]bool)
		s.room = make(chan struct{}, 1)
	}
	s.listeners[l] = true
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// remote is the peer's address; zero for connections that are not TCP.
func remote(conn net.Conn) netip.AddrPort {
	if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		p := addr.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
