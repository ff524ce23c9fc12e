package scp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// orthanc is a running Orthanc that knows us as "lumen" and RECEIVER as
// another modality.
type orthanc struct {
	t     testing.TB
	http  string // base URL
	dicom string // HOST:PORT
}

// freeAddr picks an address on which nothing listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startOrthanc runs Orthanc until the test ends. Modalities maps titles to
// addresses; more are further options.
func startOrthanc(t *testing.T, dicomAddr string, modalities map[string]string, more ...map[string]any) *orthanc {
	t.Helper()
	dir := t.TempDir()
	httpAddr := freeAddr(t)
	known := make(map[string][]any)
	for title, addr := range modalities {
		known[title] = []any{title, host(addr), json.Number(port(addr))}
	}
	options := map[string]any{
		"StorageDirectory": dir, "IndexDirectory": dir, "Plugins": []string{},
		"HttpPort": json.Number(port(httpAddr)), "DicomPort": json.Number(port(dicomAddr)), "DicomAet": "ORTHANC",
		"DicomModalities": known, "AuthenticationEnabled": false, "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true,
		"DicomAlwaysAllowFind": true, "DicomAlwaysAllowStore": true, "LuaScripts": []string{},
	}
	for _, m := range more {
		maps.Copy(options, m)
	}
	config, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(name, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := peer(t, "Orthanc", name)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	o := &orthanc{t: t, http: "http://" + httpAddr, dicom: dicomAddr}
	eventually(t, "Orthanc answers", func() bool {
		r, err := http.Get(o.http + "/system")
		if err == nil {
			r.Body.Close()
		}
		return err == nil && r.StatusCode == http.StatusOK
	})
	return o
}

// post sends a request to Orthanc's REST API and decodes its answer into v.
func (o *orthanc) post(path string, body []byte, v any) {
	o.t.Helper()
	r, err := http.Post(o.http+path, "application/json", bytes.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	o.decode(path, r, v)
}

func (o *orthanc) get(path string, v any) {
	o.t.Helper()
	r, err := http.Get(o.http + path)
	if err != nil {
		o.t.Fatal(err)
	}
	o.decode(path, r, v)
}

func (o *orthanc) decode(path string, r *http.Response, v any) {
	o.t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		o.t.Fatalf("%s: %s, %v\n%s", path, r.Status, err, b)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			o.t.Fatalf("%s: %v\n%s", path, err, b)
		}
	}
}

func TestOrthancAsClient(t *testing.T) {
	addr := freeAddr(t)
	n := start(t, to("ORTHANC", addr))
	o := startOrthanc(t, addr, map[string]string{"LUMEN": n.addr})
	n.put(t, image(1, 1), image(1, 2), image(12, 1))

	o.post("/modalities/LUMEN/echo", []byte("{}"), nil)

	var query struct{ ID string }
	o.post("/modalities/LUMEN/query", []byte(`{"Level": "Study", "Query": {"PatientID": "P0", "PatientName": ""}}`), &query)
	var answers []map[string]any
	o.get("/queries/"+query.ID+"/answers?expand&simplify", &answers)
	if len(answers) != 1 || answers[0]["StudyInstanceUID"] != "1.2.826.0.1.1" {
		t.Errorf("answers %v", answers)
	}
	o.post("/queries/"+query.ID+"/retrieve", []byte(`{"TargetAet": "ORTHANC", "Synchronous": true}`), nil)
	var instances []string
	o.get("/instances", &instances)
	if len(instances) != 2 {
		t.Errorf("Orthanc has %d instances after C-MOVE", len(instances))
	}

	d := image(30, 1)
	b, err := os.ReadFile(file(t, d))
	if err != nil {
		t.Fatal(err)
	}
	var uploaded struct{ ID string }
	o.post("/instances", b, &uploaded)
	o.post("/modalities/LUMEN/store", []byte(uploaded.ID), nil)
	if got, err := n.find(t, findStudy, identifier("STUDY", "StudyInstanceUID", "1.2.826.0.1.30")); err != nil || len(got) != 1 {
		t.Errorf("%d studies after C-STORE from Orthanc, %v", len(got), err)
	}
}

func TestOrthancAsServer(t *testing.T) {
	r := receive(t, nil, nil)
	o := startOrthanc(t, freeAddr(t), map[string]string{"TOWER": "127.0.0.1:1", "RECEIVER": r.addr})
	d := dimse.Dialer{CallingAE: "TOWER"}
	c, err := d.Dial(t.Context(), o.dicom, "ORTHANC", []dimse.PresentationContext{
		{SOPClass: dict.UIDVerification, TransferSyntaxes: plain},
		{SOPClass: ctClass, TransferSyntaxes: plain[:1], Role: dimse.RoleBoth},
		{SOPClass: findStudy, TransferSyntaxes: plain},
		{SOPClass: moveStudy, TransferSyntaxes: plain},
		{SOPClass: getStudy, TransferSyntaxes: plain},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release(context.Background())
	if status, err := c.Echo(t.Context()); err != nil || status != 0 {
		t.Error(status, err)
	}
	for i := range 3 {
		d := image(1, i)
		if status, err := c.Store(t.Context(), announce(d), bytes.NewReader(encode(t, d))); err != nil || status != 0 {
			t.Fatal(status, err)
		}
	}
	found := 0
	for m, err := range c.Find(t.Context(), findStudy, identifier("STUDY", "PatientID", "P0", "StudyInstanceUID", "")) {
		if err != nil {
			t.Fatal(err)
		}
		if m.String(dict.StudyInstanceUID) == "1.2.826.0.1.1" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d studies found", found)
	}
	if counts, err := c.Move(t.Context(), moveStudy, "RECEIVER", study("1.2.826.0.1.1"), nil); err != nil || r.len() != 3 {
		t.Errorf("move: %+v, %d received, %v", counts, r.len(), err)
	}
	received := 0
	_, err = c.Get(t.Context(), getStudy, study("1.2.826.0.1.1"), func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
		b, err := io.ReadAll(data)
		if err != nil {
			return err
		}
		ds, err := dicom.ParseDataSet(b, rq.TransferSyntax)
		if err == nil && ds.String(dict.PatientID) == "P0" {
			received++
		}
		return err
	}, nil)
	if err != nil || received != 3 {
		t.Errorf("get: %d received, %v", received, err)
	}
}
