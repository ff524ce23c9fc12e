package wado_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom"
	"lumen/internal/shareddata"
	"lumen/store"
	"lumen/store/storetest"
	"lumen/wado"
)

// fixture is a running server over an archive in memory.
type fixture struct {
	t        *testing.T
	base     string // URL of wado.Prefix
	archive  *faults
	journal  *storetest.Journal
	registry *prometheus.Registry
	logs     *syncBuffer
	ended    chan struct{} // one for each request that ended, as far as there is room
}

// newFixture starts a server; change may adjust its configuration.
func newFixture(t *testing.T, change ...func(*wado.Config)) *fixture {
	t.Helper()
	journal := new(storetest.Journal)
	f := &fixture{t: t, archive: &faults{Archive: newArchive(t, journal, newBlobs())}, journal: journal, registry: prometheus.NewRegistry(),
		logs: new(syncBuffer), ended: make(chan struct{}, 1)}
	config := wado.Config{
		Archive: f.archive,
		Principal: func(r *http.Request) (access.Principal, error) {
			addr, err := netip.ParseAddrPort(r.RemoteAddr)
			if err != nil {
				return access.Principal{}, err
			}
			return access.Policy{}.ForHTTP(addr.Addr())
		},
		Logger:     slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: f.registry,
	}
	for _, c := range change {
		c(&config)
	}
	handler, err := wado.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			select {
			case f.ended <- struct{}{}:
			default:
			}
		}()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.base = server.URL + wado.Prefix
	return f
}

// faults makes an archive fail where a test wants it to.
type faults struct {
	wado.Archive
	search, open, ingest func() error // nil: no fault
}

func (f *faults) Search(ctx context.Context, p access.Principal, rq store.Request, q *store.Query) (iter.Seq2[store.Match, error], error) {
	if err := call(f.search); err != nil {
		return nil, err
	}
	return f.Archive.Search(ctx, p, rq, q)
}

func (f *faults) Open(ctx context.Context, p access.Principal, rq store.Request, sel store.Selection) (*store.Retrieval, error) {
	if err := call(f.open); err != nil {
		return nil, err
	}
	return f.Archive.Open(ctx, p, rq, sel)
}

func (f *faults) Ingest(ctx context.Context, p access.Principal, rq store.Request, in store.Incoming, data io.Reader) (store.Receipt, error) {
	if err := call(f.ingest); err != nil {
		return store.Receipt{}, err
	}
	return f.Archive.Ingest(ctx, p, rq, in, data)
}

func call(fault func() error) error {
	if fault == nil {
		return nil
	}
	return fault()
}

// instance is a stored instance and the bytes that were sent of it.
type instance struct {
	study, series, uid, class string
	syntax                    dicom.TransferSyntax
	data                      []byte // the data set
	file                      string
	outcome                   store.IngestOutcome
}

func (i instance) seriesPath() string { return "/studies/" + i.study + "/series/" + i.series }
func (i instance) path() string       { return i.seriesPath() + "/instances/" + i.uid }

// put stores a file of the shared collection by its name.
func (f *fixture) put(name string) instance {
	f.t.Helper()
	return f.putFile(filepath.Join(shareddata.Dir(f.t), "data", name))
}

func (f *fixture) putFile(path string) instance {
	f.t.Helper()
	stored, err := f.tryPut(path)
	if err != nil {
		f.t.Fatalf("%s: %v", filepath.Base(path), err)
	}
	return stored
}

func (f *fixture) tryPut(path string) (instance, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return instance{}, err
	}
	i, err := f.putAs("", file)
	i.file = path
	return i, err
}

// putAs stores a Part 10 file, in the transfer syntax that it names when syntax
// is empty.
func (f *fixture) putAs(syntax string, file []byte) (instance, error) {
	meta, r, err := dicom.ReadFileMeta(bytes.NewReader(file))
	if err != nil {
		return instance{}, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return instance{}, err
	}
	if syntax == "" {
		syntax = meta.TransferSyntaxUID
	}
	ts, ok := dicom.LookupTransferSyntax(syntax)
	if !ok {
		return instance{}, errors.New("unknown transfer syntax")
	}
	receipt, err := f.archive.Archive.Ingest(f.t.Context(), access.System(access.DefaultTenant, "test"), store.Request{ID: "test", Protocol: "C-STORE"},
		store.Incoming{TransferSyntax: ts}, bytes.NewReader(data))
	if err != nil {
		return instance{}, err
	}
	return instance{receipt.StudyInstanceUID, receipt.SeriesInstanceUID, receipt.SOPInstanceUID, receipt.SOPClassUID, ts, data, "", receipt.Outcome}, nil
}

// eachStored stores every valid file of the shared collection and calls check
// with it. Files under one SOP Instance UID get servers of their own.
func eachStored(t *testing.T, check func(f *fixture, i instance)) {
	f, files := newFixture(t), 0
	for _, e := range shareddata.Valid(t) {
		i, err := f.tryPut(e.Path)
		if err == nil && i.outcome != store.Stored {
			f = newFixture(t)
			i, err = f.tryPut(e.Path)
		}
		if err != nil {
			t.Logf("%s is not stored: %v", e.Name, err)
			continue
		}
		files++
		check(f, i)
	}
	if files < 250 {
		t.Errorf("only %d files were stored", files)
	}
}

// answer is a response with its whole body.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

// get asks for a path below the prefix; header are names and values in turn.
func (f *fixture) get(path string, header ...string) answer {
	f.t.Helper()
	return f.do(http.MethodGet, path, nil, header...)
}

func (f *fixture) do(method, path string, body io.Reader, header ...string) answer {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.base+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	a.body, a.err = io.ReadAll(response.Body)
	return a
}

// bodyPart is one part of a multipart answer.
type bodyPart struct {
	contentType string
	location    string
	body        []byte
}

// parts takes a multipart answer apart with the standard library.
func (a answer) parts(t *testing.T) []bodyPart {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	media, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || media != "multipart/related" {
		t.Fatalf("Content-Type %q: %v", a.header.Get("Content-Type"), err)
	}
	var parts []bodyPart
	r := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.Header.Get("Content-Type"), params["type"]) {
			t.Errorf("a part of %q in a multipart of %q", p.Header.Get("Content-Type"), params["type"])
		}
		parts = append(parts, bodyPart{p.Header.Get("Content-Type"), p.Header.Get("Content-Location"), body})
	}
}

// dataSet checks that b is a Part 10 file of i and returns its data set.
func dataSet(t *testing.T, b []byte, i instance, syntax string) []byte {
	t.Helper()
	meta, r, err := dicom.ReadFileMeta(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if meta.MediaStorageSOPInstanceUID != i.uid || meta.MediaStorageSOPClassUID != i.class || meta.TransferSyntaxUID != syntax {
		t.Errorf("file meta does not describe the instance: %s", meta.TransferSyntaxUID)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// syncBuffer collects log lines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
