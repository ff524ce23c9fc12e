package peertest

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// Ports that tests hand to programs lie below those that systems give to
// connections: a port found by listening on port 0 is the next best for any
// connection, or any test, in the moment before the program listens on it.
const firstPort, ports = 10000, 20000

var nextPort atomic.Uint32

// FreePort returns a port that nobody listens on, and no second time the same
// in a process.
func FreePort(t testing.TB) string {
	t.Helper()
	for range ports {
		// Test processes that run side by side begin at different places.
		n := uint32(os.Getpid())*211 + nextPort.Add(1)
		port := strconv.Itoa(int(firstPort + n%ports))
		l, err := net.Listen("tcp", ":"+port) // on every interface, as DCMTK does
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return ""
}
