package config_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lumen/access"
	"lumen/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lumen.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNothingGivesTheDefaults(t *testing.T) {
	for _, name := range []string{"", write(t, ""), write(t, "# nothing yet\ndimse:\n")} {
		c, err := config.Load(name, config.Flags{})
		if err != nil || !reflect.DeepEqual(c, config.Default()) {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

// The sample in docs names every key with its default value.
func TestSampleIsTheDefaults(t *testing.T) {
	c, err := config.Load("../docs/lumen.yaml", config.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("sample: %+v\ndefaults: %+v", c, want)
	}
}

func TestFlagsOverFileOverDefaults(t *testing.T) {
	name := write(t, "data: /srv/lumen\ndimse:\n  listen: 127.0.0.1:104\n  ae_title: ENDO\nstorage: {min_free: 16MiB}\nshutdown_timeout: 5s\n")
	c, err := config.Load(name, config.Flags{DIMSE: "[::1]:0"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/srv/lumen" || c.DIMSE.Listen != "[::1]:0" || c.DIMSE.AETitle != "ENDO" || c.HTTP.Listen != "127.0.0.1:8104" ||
		c.Storage.MinFree != 16<<20 || time.Duration(c.ShutdownTimeout) != 5*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestAEsBecomeAPolicy(t *testing.T) {
	name := write(t, "aes:\n- title: TOWER1\n  addresses: [10.1.0.0/16]\n  rights: [echo, store]\n")
	c, err := config.Load(name, config.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	ae := c.Policy().AEs[0]
	if ae.Title != "TOWER1" || ae.Rights != access.Echo|access.Store || ae.Addresses[0].String() != "10.1.0.0/16" {
		t.Errorf("%+v", ae)
	}
}

func TestEverythingWrongIsToldAtOnceWithItsLine(t *testing.T) {
	name := write(t, `data: ""
colour: blue
shutdown_timeout: soon
dimse:
  listen: 0.0.0.0:104
  ae_title: "A TITLE THAT IS TOO LONG"
  listen: 127.0.0.1:105
http:
  listen: localhost
  hosts: viewer
storage:
  min_free: much
  min_free_percent: 100
  bucket: {endpoint: "http://s3.example", ca: /none/ca.pem, high_water: 1MiB, prefix: x, access_key: "env:LUMEN_NOT_SET", secret_key: hunter2, ack: never, workers: 0, virtual_host: maybe}
audit:
  segment_size: 1KiB
  reserve: 0
keys:
  root: 00112233445566778899aabbccddeeff
log:
  level: loud
  format: [text]
limits: {object: 0, idle: 0s, accept_pdu: 8KiB}
aes:
- title: TOWER1
  addresses: [10.1.0.0/33]
  rights: [fly]
- title: ""
  rights: [admin]
destinations:
- {title: V, address: here}
- {title: V, address: "here:0"}
`)
	_, err := config.Load(name, config.Flags{HTTP: "192.0.2.1:80"})
	var bad *config.Error
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range bad.Problems {
		got[p.Key] = p.Line
	}
	want := map[string]int{
		"--http": 0, "data": 1, "colour": 2, "shutdown_timeout": 3, "dimse.listen": 7, "dimse.ae_title": 6, "http.hosts": 10,
		"storage.min_free": 12, "storage.min_free_percent": 13,
		"storage.bucket.endpoint": 14, "storage.bucket.ca": 14, "storage.bucket.high_water": 14, "storage.bucket.name": 14, "storage.bucket.prefix": 14, "storage.bucket.access_key": 14,
		"storage.bucket.secret_key": 14, "storage.bucket.ack": 14, "storage.bucket.workers": 14, "storage.bucket.virtual_host": 14,
		"audit.segment_size": 16, "audit.reserve": 17, "keys.root": 19,
		"log.level": 21, "log.format": 22, "limits.object": 23, "limits.idle": 23, "limits.accept_pdu": 23,
		"aes[0].addresses[0]": 26, "aes[0].rights[0]": 27, "aes[1].title": 28, "aes[1].rights[0]": 29,
		"destinations[0].address": 31, "destinations[1].title": 32, "destinations[1].address": 32,
	}
	for key, line := range want {
		if l, ok := got[key]; !ok {
			t.Errorf("%s is not reported", key)
		} else if l != line && key != "dimse.listen" { // reported twice: as repeated and as not loopback
			t.Errorf("%s reported at line %d, want %d", key, l, line)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("unexpected problem with %s", key)
		}
	}
	if strings.Contains(err.Error(), "00112233") || strings.Contains(err.Error(), "hunter2") {
		t.Error("the error prints what may be a key")
	}
}

func TestSyntaxErrorHasItsLine(t *testing.T) {
	_, err := config.Load(write(t, "data: x\ndimse: [\n"), config.Flags{})
	var bad *config.Error
	if !errors.As(err, &bad) || len(bad.Problems) != 1 || bad.Problems[0].Line == 0 {
		t.Errorf("%v", err)
	}
}

func TestMissingFilesAreReported(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), config.Flags{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for _, root := range []string{"file:/none/root", "env:LUMEN_NOT_SET"} {
		if _, err := config.Load(write(t, "keys: {root: \""+root+"\"}\n"), config.Flags{}); err == nil || !strings.Contains(err.Error(), ":1: keys.root: ") {
			t.Errorf("%s: %v", root, err)
		}
	}
}

func TestBucketEndpoints(t *testing.T) {
	t.Setenv("LUMEN_TEST_KEY", "k")
	for endpoint, want := range map[string]string{
		"s3.example": "https://s3.example", "s3.example:9000": "https://s3.example:9000", "https://s3.example/": "https://s3.example/",
		"http://127.0.0.1:9000": "http://127.0.0.1:9000", "http://localhost:9000": "http://localhost:9000", "http://[::1]:9": "http://[::1]:9",
		"http://s3.example": "", "https://s3.example/bucket": "", "ftp://s3.example": "", "https://": "", "https://key:secret@s3.example": "",
	} {
		text := "storage: {bucket: {endpoint: \"" + endpoint + "\", name: b, access_key: \"env:LUMEN_TEST_KEY\", secret_key: \"env:LUMEN_TEST_KEY\"}}\n"
		c, err := config.Load(write(t, text), config.Flags{})
		if (want == "") != (err != nil) || c.Storage.Bucket.URL() != want {
			t.Errorf("%s: %q, %v", endpoint, c.Storage.Bucket.URL(), err)
		}
		text = strings.Replace(text, "name:", "allow_plaintext: true, name:", 1)
		if _, err := config.Load(write(t, text), config.Flags{}); endpoint == "http://s3.example" && err != nil {
			t.Errorf("plaintext that is allowed: %v", err)
		}
	}
}

func TestBucketAuthority(t *testing.T) {
	t.Setenv("LUMEN_TEST_KEY", "k")
	load := func(ca string) (config.Config, error) {
		return config.Load(write(t, "storage: {bucket: {endpoint: s3, name: b, ca: "+ca+", access_key: \"env:LUMEN_TEST_KEY\", secret_key: \"env:LUMEN_TEST_KEY\"}}\n"), config.Flags{})
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	c, err := load(write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := c.Storage.Bucket.Roots()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Certificate().Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		t.Error(err)
	}
	if _, err := load(write(t, "no certificate")); err == nil || !strings.Contains(err.Error(), ":1: storage.bucket.ca: ") {
		t.Errorf("a file without a certificate: %v", err)
	}
}

func TestListenersOffTheLoopbackInterfaceAreRefused(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.8.0.1:104": true, "[::1]:104": true, "localhost:104": true, "[::ffff:127.0.0.1]:1": true,
		":104": false, "0.0.0.0:104": false, "[::]:104": false, "192.0.2.1:104": false, "example:104": false,
		"127.0.0.1": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "127.0.0.1:": false,
	} {
		if _, err := config.Load("", config.Flags{DIMSE: addr}); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "1": 1, "1B": 1, "64MiB": 64 << 20, "2 GiB": 2 << 30, "5GB": 5e9, "1TiB": 1 << 40, "3KB": 3000,
		"8191TiB": 8191 << 40,
		"":        -1, "-1": -1, "1.5GiB": -1, "GiB": -1, "1PiB": -1, "8388608TiB": -1, "9223372036854775808": -1, "1mib": -1,
	} {
		var s config.Size
		err := s.UnmarshalText([]byte(text))
		if (want < 0) != (err != nil) || (err == nil && s != want) {
			t.Errorf("%q: %d, %v", text, s, err)
		}
		if err == nil {
			var again config.Size
			if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
				t.Errorf("%q prints as %s", text, s)
			}
		}
	}
}

func TestRetriesOfADestinationCanBeNone(t *testing.T) {
	c, err := config.Load(write(t, `destinations:
- {title: NEVER, address: "here:104", retries: 0}
- {title: FIVE, address: "here:104", retries: 5}
- {title: DEFAULT, address: "here:104"}
- {title: NOTHING, address: "here:104", retries: }
`), config.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{0, 5, 2, 2} {
		if d := c.Destinations[i]; d.Retries != want {
			t.Errorf("%s: %d retries, want %d", d.Title, d.Retries, want)
		}
	}
}
