package wado

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/store"
)

// Prefix is where DICOMweb lives.
const Prefix = "/dicom-web"

// Archive is what this package asks of [store.Archive], whose comments are the
// contract: each call returns only after its record is durable.
type Archive interface {
	Search(ctx context.Context, p access.Principal, rq store.Request, q *store.Query) (iter.Seq2[store.Match, error], error)
	Open(ctx context.Context, p access.Principal, rq store.Request, sel store.Selection) (*store.Retrieval, error)
	Ingest(ctx context.Context, p access.Principal, rq store.Request, in store.Incoming, data io.Reader) (store.Receipt, error)
}

// Config says what a handler is built of.
type Config struct {
	Archive Archive

	// Principal recognises who asks. An error turns the request away with 403;
	// of a *[access.DeniedError] the reason is told to the client.
	Principal func(*http.Request) (access.Principal, error)

	// BaseURL is what clients reach Prefix at, as in
	// "https://pacs.example/dicom-web", for the URLs in answers. When empty it
	// is made from each request's scheme and Host.
	BaseURL string

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
	Limits     Limits
}

// Limits bound what one request may cost. Zero fields have their defaults.
type Limits struct {
	Matches    int // of a search that names no study: 5 000
	Parts      int // of a STOW-RS request: 10 000
	PartHeader int // bytes: 8 KiB
	Inline     int // bytes of a value that metadata holds itself instead of a BulkDataURI: 1 KiB

	// Stall is how long one write to a client, or one read from it, may take
	// before the client is let go: 60 s. A write is at most 256 KiB.
	Stall time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Matches, 5000}, {&l.Parts, 10_000}, {&l.PartHeader, 8 << 10}, {&l.Inline, 1 << 10}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.Stall <= 0 {
		l.Stall = 60 * time.Second
	}
	return l
}

// server is the handler that New returns.
type server struct {
	archive   Archive
	principal func(*http.Request) (access.Principal, error)
	baseURL   string
	logger    *slog.Logger
	limits    Limits
	metrics   *metrics
	mux       *http.ServeMux
}

// New builds the handler of everything under [Prefix]. It fails when its
// metrics cannot be registered.
func New(c Config) (http.Handler, error) {
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s := &server{
		archive: c.Archive, principal: c.Principal, baseURL: strings.TrimSuffix(c.BaseURL, "/"),
		logger: c.Logger, limits: c.Limits.withDefaults(), metrics: m, mux: http.NewServeMux(),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.routes()
	return s, nil
}

// What the archive records as the protocol of a request.
const (
	qidoRS = "QIDO-RS"
	wadoRS = "WADO-RS"
	stowRS = "STOW-RS"
)

// Resource is a method of a path under [Prefix] that is served.
type Resource struct {
	Method, Path string
	Protocol     string // "QIDO-RS", "WADO-RS" or "STOW-RS"
}

// Resources lists what a handler serves, for the conformance statement.
func Resources() []Resource {
	var list []Resource
	for _, r := range new(server).resources() {
		list = append(list, r.Resource)
	}
	return list
}

type resource struct {
	Resource
	serve func(*exchange) error
}

func (s *server) resources() []resource {
	const (
		study    = "/studies/{study}"
		series   = study + "/series/{series}"
		instance = series + "/instances/{instance}"
	)
	return []resource{
		{Resource{"GET", "/studies", qidoRS}, s.search(store.StudyLevel)},
		{Resource{"GET", "/series", qidoRS}, s.search(store.SeriesLevel)},
		{Resource{"GET", "/instances", qidoRS}, s.search(store.InstanceLevel)},
		{Resource{"GET", study + "/series", qidoRS}, s.search(store.SeriesLevel)},
		{Resource{"GET", study + "/instances", qidoRS}, s.search(store.InstanceLevel)},
		{Resource{"GET", series + "/instances", qidoRS}, s.search(store.InstanceLevel)},

		{Resource{"GET", study, wadoRS}, s.retrieve},
		{Resource{"GET", series, wadoRS}, s.retrieve},
		{Resource{"GET", instance, wadoRS}, s.retrieve},
		{Resource{"GET", study + "/metadata", wadoRS}, s.metadata},
		{Resource{"GET", series + "/metadata", wadoRS}, s.metadata},
		{Resource{"GET", instance + "/metadata", wadoRS}, s.metadata},
		{Resource{"GET", instance + "/frames/{frames}", wadoRS}, s.frames},
		{Resource{"GET", instance + "/bulkdata/{path...}", wadoRS}, s.bulkdata},

		{Resource{"POST", "/studies", stowRS}, s.storeInstances},
		{Resource{"POST", study, stowRS}, s.storeInstances},
	}
}

func (s *server) routes() {
	// Else the mux would redirect to the path with a slash, where nothing is.
	s.mux.Handle("GET "+Prefix+"/studies/{study}/series/{series}/instances/{instance}/bulkdata", s.handle("none", "", noResource))
	for _, r := range s.resources() {
		s.mux.Handle(r.Method+" "+Prefix+r.Path, s.handle(r.Method+" "+r.Path, r.Protocol, r.serve))
	}
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unmatched, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	// The mux would answer in plain text.
	s.handle("none", "", func(x *exchange) error {
		var answer discarded
		unmatched.ServeHTTP(&answer, x.r)
		if answer.status == http.StatusMethodNotAllowed {
			return &requestError{http.StatusMethodNotAllowed, "this resource does not have that method",
				[2]string{"Allow", answer.Header().Get("Allow")}}
		}
		return noResource(x)
	}).ServeHTTP(w, r)
}

func noResource(*exchange) error { return notFound("there is no such resource") }

// discarded takes an answer of which only the status and the header matter.
type discarded struct {
	status int
	header http.Header
}

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
