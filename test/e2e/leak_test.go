package e2e_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// After 20 000 associations, ended in every way there is, the node has as many
// goroutines and descriptors as before.
func TestNothingIsLeftOfAssociations(t *testing.T) {
	const rounds, callers = 20_000, 16
	n := startNode(t, "")
	n.warmUp(t)
	for i := range 8 {
		if err := n.comeAndGo(i); err != nil {
			t.Fatal(err)
		}
	}
	var goroutines, files int
	n.until("the node is at rest", 20*time.Second, func() bool {
		g, f := n.held(t)
		rest := g == goroutines && f == files
		goroutines, files = g, f
		return rest
	})
	begin := time.Now()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < rounds; i += callers {
				if err := n.comeAndGo(i); err != nil {
					t.Errorf("association %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%.0f associations a second; %d goroutines, %d descriptors before", rounds/time.Since(begin).Seconds(), goroutines, files)
	n.until("goroutines and descriptors are back to the start", 30*time.Second, func() bool {
		g, f := n.held(t)
		return g <= goroutines && f <= files
	})
	n.clean()
}

// comeAndGo makes one association, and ends it in the i-th way.
func (n *node) comeAndGo(i int) error {
	conn, err := net.Dial("tcp", n.dimse)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(associationRequest("COMES AND GOES")); err != nil {
		return err
	}
	if err := expect(conn, 2); err != nil {
		return err
	}
	command := bytes.Join([][]byte{element(0x0000_0002, padded("1.2.840.10008.1.1")), element(0x0000_0100, short(0x0030)),
		element(0x0000_0110, short(1)), element(0x0000_0800, short(0x0101))}, nil)
	echo := append(binary.BigEndian.AppendUint32(nil, uint32(len(command)+2)), 1, 3)
	echo = pdu(4, append(echo, command...))
	switch i % 4 {
	case 0: // goes without a word
	case 1: // aborts
		_, err = conn.Write(pdu(7, []byte{0, 0, 0, 0}))
	case 2: // goes in the middle of a message
		_, err = conn.Write(echo[:20])
	case 3: // in order
		if _, err = conn.Write(echo); err == nil {
			err = expect(conn, 4)
		}
		if err == nil {
			_, err = conn.Write(pdu(5, []byte{0, 0, 0, 0}))
		}
		if err == nil {
			err = expect(conn, 6)
		}
	}
	return err
}

// expect reads one PDU of a kind.
func expect(r io.Reader, kind byte) error {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if head[0] != kind {
		return fmt.Errorf("a PDU of type %d, want %d", head[0], kind)
	}
	length := int64(binary.BigEndian.Uint32(head[2:]))
	if n, err := io.CopyN(io.Discard, r, length); err != nil {
		return errors.Join(fmt.Errorf("%d of %d bytes", n, length), err)
	}
	return nil
}

var goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

// held is how many goroutines and descriptors the node has, those of the journal
// apart.
func (n *node) held(t *testing.T) (goroutines, files int) {
	t.Helper()
	_, metrics := n.get(n.url("/metrics"), "text/plain")
	m := goroutinesLine.FindSubmatch(metrics)
	if m == nil {
		t.Fatal("no goroutines in the metrics")
	}
	goroutines, _ = strconv.Atoi(string(m[1]))
	folder := fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid)
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		to, _ := os.Readlink(filepath.Join(folder, e.Name()))
		if !strings.HasPrefix(to, filepath.Join(n.data, "audit")+"/") { // a file for each level of a tree that grows
			files++
		}
	}
	return goroutines, files
}
