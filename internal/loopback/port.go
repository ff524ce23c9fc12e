package loopback

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports that are handed to programs lie below those that systems give to
// connections: a port found by listening on port 0 is the next best for any
// connection, or any test, in the moment before the program listens on it.
const firstPort, ports = 10000, 20000

var nextPort atomic.Uint32

// FreePort returns a port that nobody listens on, and no second time the same
// in a process.
func FreePort() (int, error) {
	for range ports {
		// Processes that run side by side begin at different places.
		n := uint32(os.Getpid())*211 + nextPort.Add(1)
		port := int(firstPort + n%ports)
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port)) // on every interface, as DCMTK does
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no port is free")
}
