package s3_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lumen/internal/peertest"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/s3"
	"lumen/store/blob/s3/s3test"
)

func TestProbe(t *testing.T) {
	server := s3test.Start(t)
	ok := open(t, config(server.Endpoint))
	if err := ok.Probe(t.Context()); err != nil {
		t.Fatalf("a good bucket: %v", err)
	}
	if names := blobtest.Names(t, ok, ""); len(names) != 0 {
		t.Errorf("the probe left %q", names)
	}

	// Servers that are wrong in a way that ours is not.
	answers := func(code string, status int, date time.Time) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
			w.WriteHeader(status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // we refuse its certificate
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closedAddress := "127.0.0.1:" + peertest.FreePort(t)

	for _, tc := range []struct {
		name   string
		change func(*s3.Config)
		part   s3.Part
		want   string
		away   bool
	}{
		{"nobody listens", func(c *s3.Config) { c.Endpoint = "http://" + closedAddress }, s3.PartEndpoint, "refused", true},
		{"nobody answers", func(c *s3.Config) {
			c.Endpoint, c.Stall = "http://"+silent.Addr().String(), 500*time.Millisecond
		}, s3.PartEndpoint, "", true},
		{"unknown name", func(c *s3.Config) { c.Endpoint = "http://nowhere.invalid" }, s3.PartEndpoint, "", true},
		{"https to http", func(c *s3.Config) { c.Endpoint = strings.Replace(c.Endpoint, "http", "https", 1) }, s3.PartEndpoint, "begins with http://", false},
		{"certificate", func(c *s3.Config) { c.Endpoint = tlsServer.URL }, s3.PartCertificate, "does not trust", false},
		{"no bucket", func(c *s3.Config) { c.Bucket = "elsewhere" }, s3.PartBucket, `"elsewhere"`, false},
		{"access key", func(c *s3.Config) { c.AccessKey = "nobody" }, s3.PartCredentials, "access key", false},
		{"secret", func(c *s3.Config) { c.SecretKey = "wrong-secret" }, s3.PartCredentials, "secret", false},
		{"region", func(c *s3.Config) { c.Region = "eu-west-9" }, s3.PartRegion, "eu-west-9", false},
		{"rights", func(c *s3.Config) { c.Endpoint = answers("AccessDenied", 403, time.Now()) }, s3.PartRights, "put an object", false},
		{"clock ahead", func(c *s3.Config) { c.Endpoint = answers("", 403, time.Now().Add(-20*time.Minute)) }, s3.PartClock, "ahead of", false},
		{"clock behind", func(c *s3.Config) { c.Endpoint = answers("", 403, time.Now().Add(time.Hour)) }, s3.PartClock, "behind", false},
		{"clock, says the server", func(c *s3.Config) { c.Endpoint = answers("RequestTimeTooSkewed", 403, time.Now()) }, s3.PartClock, "too far apart", false},
		{"something else", func(c *s3.Config) { c.Endpoint = answers("Strange", 418, time.Now()) }, s3.PartServer, "Strange (418)", false},
		{"maintenance", func(c *s3.Config) { c.Endpoint = answers("SlowDown", 503, time.Now()) }, s3.PartServer, "SlowDown (503)", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(server.Endpoint)
			cfg.Retries = 1
			tc.change(&cfg)
			err := open(t, cfg).Probe(t.Context())
			var probe *s3.ProbeError
			if !errors.As(err, &probe) || probe.Part != tc.part || !strings.Contains(probe.What, tc.want) {
				t.Errorf("Probe = %v", err)
			}
			if probe != nil && probe.Away() != tc.away {
				t.Errorf("Away of %v = %v", err, probe.Away())
			}
			if err != nil && strings.Contains(err.Error(), cfg.SecretKey) {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}
