package peertest_test

import (
	"net"
	"strconv"
	"testing"

	"lumen/internal/peertest"
)

func TestFreePortIsGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		port := peertest.FreePort(t)
		if seen[port] {
			t.Fatalf("port %s is given twice", port)
		}
		seen[port] = true
	}
}

func TestFreePortIsNotTaken(t *testing.T) {
	for range 20 {
		port, err := strconv.Atoi(peertest.FreePort(t))
		if err != nil {
			t.Fatal(err)
		}
		next := strconv.Itoa(port + 1)
		l, err := net.Listen("tcp", "127.0.0.1:"+next)
		if err != nil {
			continue // somebody has it already
		}
		got := peertest.FreePort(t)
		l.Close()
		if got == next {
			t.Fatalf("port %s is taken", got)
		}
	}
}
