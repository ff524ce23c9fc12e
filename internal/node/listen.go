package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"lumen/config"
	"lumen/internal/durable"
	"lumen/store"
)

// listeners are the sockets of a node; those that are not configured are nil.
type listeners struct {
	dimse, dimseTLS, dimseLegacy, http, https, admin net.Listener

	addresses Addresses
	exposed   []exposed
}

// exposed is a plaintext listener that others than this machine can reach.
type exposed struct {
	name, address string
	networks      []netip.Prefix
}

// alert journals that a listener, or a destination of C-MOVE, is less safe than
// it could be.
func (n *node) alert(ctx context.Context, all []exposed) error {
	for _, e := range all {
		networks := fmt.Sprint(e.networks)
		n.log.Warn("connections in clear are allowed", "listener", e.name, "address", e.address, "networks", networks)
		err := n.record(ctx, store.EventSecurityAlert, map[string]string{
			"alert": "plaintext listener", "listener": e.name, "address": e.address, "networks": strings.Trim(networks, "[]")})
		if err != nil {
			return err
		}
	}
	for _, d := range destinationsInClear(n.config.Destinations) {
		n.log.Warn("what is moved to a destination crosses the network in clear", "destination", d.Title, "address", d.Address)
		err := n.record(ctx, store.EventSecurityAlert, map[string]string{
			"alert": "plaintext destination", "destination": d.Title, "address": d.Address})
		if err != nil {
			return err
		}
	}
	return nil
}

// destinationsInClear are those off this machine that have no TLS.
func destinationsInClear(all []config.Destination) (clear []config.Destination) {
	for _, d := range all {
		host, _, _ := net.SplitHostPort(d.Address) // config has checked it
		ip, err := netip.ParseAddr(host)
		local := host == "localhost" || err == nil && ip.Unmap().IsLoopback()
		if !local && d.TLS == (config.DestinationTLS{}) {
			clear = append(clear, d)
		}
	}
	return clear
}

func listenAll(cfg config.Config, folder *Folder, log *slog.Logger) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	d, h := cfg.DIMSE, cfg.HTTP
	if err = l.plain("DIMSE", d.Listen, d.AllowPlaintext, &l.dimse, &l.addresses.DIMSE); err != nil {
		return nil, err
	}
	if err = l.plain("HTTP", h.Listen, h.AllowPlaintext, &l.http, &l.addresses.HTTP); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		name    string
		files   config.TLS
		legacy  bool
		to      *net.Listener
		address *string
	}{
		{"DIMSE over TLS", d.TLS, false, &l.dimseTLS, &l.addresses.DIMSETLS},
		{"DIMSE over the retired TLS profile", d.LegacyTLS, true, &l.dimseLegacy, &l.addresses.DIMSELegacyTLS},
		{"HTTPS", h.TLS, false, &l.https, &l.addresses.HTTPS},
	} {
		if err = encrypted(s.name, s.files, s.legacy, log, s.to, s.address); err != nil {
			return nil, err
		}
	}
	l.announce(cfg, log)
	if l.admin, err = listenAdmin(folder); err != nil {
		return nil, err
	}
	return l, folder.writeAddresses(durable.OS(), l.addresses)
}

// plain opens a plaintext listener.
func (l *listeners) plain(name, addr string, networks []netip.Prefix, to *net.Listener, address *string) error {
	if addr == config.Off {
		return nil
	}
	socket, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", name, addr, err)
	}
	*to, *address = socket, socket.Addr().String()
	*to, err = l.guard(name, socket, networks)
	return err
}

// guard lets a plaintext listener that is off the loopback interface take only
// peers of the networks that are named, and notes that it is exposed.
func (l *listeners) guard(name string, socket net.Listener, networks []netip.Prefix) (net.Listener, error) {
	addr := socket.Addr()
	if onLoopback(addr) {
		return socket, nil
	}
	if len(networks) == 0 { // a name that config took for the loopback interface is not
		return socket, fmt.Errorf("listen for %s on %s: not on the loopback interface, and no network may connect in clear", name, addr)
	}
	l.exposed = append(l.exposed, exposed{name, addr.String(), networks})
	return &guarded{Listener: socket, networks: networks}, nil
}

// encrypted opens a TLS listener, if there is to be one.
func encrypted(name string, files config.TLS, legacy bool, log *slog.Logger, to *net.Listener, address *string) error {
	if files.Listen == "" {
		return nil
	}
	certificates, err := openCertificates(files, legacy, log)
	if err != nil {
		return fmt.Errorf("certificates for %s: %w", name, err)
	}
	socket, err := net.Listen("tcp", files.Listen)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", name, files.Listen, err)
	}
	*to, *address = tls.NewListener(socket, certificates.config()), socket.Addr().String()
	return nil
}

// guarded closes connections from elsewhere than the loopback interface and
// the networks before a byte is read.
type guarded struct {
	net.Listener
	networks []netip.Prefix
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || g.allows(conn.RemoteAddr()) {
			return conn, err
		}
		conn.Close()
	}
}

func (g *guarded) allows(a net.Addr) bool {
	peer, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, network := range g.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return addr.IsLoopback()
}

// announce says where the node listens and how to push a first file.
func (l *listeners) announce(cfg config.Config, log *slog.Logger) {
	a := l.addresses
	if a.DIMSE != "" {
		host, port, _ := net.SplitHostPort(a.DIMSE)
		log.Info("dimse listens", "address", a.DIMSE, "ae_title", cfg.DIMSE.AETitle, "try", "storescu "+host+" "+port+" FILE")
	}
	if a.HTTP != "" {
		log.Info("dicomweb listens", "url", "http://"+a.HTTP+"/dicom-web", "try", "curl http://"+a.HTTP+"/dicom-web/studies")
		log.Info("metrics listen", "url", "http://"+a.HTTP+"/metrics")
	}
	if a.DIMSETLS != "" {
		log.Info("dimse over tls listens", "address", a.DIMSETLS, "ae_title", cfg.DIMSE.AETitle)
	}
	if a.DIMSELegacyTLS != "" {
		log.Warn("dimse over the retired tls profile listens: it has no forward secrecy", "address", a.DIMSELegacyTLS)
	}
	if a.HTTPS != "" {
		log.Info("dicomweb over tls listens", "url", "https://"+a.HTTPS+"/dicom-web")
	}
}

func (l *listeners) close() {
	for _, listener := range []net.Listener{l.dimse, l.dimseTLS, l.dimseLegacy, l.http, l.https, l.admin} {
		if listener != nil {
			listener.Close() // closed already when its server ran
		}
	}
}

func onLoopback(a net.Addr) bool {
	addr, err := netip.ParseAddrPort(a.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}
