package e2e_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// hostileGrowth is how much anonymous memory an attack may cost.
const hostileGrowth = 128 << 20

// Peers that lie, stall and flood harm nobody else: memory stays bounded, and
// echoes are answered meanwhile.
func TestHostilePeersHarmNobody(t *testing.T) {
	n := startNode(t, "")
	n.warmUp(t)
	before, err := rssAnon(n.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	w := n.watchMemory(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, attack := range attacks() {
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					attack(ctx, n)
				}
			})
		}
	}
	slowest, echoes := time.Duration(0), 0
	for ctx.Err() == nil {
		begin := time.Now()
		out, code := run(t, lumenBinary, "echo", n.dimse)
		if code != 0 {
			t.Errorf("echo under attack ends with %d: %s", code, out)
		}
		slowest, echoes = max(slowest, time.Since(begin)), echoes+1
	}
	wg.Wait()
	close(w.stop)
	w.done.Wait()
	t.Logf("%d echoes, the slowest took %v; anonymous memory %d MiB, at most %d MiB", echoes, slowest, before>>20, w.peak>>20)
	if echoes == 0 || slowest > 5*time.Second {
		t.Errorf("%d echoes, the slowest took %v", echoes, slowest)
	}
	if w.peak-before > hostileGrowth {
		t.Errorf("anonymous memory grows by %d MiB", (w.peak-before)>>20)
	}
	n.clean()
}

// attacks are what one connection does, until it is cut or done.
func attacks() map[string]func(context.Context, *node) {
	raw := func(b []byte, wait bool) func(context.Context, *node) {
		return func(ctx context.Context, n *node) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.dimse)
			if err != nil {
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			conn.Write(b)
			if wait {
				io.Copy(io.Discard, conn)
			}
		}
	}
	// message sends what is given as the data set of a C-STORE request.
	message := func(syntax string, data func() io.Reader) func(context.Context, *node) {
		return func(ctx context.Context, n *node) {
			c, err := n.associate(vlEndoscopic, syntax)
			if err != nil {
				return
			}
			defer c.abort()
			defer context.AfterFunc(ctx, c.abort)()
			c.store(vlEndoscopic, "2.25.666", data())
		}
	}
	// A PDU of 4 GiB on an association.
	huge := func(ctx context.Context, n *node) {
		c, err := n.associate(vlEndoscopic, jpegBaseline)
		if err != nil {
			return
		}
		defer c.abort()
		defer context.AfterFunc(ctx, c.abort)()
		c.conn.Write([]byte{4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
		io.Copy(io.Discard, c.conn)
	}
	emptyPDV := func(ctx context.Context, n *node) {
		c, err := n.associate(vlEndoscopic, jpegBaseline)
		if err != nil {
			return
		}
		defer c.abort()
		defer context.AfterFunc(ctx, c.abort)()
		c.conn.Write([]byte{4, 0, 0, 0, 0, 4, 0, 0, 0, 0})
		io.Copy(io.Discard, c.conn)
	}
	deep := bytes.Repeat(append(le(0x0040a730, "SQ"), 0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff), 100_000)
	bomb := deflated(64 << 20)
	return map[string]func(context.Context, *node){
		"a request of 4 GiB": raw([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0}, true),
		"half open":          raw(nil, true),
		"connect and abort":  raw([]byte{7, 0, 0, 0, 0, 4, 0, 0, 0, 0}, false),
		"noise":              raw(bytes.Repeat([]byte{0x5a}, 4096), true),
		"a PDU of 4 GiB":     huge,
		"a PDV of nothing":   emptyPDV,
		"endless depth":      message("1.2.840.10008.1.2.1", func() io.Reader { return bytes.NewReader(deep) }),
		"a deflate bomb":     message("1.2.840.10008.1.2.1.99", func() io.Reader { return bytes.NewReader(bomb) }),
		"a value of 4 GiB": message("1.2.840.10008.1.2.1", func() io.Reader {
			return bytes.NewReader([]byte{0x10, 0, 0x10, 0, 'U', 'T', 0, 0, 0xfe, 0xff, 0xff, 0xff, 'x'})
		}),
		"a header without end": message("1.2.840.10008.1.2.1", func() io.Reader { return io.LimitReader(&endless{}, 32<<20) }),
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
