package wado_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"lumen/internal/loopback"
	"lumen/internal/shareddata"
)

// orthanc is a running Orthanc whose DICOMweb client knows f as "lumen".
type orthanc struct {
	t    *testing.T
	base string
}

const dicomwebPlugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"

func startOrthanc(t *testing.T, f *fixture) *orthanc {
	t.Helper()
	peer(t, "Orthanc")
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{
		"StorageDirectory": dir, "IndexDirectory": dir, "HttpPort": port, "DicomServerEnabled": false,
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []string{dicomwebPlugin},
		"DicomWeb": map[string]any{"Enable": true, "Servers": map[string]any{"lumen": []string{f.base + "/", "", ""}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(name, config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, "Orthanc", name)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); command.Wait() })
	o := &orthanc{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		if response, err := http.Get(o.base + "/system"); err == nil {
			response.Body.Close()
			return o
		}
		if time.Now().After(deadline) {
			t.Fatal("Orthanc does not start")
		}
	}
}

// call sends a request to Orthanc's REST API and reads its JSON answer.
func (o *orthanc) call(method, path string, body []byte, answer any) []byte {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.base+path, bytes.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		o.t.Fatalf("%s %s: %s: %s", method, path, response.Status, b)
	}
	if answer != nil {
		if err := json.Unmarshal(b, answer); err != nil {
			o.t.Fatalf("%s: %v", b, err)
		}
	}
	return b
}

// TestOrthancStoresSearchesAndRetrieves has Orthanc's DICOMweb client send
// instances, find them and fetch them back.
func TestOrthancStoresSearchesAndRetrieves(t *testing.T) {
	f := newFixture(t)
	o := startOrthanc(t, f)
	type still struct {
		name   string
		pixels []byte // as Orthanc has them
	}
	sent := map[string]still{} // by Orthanc's id
	for _, name := range []string{
		"dicom-test-files__CT1_UNC.dcm", "dicom-test-files__MR1_JPLY.dcm", "dcm4che__MR01.dcm",
		"generated/endo1/still_0001.dcm", "generated/endo1/video_h264.dcm", "pydicom__MR_small_bigendian.dcm",
	} {
		b, err := os.ReadFile(filepath.Join(shareddata.Dir(t), "data", name))
		if err != nil {
			t.Fatal(err)
		}
		var created struct{ ID string }
		o.call("POST", "/instances", b, &created)
		sent[created.ID] = still{name, o.call("GET", "/instances/"+created.ID+"/frames/0/raw", nil, nil)}
		o.call("POST", "/dicom-web/servers/lumen/stow", fmt.Appendf(nil, `{"Resources":[%q]}`, created.ID), nil)
	}

	var studies []map[string]json.RawMessage
	o.call("POST", "/dicom-web/servers/lumen/qido", []byte(`{"Uri":"/studies","Arguments":{"limit":"100"}}`), &studies)
	if len(studies) < 4 {
		t.Fatalf("Orthanc finds %d studies: %s", len(studies), studies)
	}
	for id := range sent {
		o.call("DELETE", "/instances/"+id, nil, nil)
	}
	list := f.get("/studies")
	for _, study := range found(t, list, "0020000D") {
		o.call("POST", "/dicom-web/servers/lumen/retrieve", fmt.Appendf(nil, `{"Resources":[{"Study":%q}]}`, study), nil)
	}
	var back []string
	o.call("GET", "/instances", nil, &back)
	if len(back) != len(sent) {
		t.Errorf("%d instances came back of %d", len(back), len(sent))
	}
	for _, id := range back {
		want := sent[id]
		if got := o.call("GET", "/instances/"+id+"/frames/0/raw", nil, nil); len(got) == 0 || !bytes.Equal(got, want.pixels) {
			t.Errorf("%q: the pixels changed", want.name)
		}
	}
}
