package loopback_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lumen/internal/loopback"
	"lumen/internal/peertest"
)

// asProgram makes the test binary a program that starts `sleep` for the given
// number of seconds and waits for it.
const asProgram = "LUMEN_LOOPBACK_SLEEP"

func TestMain(m *testing.M) {
	run := m.Run
	if seconds := os.Getenv(asProgram); seconds != "" {
		run = func() int {
			sleep := exec.Command("sleep", seconds)
			if err := sleep.Start(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			fmt.Println("started")
			sleep.Wait()
			return 0
		}
	}
	os.Exit(loopback.Run(run))
}

// needsNamespace skips a test where the user is given none; Run has said so, and
// in CI has failed.
func needsNamespace(t *testing.T) {
	t.Helper()
	if !loopback.Inside() {
		t.Skip("no namespaces for this user")
	}
}

func TestOnlyTheLoopbackInterfaceIsThere(t *testing.T) {
	needsNamespace(t)
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			t.Errorf("interface %s is up", i.Name)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c, err := net.DialTimeout("tcp", "192.0.2.1:80", time.Second); err == nil {
		c.Close()
		t.Error("there is a way out")
	}
}

func TestCallsComeFromElsewhere(t *testing.T) {
	needsNamespace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.77"), 0))
	d := net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	addr, err := netip.ParseAddrPort(accepted.RemoteAddr().String())
	if err != nil || !loopback.Elsewhere.Contains(addr.Addr()) {
		t.Errorf("called from %v, %v", addr, err)
	}
}

// The process is killed; what it had started is not there any more.
func TestNothingOutlivesTheProgram(t *testing.T) {
	needsNamespace(t)
	seconds := fmt.Sprintf("9999.%d", time.Now().UnixNano())
	cmd := exec.Command(os.Args[0])
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "LUMEN_LOOPBACK=") })
	cmd.Env = append(cmd.Env, asProgram+"="+seconds)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("the program says %q: %v", line, err)
	}
	// Its command line can be read a moment after its start has succeeded.
	peertest.Eventually(t, "the started process is to be seen", func() bool { return sleeping(t, seconds) == 1 })
	cmd.Process.Kill()
	cmd.Wait()
	peertest.Eventually(t, "the started process has ended", func() bool { return sleeping(t, seconds) == 0 })
}

// sleeping counts the processes that sleep for so many seconds.
func sleeping(t *testing.T, seconds string) (n int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		line, err := os.ReadFile(name)
		if err == nil && bytes.Equal(line, []byte("sleep\x00"+seconds+"\x00")) {
			n++
		}
	}
	return n
}
