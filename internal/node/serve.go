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
	// wait until the archive is open. HTTP says meanwhile that it is alive.
	listeners, err := listenAll(cfg, folder, log)
	if err != nil {
		return err
	}
	defer listeners.close()
	w := &web{hosts: cfg.HTTP.Hosts}
	overHTTP := newWebServer(w, cfg.Limits, log)
	all := &servers{grace: time.Duration(cfg.ShutdownTimeout), log: log}
	all.start(httpServer("HTTP", listeners.http, overHTTP), httpServer("HTTPS", listeners.https, overHTTP))
	defer func() { err = errors.Join(err, all.stop(ctx)) }()

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
	if err := n.openWeb(w); err != nil {
		return err
	}
	defer w.open(nil)
	dicom, err := n.dimseServer()
	if err != nil {
		return err
	}
	serveDIMSE := func(l net.Listener) error { return dicom.Serve(context.WithoutCancel(ctx), l) }
	all.start(
		server{"DIMSE", listeners.dimse, serveDIMSE, dicom.Shutdown},
		server{"DIMSE over TLS", listeners.dimseTLS, serveDIMSE, dicom.Shutdown},
		server{"DIMSE over the retired TLS profile", listeners.dimseLegacy, serveDIMSE, dicom.Shutdown},
		httpServer("admin socket", listeners.admin, newAdminServer(n)),
	)
	err = all.wait(ctx)
	w.open(nil)
	return errors.Join(err, all.stop(ctx))
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

// servers are those that run.
type servers struct {
	grace   time.Duration // to finish what was accepted
	log     *slog.Logger
	running []server
	ended   chan error
	left    int // of running that have not ended
}

// start runs those of the list that have a listener.
func (s *servers) start(list ...server) {
	if s.ended == nil {
		s.ended = make(chan error)
	}
	for _, one := range list {
		if one.listener == nil {
			continue
		}
		s.running = append(s.running, one)
		s.left++
		go func() {
			err := one.serve(one.listener)
			if err != nil {
				err = fmt.Errorf("serve %s: %w", one.name, err)
			}
			s.ended <- err
		}()
	}
}

// wait returns when ctx ends, or one of the servers, with its error.
func (s *servers) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.ended:
		s.left--
		return err
	}
}

// stop lets all finish what they accepted, for at most the grace, and waits for
// them. A second stop has nothing to do.
func (s *servers) stop(ctx context.Context) error {
	if s.left > 0 {
		s.log.Info("stopping", "grace", s.grace.String())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	var err error
	for _, one := range s.running {
		if e := one.shutdown(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("stop %s: %w", one.name, e))
		}
	}
	for ; s.left > 0; s.left-- {
		err = errors.Join(err, <-s.ended)
	}
	s.running = nil
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
