package loopback

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// stage is the environment variable that says how far a process has come:
// nothing outside, then "enter" in the first process of the namespaces, then
// "inside" there and in all that it starts.
const stage = "LUMEN_LOOPBACK"

// errUnavailable means that this system gives no namespaces to this user.
var errUnavailable = errors.New("no namespace with only the loopback interface")

// Elsewhere are addresses (TEST-NET-3, RFC 5737) that a process inside can call
// from, and that whoever is called does not take for its own machine's.
var Elsewhere = netip.MustParsePrefix("203.0.113.0/24")

// Inside reports whether the process is where only the loopback interface is.
func Inside() bool { return os.Getenv(stage) == "inside" }

// Run calls run in a copy of this process that has only the loopback interface,
// and returns what run returns there: main's or TestMain's exit code. Whatever
// run starts ends with it, and it ends with the process that started this one.
//
// Where the system has no such namespaces for this user, Run says so on
// standard error and calls run in this process; to root in CI (CI=true) that is
// a failure.
//
// Nothing before Run may have an effect that must not happen twice.
func Run(run func() int) int {
	if Inside() {
		return run()
	}
	if os.Getenv(stage) == "enter" {
		return arrive(run)
	}
	code, err := enter()
	if err == nil {
		return code
	}
	fmt.Fprintf(os.Stderr, "%v; servers that listen on all interfaces can be reached from outside meanwhile\n", err)
	if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
		return 1
	}
	return run()
}
