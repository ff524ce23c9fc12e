package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/peertest"
)

// scene is what the cells of one peer share: a node, and programs that it may
// send to. Each cell has studies of its own.
type scene struct {
	lumen   *node
	sink    receiver // storescp, which the node knows as SINK
	orthanc *orthanc // nil in DCMTK's column; the node knows it as ORTHANC
}

// newScene starts them.
func newScene(t *testing.T, peer string) *scene {
	t.Helper()
	s := &scene{sink: startReceiver(t, "SINK")}
	orthancPort := peertest.FreePort(t)
	s.lumen = startNode(t, fmt.Sprintf("destinations:\n- {title: SINK, address: \"127.0.0.1:%s\"}\n- {title: ORTHANC, address: \"127.0.0.1:%s\"}\n",
		s.sink.port, orthancPort))
	if peer == "Orthanc" {
		s.orthanc = startOrthanc(t, orthancPort, map[string]string{"LUMEN": s.lumen.dimse, "SINK": "127.0.0.1:" + s.sink.port}, nil)
	}
	return s
}

// port is the node's.
func (s *scene) port() string {
	_, port := s.lumen.hostPort()
	return port
}

// put stores specimens at the node, by our own client.
func (s *scene) put(t *testing.T, all []specimen) {
	t.Helper()
	send(t, "LUMEN@"+s.lumen.dimse, all)
}

// send has `lumen send` store specimens.
func send(t *testing.T, to string, all []specimen) {
	t.Helper()
	out, code := run(t, lumenBinary, append([]string{"send", to}, files(all)...)...)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d sent, 0 not DICOM, 0 refused", len(all))) {
		t.Fatalf("send ends with %d: %s", code, tail(out, 1000))
	}
}

// lacks expects the node not to have an instance of the study.
func (s *scene) lacks(t *testing.T, study string) {
	t.Helper()
	if n := countAt(t, s.lumen.dimse, "LUMEN", study); n != 0 {
		t.Errorf("%d instances of a study that was not sent to its end", n)
	}
}

// countAt asks how many instances of a study there are.
func countAt(t *testing.T, addr, title, study string) int {
	t.Helper()
	n := 0
	c := dial(t, addr, title, dict.UIDStudyRootQueryRetrieveInformationModelFind)
	for _, err := range c.Find(t.Context(), dict.UIDStudyRootQueryRetrieveInformationModelFind,
		identifier("IMAGE", "StudyInstanceUID="+study, "SeriesInstanceUID="+study+".1", "SOPInstanceUID=")) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// echoes expects whoever is called to answer C-ECHO still.
func echoes(t *testing.T, peer string) {
	t.Helper()
	if out, code := run(t, lumenBinary, "echo", "--as", "E2E", peer); code != 0 {
		t.Errorf("echo ends with %d: %s", code, out)
	}
}

// dialer is our side of associations that the command line does not make.
var dialer = dimse.Dialer{CallingAE: "E2E", Timeout: 20 * time.Second}

// dial associates for the SOP classes, in the two syntaxes that all read.
func dial(t *testing.T, addr, title string, classes ...string) *dimse.Client {
	t.Helper()
	var contexts []dimse.PresentationContext
	for _, c := range classes {
		contexts = append(contexts, presentation(c, dimse.RoleSCU, explicitLE, dicom.ImplicitVRLittleEndian))
	}
	return dialContexts(t, &dialer, addr, title, contexts...)
}

func presentation(class string, role dimse.Role, syntaxes ...string) dimse.PresentationContext {
	return dimse.PresentationContext{SOPClass: class, TransferSyntaxes: syntaxes, Role: role}
}

func dialContexts(t *testing.T, d *dimse.Dialer, addr, title string, contexts ...dimse.PresentationContext) *dimse.Client {
	t.Helper()
	c, err := d.Dial(t.Context(), addr, title, contexts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

// identifier makes a query of KEYWORD=VALUE.
func identifier(level string, keys ...string) *dicom.DataSet {
	d := new(dicom.DataSet)
	d.SetString(dict.QueryRetrieveLevel, level)
	for _, key := range keys {
		keyword, value, _ := strings.Cut(key, "=")
		tag, ok := dict.LookupKeyword(keyword)
		if !ok {
			panic(keyword)
		}
		d.SetString(tag, value)
	}
	return d
}

// storeFile stores a specimen over an association; data, if not nil, is what is
// sent of it.
func storeFile(ctx context.Context, c *dimse.Client, s specimen, wrap func(io.Reader) io.Reader) (dimse.Status, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, data, err := dicom.ReadFileMeta(f)
	if err != nil {
		return 0, err
	}
	if wrap != nil {
		data = wrap(data)
	}
	return c.Store(ctx, dimse.StoreRequest{SOPClassUID: vlEndoscopic, SOPInstanceUID: s.instance, TransferSyntax: s.syntax}, data)
}

// saver writes what C-GET brings into a folder, as files.
func saver(dir string) dimse.Received {
	return func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rq.SOPInstanceUID), file(rq.SOPClassUID, rq.SOPInstanceUID, rq.TransferSyntax.UID, b), 0o600)
	}
}

// accepts asks a peer which transfer syntaxes of PS3.6 it takes for the class.
func accepts(t *testing.T, addr, title, class string) []string {
	t.Helper()
	var contexts []dimse.PresentationContext
	for _, s := range dicom.TransferSyntaxes() {
		contexts = append(contexts, presentation(class, dimse.RoleSCU, s.UID))
	}
	c := dialContexts(t, &dialer, addr, title, contexts...)
	var taken []string
	for _, a := range c.Accepted(class) {
		taken = append(taken, a.TransferSyntax.UID)
	}
	if err := c.Release(t.Context()); err != nil { // storescp serves one at a time
		t.Error(err)
	}
	return taken
}

// startProgram starts a server and waits until it listens. It ends with the test,
// or when it is killed.
func startProgram(t *testing.T, cmd *exec.Cmd, addr string) (kill func()) {
	t.Helper()
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	kill = func() {
		cmd.Process.Kill()
		<-exited
	}
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("%s says:\n%s", cmd.Path, tail(out.String(), 3000))
		}
	})
	for deadline := time.Now().Add(startTimeout); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return kill
		}
		select {
		case <-exited:
			t.Fatalf("%s ends: %s", cmd.Path, tail(out.String(), 2000))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %s", cmd.Path, tail(out.String(), 2000))
		}
	}
}

// statusOf is the status that an operation failed with.
func statusOf(err error) dimse.Status {
	var s *dimse.StatusError
	errors.As(err, &s)
	if s == nil {
		return 0
	}
	return s.Status
}
