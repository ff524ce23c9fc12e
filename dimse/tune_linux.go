package dimse

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"
)

// tuneConn turns Nagle's delay off and returns a function that acknowledges
// what has arrived at once.
//
// A peer with Nagle's delay on (DCMTK 3.6 unless TCP_NODELAY=1 is in its
// environment, and towers built on it) writes a command, then a data set, and
// holds the short end of it back until we have acknowledged what came before.
// Linux delays that acknowledgement by up to 40 ms once we have answered, and
// TCP_QUICKACK does not last: so it is set again after each read.
func tuneConn(conn net.Conn) func() {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	_ = tcp.SetNoDelay(true) // the default of package net; a proxy's listener may differ
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	set := func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) }
}
