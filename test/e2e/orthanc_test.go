package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"lumen/internal/peertest"
)

// orthancProgram is where Debian puts Orthanc.
const orthancProgram = "/usr/sbin/Orthanc"

// orthanc is a running Orthanc.
type orthanc struct {
	http  string // base URL
	dicom string // HOST:PORT; its title is ORTHANC
	kill  func()
}

// startOrthanc runs Orthanc until the test ends. Modalities maps titles to
// HOST:PORT; more are further options.
func startOrthanc(t *testing.T, dicomPort string, modalities map[string]string, more map[string]any) *orthanc {
	t.Helper()
	dir, httpPort := t.TempDir(), peertest.FreePort(t)
	known := map[string]any{}
	for title, addr := range modalities {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		known[title] = map[string]any{"AET": title, "Host": host, "Port": json.Number(port)}
	}
	settings := map[string]any{
		"StorageDirectory": dir, "IndexDirectory": dir, "Plugins": []string{}, "LuaScripts": []string{},
		"HttpPort": json.Number(httpPort), "DicomPort": json.Number(dicomPort), "DicomAet": "ORTHANC",
		"DicomModalities": known, "AuthenticationEnabled": false, "OverwriteInstances": true,
		"DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowStore": true,
	}
	maps.Copy(settings, more)
	config, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(name, config, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &orthanc{http: "http://127.0.0.1:" + httpPort, dicom: "127.0.0.1:" + dicomPort}
	o.kill = startProgram(t, peertest.Command(t, orthancProgram, name), "127.0.0.1:"+httpPort) // it opens that of DICOM before
	return o
}

// post sends a request to Orthanc's REST API and decodes its answer into v.
func (o *orthanc) post(t *testing.T, path string, body []byte, v any) {
	t.Helper()
	status, answer := o.try(t, http.MethodPost, path, body)
	o.decode(t, path, status, answer, v)
}

func (o *orthanc) get(t *testing.T, path string, v any) {
	t.Helper()
	status, answer := o.try(t, http.MethodGet, path, nil)
	o.decode(t, path, status, answer, v)
}

func (o *orthanc) decode(t *testing.T, path string, status int, answer []byte, v any) {
	t.Helper()
	if status != http.StatusOK {
		t.Fatalf("Orthanc answers %d to %s: %s", status, path, tail(string(answer), 500))
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = answer
	} else if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			t.Fatalf("Orthanc answers %s: %v", path, err)
		}
	}
}

// try sends a request, whatever comes of it.
func (o *orthanc) try(t *testing.T, method, path string, body []byte) (int, []byte) {
	t.Helper()
	rq, err := http.NewRequestWithContext(t.Context(), method, o.http+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	answer, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, answer
}

// upload gives Orthanc a file over HTTP and returns what Orthanc calls it.
func (o *orthanc) upload(t *testing.T, name string) (id string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ ID string }
	o.post(t, "/instances", content, &answer)
	return answer.ID
}

// find looks up an instance by its UID; "" when Orthanc does not have it.
func (o *orthanc) find(t *testing.T, sopInstance string) (id string) {
	t.Helper()
	var found []struct{ ID, Type string }
	o.post(t, "/tools/lookup", []byte(sopInstance), &found)
	for _, f := range found {
		if f.Type == "Instance" {
			return f.ID
		}
	}
	return ""
}

func (o *orthanc) remove(t *testing.T, id string) {
	t.Helper()
	status, answer := o.try(t, http.MethodDelete, "/instances/"+id, nil)
	o.decode(t, "delete", status, answer, nil)
}

// file is the file that Orthanc has.
func (o *orthanc) file(t *testing.T, id string) []byte {
	t.Helper()
	var b []byte
	o.get(t, "/instances/"+id+"/file", &b)
	return b
}

var groupLength = regexp.MustCompile(`"GenericGroupLength" : "\d+",?\n`)

// read is what Orthanc reads in an instance: its tags, the transfer syntax, and
// the bytes of the pixels.
func (o *orthanc) read(t *testing.T, id string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var b []byte
	o.get(t, "/instances/"+id+"/simplified-tags", &b)
	all["tags"] = string(groupLength.ReplaceAll(b, nil)) // retired, and counted anew by whoever writes
	for _, part := range []string{"/metadata/TransferSyntax", "/content/7fe0-0010", "/content/7fe0-0010/1"} {
		if status, b := o.try(t, http.MethodGet, "/instances/"+id+part, nil); status == http.StatusOK {
			all[part] = string(b)
		}
	}
	return all
}
