package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"lumen/config"
	"lumen/internal/durable"
	"lumen/store"
)

// Serve runs a node until ctx ends, then finishes what it accepted and returns.
func Serve(ctx context.Context, cfg config.Config, log *slog.Logger) (err error) {
	folder, err := OpenFolder(durable.OS(), cfg.Data, true)
	if err != nil {
		return err
	}
	defer folder.Close()

	// The addresses come first in the log: peers may connect from here on and
	// wait until the archive is open.
	listeners, err := listenAll(cfg, folder, log)
	if err != nil {
		return err
	}
	defer listeners.close()

	n, err := openNode(ctx, cfg, folder, log, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close(context.WithoutCancel(ctx))) }()

	if err := n.warnUntilBackedUp(ctx); err != nil {
		return err
	}

	w := &web{hosts: cfg.HTTP.Hosts, registry: n.registry}
	if err := n.openWeb(w); err != nil {
		return err
	}
	dicom, err := n.dimseServer()
	if err != nil {
		return err
	}
	servers := []server{
		{"DIMSE", listeners.dimse, func(l net.Listener) error { return dicom.Serve(context.WithoutCancel(ctx), l) }, dicom.Shutdown},
		httpServer("HTTP", listeners.http, newHTTPServer(w.handler(), cfg.Limits, log)),
		httpServer("admin socket", listeners.admin, newAdminServer(n)),
	}
	return runAll(ctx, servers, time.Duration(cfg.ShutdownTimeout), log, func() { w.open(nil) })
}

// listeners are the sockets of a node.
type listeners struct {
	dimse, http, admin net.Listener
	addresses          Addresses
}

func listenAll(cfg config.Config, folder *Folder, log *slog.Logger) (*listeners, error) {
	l := &listeners{}
	for _, s := range []struct {
		what, addr string
		to         *net.Listener
	}{{"DIMSE", cfg.DIMSE.Listen, &l.dimse}, {"HTTP", cfg.HTTP.Listen, &l.http}} {
		listener, err := net.Listen("tcp", s.addr)
		if err == nil && !onLoopback(listener.Addr()) {
			listener.Close()
			err = errors.New("not on the loopback interface: without TLS this node listens nowhere else")
		}
		if err != nil {
			l.close()
			return nil, fmt.Errorf("listen for %s on %s: %w", s.what, s.addr, err)
		}
		*s.to = listener
	}
	l.addresses = Addresses{DIMSE: l.dimse.Addr().String(), HTTP: l.http.Addr().String()}
	l.announce(cfg, log)
	var err error
	if l.admin, err = listenAdmin(folder); err == nil {
		err = folder.writeAddresses(durable.OS(), l.addresses)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// announce says where the node listens and how to push a first file.
func (l *listeners) announce(cfg config.Config, log *slog.Logger) {
	host, port, _ := net.SplitHostPort(l.addresses.DIMSE)
	log.Info("dimse listens", "address", l.addresses.DIMSE, "ae_title", cfg.DIMSE.AETitle, "try", "storescu "+host+" "+port+" FILE")
	log.Info("dicomweb listens", "url", "http://"+l.addresses.HTTP+"/dicom-web", "try", "curl http://"+l.addresses.HTTP+"/dicom-web/studies")
	log.Info("metrics listen", "url", "http://"+l.addresses.HTTP+"/metrics")
}

func (l *listeners) close() {
	for _, listener := range []net.Listener{l.dimse, l.http, l.admin} {
		if listener != nil {
			listener.Close() // closed already when its server ran
		}
	}
}

func onLoopback(a net.Addr) bool {
	addr, err := netip.ParseAddrPort(a.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// server is one listener with what serves it.
type server struct {
	name     string
	listener net.Listener
	serve    func(net.Listener) error // until shutdown
	shutdown func(context.Context) error
}

func httpServer(name string, l net.Listener, srv *http.Server) server {
	return server{name, l, func(l net.Listener) error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, srv.Shutdown}
}

// runAll runs the servers until ctx ends or one of them fails, then lets all
// finish what they accepted, for at most grace.
func runAll(ctx context.Context, servers []server, grace time.Duration, log *slog.Logger, stopping func()) error {
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() {
			err := s.serve(s.listener)
			if err != nil {
				err = fmt.Errorf("serve %s: %w", s.name, err)
			}
			ended <- err
		}()
	}
	var err error
	left := len(servers)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	log.Info("stopping", "grace", grace.String())
	stopping()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for _, s := range servers {
		if e := s.shutdown(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("stop %s: %w", s.name, e))
		}
	}
	for range left {
		err = errors.Join(err, <-ended)
	}
	return err
}

// exitOn ends the process at once: see watchedFS.
func exitOn(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("a sync failed; the process ends and recovers from the disk at its next start", "error", err.Error())
		os.Exit(exitFatal)
	}
}

// exitFatal is the exit code after a failed sync.
const exitFatal = 3

// record appends events of the node itself to its journal.
func (n *node) record(ctx context.Context, kind store.EventKind, detail map[string]string) error {
	_, err := n.own.Append(ctx, store.Event{Kind: kind, Principal: nodePrincipal, Detail: detail})
	return err
}
