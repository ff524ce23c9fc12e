package loopback_test

import (
	"net"
	"strconv"
	"testing"

	"lumen/internal/loopback"
)

func freePort(t *testing.T) int {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestFreePortIsGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port := freePort(t)
		if seen[port] {
			t.Fatalf("port %d is given twice", port)
		}
		seen[port] = true
	}
}

func TestFreePortIsNotTaken(t *testing.T) {
	for range 20 {
		next := freePort(t) + 1
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(next))
		if err != nil {
			continue // somebody has it already
		}
		got := freePort(t)
		l.Close()
		if got == next {
			t.Fatalf("port %d is taken", got)
		}
	}
}
