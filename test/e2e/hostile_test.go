package e2e_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// attack is what a hostile peer does over one connection after the other, until
// it is cut or done.
type attack struct {
	name  string
	peers int           // that do it at once
	every time.Duration // how often each begins anew, at most
	once  func(context.Context, target)
}

// target is the node that is attacked, and the address that it sees a hostile
// peer come from: nobody shuts all others out with connections from one.
type target struct {
	addr string // HOST:PORT
	from net.IP
}

func (a target) connect(ctx context.Context) (net.Conn, func(), error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: a.from}}
	conn, err := d.DialContext(ctx, "tcp", a.addr)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

// raw sends bytes without an association, and waits to be cut.
func raw(b []byte, wait bool) func(context.Context, target) {
	return func(ctx context.Context, a target) {
		conn, end, err := a.connect(ctx)
		if err != nil {
			return
		}
		defer end()
		conn.Write(b)
		if wait {
			io.Copy(io.Discard, conn)
		}
	}
}

// associated makes an association first.
func associated(syntax string, do func(*client)) func(context.Context, target) {
	return func(ctx context.Context, a target) {
		conn, end, err := a.connect(ctx)
		if err != nil {
			return
		}
		defer end()
		if c, err := associateOver(conn, vlEndoscopic, syntax); err == nil {
			do(c)
		}
	}
}

// message sends what is given as the data set of a C-STORE request.
func message(syntax string, data func() io.Reader) func(context.Context, target) {
	return associated(syntax, func(c *client) { c.store(vlEndoscopic, "2.25.666", data()) })
}

// says sends bytes on an association, and waits to be cut.
func says(b ...byte) func(context.Context, target) {
	return associated(jpegBaseline, func(c *client) {
		c.conn.Write(b)
		io.Copy(io.Discard, c.conn)
	})
}

// slowly sends a byte of b twice a second.
func slowly(b []byte) func(context.Context, target) {
	return func(ctx context.Context, a target) {
		conn, end, err := a.connect(ctx)
		if err != nil {
			return
		}
		defer end()
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for i := range b {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := conn.Write(b[i : i+1]); err != nil {
				return
			}
		}
	}
}

// attacks are all of them. The first is 1 000 connections a second.
func attacks() []attack {
	deep := bytes.Repeat(append(le(0x0040a730, "SQ"), 0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff), 100_000)
	bomb := deflated(64 << 20)
	request := pdu(1, requestBody(vlEndoscopic, explicitLE))
	crowded := append(requestBody(vlEndoscopic, explicitLE), bytes.Repeat([]byte{0x20, 0, 0, 8, 1, 0, 0, 0, 0x30, 0, 0, 0}, 20_000)...)
	abort := []byte{7, 0, 0, 0, 0, 4, 0, 0, 0, 0}
	return []attack{
		{"connect, ask and abort", 20, 20 * time.Millisecond, raw(append(bytes.Clone(request), abort...), false)},
		{"half open", 100, time.Second, raw(nil, true)},
		{"slowloris", 100, time.Second, slowly(request)},
		{"a request of 4 GiB", 4, 100 * time.Millisecond, raw([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0}, true)},
		{"noise", 4, 100 * time.Millisecond, raw(bytes.Repeat([]byte{0x5a}, 4096), true)},
		{"a PDU of 4 GiB", 4, 100 * time.Millisecond, says(4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0)},
		{"a PDV of nothing", 4, 100 * time.Millisecond, says(4, 0, 0, 0, 0, 4, 0, 0, 0, 0)},
		{"a context that was not accepted", 4, 100 * time.Millisecond, says(4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 77, 3, 0, 0)},
		{"contexts past the limit", 4, 100 * time.Millisecond, raw(pdu(1, crowded), true)},
		{"endless depth", 4, 100 * time.Millisecond, message(explicitLE, func() io.Reader { return bytes.NewReader(deep) })},
		{"a deflate bomb", 4, 100 * time.Millisecond, message("1.2.840.10008.1.2.1.99", func() io.Reader { return bytes.NewReader(bomb) })},
		{"a value of 4 GiB", 4, 100 * time.Millisecond, message(explicitLE, func() io.Reader {
			return bytes.NewReader([]byte{0x10, 0, 0x10, 0, 'U', 'T', 0, 0, 0xfe, 0xff, 0xff, 0xff, 'x'})
		})},
		{"a header without end", 4, 100 * time.Millisecond, message(explicitLE, func() io.Reader { return io.LimitReader(&endless{}, 32<<20) })},
	}
}

// attackAll runs all attacks on addr until ctx ends, each peer from an address of
// its own in the network, and says how often each began.
func attackAll(ctx context.Context, addr string, from netip.Prefix) (begun map[string]int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun = map[string]int{}
	address := from.Addr().Next()
	for _, a := range attacks() {
		for range a.peers {
			address = address.Next()
			from := target{addr, address.AsSlice()}
			wg.Go(func() {
				times := a.repeat(ctx, from)
				mu.Lock()
				defer mu.Unlock()
				begun[a.name] += times
			})
		}
	}
	wg.Wait()
	return begun
}

// attackedAddr is the environment variable that makes the test binary a program
// of hostile peers: they attack the address in it until they are killed, or for
// as long as attackLength says, and print how often each attack began, in JSON.
const (
	attackedAddr = "LUMEN_E2E_ATTACK"
	attackLength = "LUMEN_E2E_ATTACK_LENGTH"
	attackFrom   = "LUMEN_E2E_ATTACK_FROM" // the network
)

// attackProgram is that program's main.
func attackProgram() int {
	length, err := time.ParseDuration(os.Getenv(attackLength))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	from, err := netip.ParsePrefix(os.Getenv(attackFrom))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	if err := json.NewEncoder(os.Stdout).Encode(attackAll(ctx, os.Getenv(attackedAddr), from)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// repeat attacks until ctx ends, and says how often. Peers do not begin all at
// the same moment.
func (a attack) repeat(ctx context.Context, from target) (times int) {
	select {
	case <-ctx.Done():
		return 0
	case <-time.After(rand.N(a.every)):
	}
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return times
		case <-tick.C:
			a.once(ctx, from)
			times++
		}
	}
}

// le is the header of an element of undefined length, Explicit VR Little Endian.
func le(tag uint32, vr string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(tag>>16))
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	return append(append(b, vr...), 0, 0, 0xff, 0xff, 0xff, 0xff)
}

// deflated is a data set whose one value inflates to size bytes of zero.
func deflated(size int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is one that there is
	}
	head := []byte{0x10, 0, 0x10, 0, 'U', 'T', 0, 0}
	w.Write(binary.LittleEndian.AppendUint32(head, uint32(size)))
	io.CopyN(w, zeros{}, int64(size))
	w.Close()
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// endless is short elements of one tag after the other.
type endless struct{ rest []byte }

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.rest) == 0 {
			e.rest = []byte{0x10, 0, 0x10, 0, 'P', 'N', 8, 0, 'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'}
		}
		c := copy(p[n:], e.rest)
		n, e.rest = n+c, e.rest[c:]
	}
	return n, nil
}
