//go:build !linux

package dimse

import (
	"crypto/tls"
	"net"
)

// tuneConn turns Nagle's delay off. Only Linux can be asked to acknowledge at
// once.
func tuneConn(conn net.Conn) func() {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
	}
	return nil
}
