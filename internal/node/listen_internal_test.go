package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"lumen/audit"
	"lumen/config"
	"lumen/internal/durable"
)

// Pictures that leave in clear are as much of an alert as those that come so.
func TestADestinationInClearIsAnAlert(t *testing.T) {
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	cfg.Destinations = []config.Destination{
		{Title: "HERE", Address: "127.0.0.1:104"},
		{Title: "HERE6", Address: "[::1]:104"},
		{Title: "LOCAL", Address: "localhost:104"},
		{Title: "SAFE", Address: "192.0.2.1:2762", TLS: config.DestinationTLS{CA: "ca.pem"}},
		{Title: "CLEAR", Address: "192.0.2.2:104"},
		{Title: "NAMED", Address: "viewer.example:104"},
	}
	n := base(t, cfg)
	if err := n.alert(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := alerts(t, n, "destination"); !slices.Equal(got, []string{"CLEAR", "NAMED"}) {
		t.Errorf("alerts for %q", got)
	}
}

// In clear, the network may connect only where the configuration says so, and
// the journal says that it does. No test listens on the network: the listener
// and its peers only say that they are there.
func TestPlaintextOffTheLoopbackInterface(t *testing.T) {
	const peer = "192.0.2.2:40000"
	for _, c := range []struct {
		networks string
		takes    []string
	}{
		{"203.0.113.77/32", []string{"127.0.0.1:40000", "[::1]:40000"}},
		{"192.0.2.2/32", []string{peer, "[::ffff:192.0.2.2]:40000", "127.0.0.1:40000", "[::1]:40000"}},
	} {
		cfg := config.Default()
		cfg.Data = filepath.Join(t.TempDir(), "data")
		n := base(t, cfg)
		socket := &pretended{addr: "192.0.2.1:104"}
		for _, from := range []string{peer, "[::ffff:192.0.2.2]:40000", "127.0.0.1:40000", "[::1]:40000", "198.51.100.1:40000"} {
			socket.peers = append(socket.peers, &pretendedConn{from: address(from)})
		}
		all := append([]*pretendedConn(nil), socket.peers...)
		var l listeners
		guarded, err := l.guard("DIMSE", socket, []netip.Prefix{netip.MustParsePrefix(c.networks)})
		if err != nil {
			t.Fatal(err)
		}
		var taken []string
		for {
			conn, err := guarded.Accept()
			if err != nil {
				break
			}
			taken = append(taken, conn.RemoteAddr().String())
		}
		if !slices.Equal(taken, c.takes) {
			t.Errorf("allowed %s: takes %q, want %q", c.networks, taken, c.takes)
		}
		for _, conn := range all {
			if conn.closed == slices.Contains(c.takes, string(conn.from)) {
				t.Errorf("allowed %s: %s is closed: %v", c.networks, conn.from, conn.closed)
			}
		}
		if err := n.alert(t.Context(), l.exposed); err != nil {
			t.Fatal(err)
		}
		if got := alerts(t, n, "networks"); !slices.Equal(got, []string{c.networks}) {
			t.Errorf("alerts for %q", got)
		}
		if got := alerts(t, n, "alert"); !slices.Equal(got, []string{"plaintext listener"}) {
			t.Errorf("alerts of %q", got)
		}
	}
	var l listeners
	if _, err := l.guard("DIMSE", &pretended{addr: "192.0.2.1:104"}, nil); err == nil {
		t.Error("a listener on the network takes anybody in clear")
	}
}

// pretended is a listener that says it is somewhere else, with peers that do.
type pretended struct {
	addr  address
	peers []*pretendedConn
}

type pretendedConn struct {
	net.Conn
	from   address
	closed bool
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func (p *pretended) Addr() net.Addr { return p.addr }
func (p *pretended) Close() error   { return nil }

func (p *pretended) Accept() (net.Conn, error) {
	if len(p.peers) == 0 {
		return nil, net.ErrClosed
	}
	next := p.peers[0]
	p.peers = p.peers[1:]
	return next, nil
}

func (c *pretendedConn) RemoteAddr() net.Addr { return c.from }
func (c *pretendedConn) Close() error         { c.closed = true; return nil }

// base is a node with its journals, on a folder of its own.
func base(t *testing.T, cfg config.Config) *node {
	t.Helper()
	folder, err := OpenFolder(durable.OS(), cfg.Data, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	n, err := openBase(t.Context(), cfg, folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(context.Background()) })
	return n
}

// alerts are what the node's journal says of one detail of every alert.
func alerts(t *testing.T, n *node, detail string) (all []string) {
	t.Helper()
	for entry, err := range n.own.log.Replay(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Leaf.Code != audit.SecurityAlert {
			continue
		}
		e, err := eventOf(entry)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Detail[detail])
	}
	return all
}
