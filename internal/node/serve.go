package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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

	if err := n.alert(ctx, listeners.exposed); err != nil {
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
	serveDIMSE := func(l net.Listener) error { return dicom.Serve(context.WithoutCancel(ctx), l) }
	overHTTP := newWebServer(w, cfg.Limits, log)
	var servers []server
	for _, s := range []server{
		{"DIMSE", listeners.dimse, serveDIMSE, dicom.Shutdown},
		{"DIMSE over TLS", listeners.dimseTLS, serveDIMSE, dicom.Shutdown},
		{"DIMSE over the retired TLS profile", listeners.dimseLegacy, serveDIMSE, dicom.Shutdown},
		httpServer("HTTP", listeners.http, overHTTP),
		httpServer("HTTPS", listeners.https, overHTTP),
		httpServer("admin socket", listeners.admin, newAdminServer(n)),
	} {
		if s.listener != nil {
			servers = append(servers, s)
		}
	}
	return runAll(ctx, servers, time.Duration(cfg.ShutdownTimeout), log, func() { w.open(nil) })
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
