package wado_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom/dict"
	"lumen/internal/shareddata"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/storetest"
	"lumen/wado"
)

// everyGet asks once for everything that instance i can be asked for.
func everyGet(i instance) []string {
	return []string{
		"/studies", "/series", "/instances", "/studies/" + i.study + "/series", "/studies/" + i.study + "/instances",
		i.seriesPath() + "/instances", "/studies/" + i.study, i.seriesPath(), i.path(), "/studies/" + i.study + "/metadata",
		i.seriesPath() + "/metadata", i.path() + "/metadata", i.path() + "/frames/1", i.path() + "/bulkdata/7FE00010",
	}
}

func TestNothingIsServedThatCannotBeJournaled(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	f.journal.Fail(errors.New("disk is full"), false)
	for _, path := range everyGet(i) {
		a := f.get(path)
		if a.status != 503 || bytes.Contains(a.body, []byte("disk")) || len(a.body) > 200 {
			t.Errorf("GET %s: status %d: %s", path, a.status, a.body)
		}
	}
	if status, _ := f.post("/studies", bodyOf(file(t, still("1", "2", "3")))); status != 503 {
		t.Errorf("POST: status %d", status)
	}
	f.journal.Fail(nil, false)
	for _, path := range everyGet(i) {
		if a := f.get(path); a.status != 200 {
			t.Errorf("GET %s after the journal was mended: status %d", path, a.status)
		}
	}
}

func TestPrincipalsWithoutTheRightAreTurnedAway(t *testing.T) {
	var principal access.Principal
	var refusal error
	f := newFixture(t, func(c *wado.Config) {
		c.Principal = func(*http.Request) (access.Principal, error) { return principal, refusal }
	})
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	for name, set := range map[string]func(){
		"store only":       func() { principal, refusal = access.Principal{Tenant: "default", Rights: access.Store}, nil },
		"another tenant":   func() { principal, refusal = access.Principal{Tenant: "x", Rights: access.All}, nil },
		"not recognised":   func() { principal, refusal = access.Principal{}, &access.DeniedError{Reason: "no credentials"} },
		"not recognisable": func() { principal, refusal = access.Principal{}, errors.New("Müller^Anna") },
	} {
		set()
		for _, path := range everyGet(i) {
			if a := f.get(path); a.status != 403 || bytes.Contains(a.body, []byte("Müller")) {
				t.Errorf("%s: GET %s: status %d: %s", name, path, a.status, a.body)
			}
		}
	}
	principal, refusal = access.Principal{Tenant: "default", Rights: access.Query | access.Retrieve}, nil
	if status, _ := f.post("/studies", bodyOf(file(t, still("1", "2", "3")))); status != 403 {
		t.Errorf("POST without the right to store: status %d", status)
	}
}

func TestMalformedInstancesThatWereStoredCanBeLookedAt(t *testing.T) {
	f, stored := newFixture(t), 0
	for _, e := range shareddata.Files(t) {
		i, err := f.tryPut(e.Path)
		if !e.Malformed || err != nil || i.outcome != store.Stored {
			continue
		}
		stored++
		for path, statuses := range map[string]string{
			i.path(): "200", i.path() + "/metadata": "200", i.path() + "/frames/1": "200 404 406", i.path() + "/bulkdata/7FE00010": "200 404 406",
		} {
			for _, accept := range []string{"*/*", asStored + ", application/json, image/*, application/octet-stream"} {
				a := f.get(path, "Accept", accept)
				if !strings.Contains(statuses, fmt.Sprint(a.status)) || a.err != nil {
					t.Errorf("%s: %s as %s: status %d, %v: %.100s", e.Name, path[len(i.path()):], accept, a.status, a.err, a.body)
				}
			}
		}
	}
	if stored < 20 {
		t.Errorf("only %d were stored", stored)
	}
}

// brokenBlobs fails reads of objects as told.
type brokenBlobs struct {
	*mem.Blobs
	damage func(data []byte) ([]byte, error) // nil: none
}

func (b *brokenBlobs) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := b.Blobs.Open(ctx, name, off, n)
	if err != nil || b.damage == nil {
		return r, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if data, err = b.damage(data); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// newFixtureOver is newFixture with objects that a test can break.
func newFixtureOver(t *testing.T, blobs store.Blobs) *fixture {
	f := newFixture(t)
	f.journal = new(storetest.Journal)
	f.archive.Archive = newArchive(t, f.journal, blobs)
	return f
}

func TestDamagedObjectsAreErrorsOrCutAnswers(t *testing.T) {
	blobs := &brokenBlobs{Blobs: new(mem.Blobs)}
	f := newFixtureOver(t, blobs)
	i := f.put("dicom-test-files__CT1_UNC.dcm")
	paths := []string{"/studies/" + i.study, i.path(), i.path() + "/metadata", i.path() + "/frames/1", i.path() + "/bulkdata/7FE00010"}
	for name, damage := range map[string]func([]byte) ([]byte, error){
		"a byte flipped early": func(b []byte) ([]byte, error) { b[min(200, len(b)-1)] ^= 1; return b, nil },
		"a byte flipped late":  func(b []byte) ([]byte, error) { b[len(b)-20] ^= 1; return b, nil },
		"cut off":              func(b []byte) ([]byte, error) { return b[:len(b)-len(b)/3-1], nil },
		"gone":                 func([]byte) ([]byte, error) { return nil, store.ErrNotFound },
		"unreachable":          func([]byte) ([]byte, error) { return nil, errors.New("network") },
	} {
		for _, path := range paths {
			want := f.get(path, "Accept", "*/*")
			blobs.damage = damage
			before := len(f.journal.Events())
			a := f.get(path, "Accept", "*/*")
			blobs.damage = nil
			if want.status != 200 || want.err != nil {
				t.Fatalf("undamaged: %d, %v", want.status, want.err)
			}
			whole := a.status == 200 && a.err == nil
			if whole && !sameParts(a, want) {
				t.Errorf("%s: GET %s gave %d bytes of damaged content as if they were whole", name, path, len(a.body))
			}
			if a.status != 200 && a.status != 500 {
				t.Errorf("%s: GET %s: status %d: %s", name, path, a.status, a.body)
			}
			if whole {
				continue
			}
			for _, e := range f.journal.Events()[before:] {
				if e.Kind == store.EventRetrieveEnd && e.Outcome == store.OutcomeSuccess {
					t.Errorf("%s: GET %s was journaled as a success", name, path)
				}
			}
		}
	}
}

// sameParts compares answers apart from their boundaries.
func sameParts(a, b answer) bool {
	cut := func(x answer) []byte {
		_, boundary, ok := strings.Cut(x.header.Get("Content-Type"), "boundary=")
		if !ok {
			return x.body
		}
		return bytes.ReplaceAll(x.body, []byte(boundary), nil)
	}
	return bytes.Equal(cut(a), cut(b))
}

func TestAPanicEndsOneRequestOnly(t *testing.T) {
	f := newFixture(t)
	i := f.put("dicom-test-files__CT1_JLSL.dcm")
	f.archive.open = func() error { panic("Müller^Anna") }
	a := f.get(i.path())
	if a.status != 500 || a.header.Get("Content-Type") != "application/json" || bytes.Contains(a.body, []byte("Müller")) {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	logs := f.logs.String()
	if !strings.Contains(logs, "faults_test.go") || strings.Contains(logs, "Müller") {
		t.Errorf("the log has no stack, or the panic's value: %s", logs)
	}
	if got := f.metric("lumen_wado_panics_total"); got != 1 {
		t.Errorf("%v panics counted", got)
	}
	f.archive.open = nil
	if a := f.get(i.path()); a.status != 200 {
		t.Errorf("afterwards: status %d", a.status)
	}
}

// metric sums a metric family over its labels; of histograms the counts.
func (f *fixture) metric(name string) (sum float64) {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.Metric {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func TestAClientThatLeavesClosesItsRetrieval(t *testing.T) {
	f := newFixture(t)
	big := still("1.1", "1.1.1", "1.1.1.1")
	big.SetBytes(dict.PixelData, dict.OB, make([]byte, 64<<20))
	f.putSet(big)
	conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(f.base, wado.Prefix), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s/studies/1.1 HTTP/1.1\r\nHost: x\r\n\r\n", wado.Prefix)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q, %v", line, err)
	}
	conn.Close()
	<-f.ended
	if !strings.Contains(f.logs.String(), `"status":499`) || f.metric("lumen_wado_truncated_responses_total") != 0 {
		t.Errorf("not taken for a client that left: %s", f.logs.String())
	}
	if err := f.archive.Archive.(*store.Archive).Close(); err != nil { // journals the ends that wait
		t.Fatal(err)
	}
	events := f.journal.Events()
	last := events[len(events)-1]
	if last.Kind != store.EventRetrieveEnd || last.Outcome == store.OutcomeSuccess || last.Counts.Bytes >= 64<<20 {
		t.Errorf("journaled: %v, outcome %d, %d bytes", last.Kind, last.Outcome, last.Counts.Bytes)
	}
}

func TestAClientThatLeavesWhileMetadataIsMade(t *testing.T) {
	started, release := make(chan struct{}, 100), make(chan struct{})
	blobs := &brokenBlobs{Blobs: new(mem.Blobs)}
	f := newFixtureOver(t, blobs)
	for n := range 20 {
		f.putSet(still("1.1", "1.1.1", fmt.Sprintf("1.1.1.%d", n+1)))
	}
	blobs.damage = func(b []byte) ([]byte, error) {
		started <- struct{}{}
		<-release
		return b, nil
	}
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", f.base+"/studies/1.1/metadata", nil)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			response.Body.Close()
		}
		left <- err
	}()
	<-started
	leave()
	if err := <-left; err == nil {
		t.Error("the client did not leave")
	}
	close(release)
	<-f.ended
	if !strings.Contains(f.logs.String(), `"status":499`) {
		t.Errorf("not taken for a client that left: %s", f.logs.String())
	}
}

func TestClientsThatStallAreLetGo(t *testing.T) {
	f := newFixture(t, func(c *wado.Config) { c.Limits.Stall = 50 * time.Millisecond })
	big := still("1.1", "1.1.1", "1.1.1.1")
	big.SetBytes(dict.PixelData, dict.OB, make([]byte, 64<<20))
	f.putSet(big)
	half := bodyOf(file(t, still("2.1", "2.1.1", "2.1.1.1")))
	for name, request := range map[string]string{
		"reading nothing of a study": "GET " + wado.Prefix + "/studies/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"sending half an instance": fmt.Sprintf("POST %s/studies HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			wado.Prefix, multipartDICOM, len(half), half[:len(half)-50]),
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(f.base, wado.Prefix), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		<-f.ended
		lines := strings.Split(strings.TrimSpace(f.logs.String()), "\n")
		if !strings.Contains(lines[len(lines)-1], `"status":499`) {
			t.Errorf("%s: %s", name, lines[len(lines)-1])
		}
	}
	if a := f.get("/studies/2.1"); a.status != 404 {
		t.Errorf("half an instance is there: status %d", a.status)
	}
}

func TestLogsAndMetricsHoldNoIdentifiers(t *testing.T) {
	f := newFixture(t)
	f.putSet(still("1.1234567", "1.7654321", "1.9999991", dict.PatientName, "Secret^Sarah", dict.PatientID, "ID4711"))
	i := instance{study: "1.1234567", series: "1.7654321", uid: "1.9999991"}
	for _, path := range append(everyGet(i), "/studies?PatientName=Secret*&PatientID=ID4711", "/studies/1.1234567x", "/Secret", i.path()+"/frames/77") {
		f.get(path)
	}
	f.post("/studies/1.1234567", bodyOf(file(t, still("1.1234567", "1.7654321", "1.9999991"))))
	f.archive.open = func() error { return errors.New("broken") }
	f.get(i.path())
	var metrics strings.Builder
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		metrics.WriteString(family.String())
	}
	for _, text := range []string{f.logs.String(), metrics.String()} {
		for _, planted := range []string{"1234567", "7654321", "9999991", "Secret", "Sarah", "ID4711"} {
			if strings.Contains(text, planted) {
				t.Errorf("%q is in the logs or metrics", planted)
			}
		}
	}
	if !strings.Contains(f.logs.String(), `"route":"GET /studies/{study}/series/{series}/instances/{instance}/frames/{frames}"`) {
		t.Errorf("no route template in %s", f.logs.String())
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := wado.New(wado.Config{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := wado.New(wado.Config{Registerer: registry}); err == nil {
		t.Error("two handlers share one registry")
	}
}

func TestAHandlerWithoutLoggerAndRegistry(t *testing.T) {
	handler, err := wado.New(wado.Config{Principal: func(*http.Request) (access.Principal, error) { return access.Principal{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/dicom-web/studies?limit=x", nil))
	if w.Code != 400 {
		t.Errorf("status %d", w.Code)
	}
}
