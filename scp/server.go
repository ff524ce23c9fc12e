package scp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/store"
)

// Archive is what the services need of the archive; see [store.Archive], whose
// errors they map to statuses.
type Archive interface {
	Ingest(ctx context.Context, p access.Principal, rq store.Request, in store.Incoming, data io.Reader) (store.Receipt, error)
	Search(ctx context.Context, p access.Principal, rq store.Request, q *store.Query) (iter.Seq2[store.Match, error], error)
	Open(ctx context.Context, p access.Principal, rq store.Request, sel store.Selection) (*store.Retrieval, error)
}

// Journal takes the records of associations. It does not wait: the archive's
// own records, which follow, make them durable.
type Journal interface {
	Post(store.Event)
}

// Destination is an AE that C-MOVE may send to.
type Destination struct {
	Address string      // HOST:PORT
	TLS     *tls.Config // nil: plaintext
	Tries   int         // how often a sub-operation is tried, each time on a new association; 0 means 3
}

// Config says what the services work on.
type Config struct {
	AETitle      string // ours: the calling title of what C-MOVE sends, and Retrieve AE Title in answers
	Archive      Archive
	Policy       access.Policy
	Quirks       []Quirks               // of Policy.AEs, by position; there may be fewer
	SOPClasses   []string               // that are stored beside those of the dictionary: private ones
	Specialized  bool                   // classes that peers declare to be kinds of these are stored too
	Users        Users                  // user identities; none: they are not looked at
	Destinations map[string]Destination // by AE title
	Journal      Journal

	Matches    int                   // most answers to a query that names no study; 0 means 5 000
	Limits     dimse.Limits          // zero fields have their defaults
	Logger     *slog.Logger          // nil logs nothing
	Registerer prometheus.Registerer // nil registers nothing
}

// defaultMatches is the most answers to a query that names no study.
const defaultMatches = 5000

// Server serves DIMSE over an archive.
type Server struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	rejected *rejections
	dimse    *dimse.Server
}

// New makes a server. It fails when the configuration lacks a part.
func New(cfg Config) (*Server, error) {
	if cfg.Archive == nil || cfg.Journal == nil || cfg.AETitle == "" {
		return nil, errors.New("scp: an archive, a journal and an AE title are needed")
	}
	if cfg.Matches == 0 {
		cfg.Matches = defaultMatches
	}
	s := &Server{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.rejected = &rejections{journal: cfg.Journal, log: s.log}
	s.dimse = &dimse.Server{
		Associate: s.associate,
		Services:  s.services(),
		Limits:    cfg.Limits,
		Logger:    s.log,
		Events: dimse.Events{
			Accepted: s.accepted,
			Rejected: s.reject,
			Refused:  s.refused,
			Closed:   s.closed,
			Message:  s.message,
		},
	}
	return s, nil
}

// Serve accepts associations on l until Shutdown; see [dimse.Server.Serve].
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.dimse.Serve(ctx, l) }

// Shutdown finishes what was accepted; see [dimse.Server.Shutdown].
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.dimse.Shutdown(ctx)
	s.rejected.flush()
	return err
}

// services lists what is offered.
func (s *Server) services() []dimse.Service {
	storage := dimse.Service{SOPClasses: slices.Concat(dict.StorageSOPClasses(), s.cfg.SOPClasses), Store: s.store, TransferSyntax: chooseSyntax}
	if s.cfg.Specialized {
		storage.ServiceClass = dict.UIDStorageServiceClass
	}
	return []dimse.Service{
		{SOPClasses: []string{dict.UIDVerification}, Echo: s.echo},
		storage,
		{SOPClasses: findClasses(), Find: s.find, Extended: agreeFind},
		{SOPClasses: moveClasses(), Move: s.move, Extended: agreeRetrieve},
		{SOPClasses: getClasses(), Get: s.get, Extended: agreeRetrieve},
	}
}

// request says through what a call into the archive came.
func request(a *dimse.Association, protocol string) store.Request {
	return store.Request{ID: a.ID, Protocol: protocol, Peer: a.Remote.Addr().String(), CallingAE: a.CallingAE}
}
