package node

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"lumen/config"
)

// modernSuites are what TLS 1.2 may use: forward secrecy and authenticated
// encryption, as the BCP 195 profile asks for (PS3.15 annex B.9). TLS 1.3 has
// no others.
var modernSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// legacySuites are those of the retired AES profile (PS3.15 annex B.3).
var legacySuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA}

// certificates are the files of a TLS listener. They are read again when they
// change; connections that exist go on with what they began with.
type certificates struct {
	files  config.TLS
	legacy bool
	log    *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Config
	stamps  [3]stamp
	checked time.Time
}

// stamp tells one version of a file from the next.
type stamp struct {
	size    int64
	changed time.Time
}

// certificateCheck is how often the files are looked at, at most.
const certificateCheck = time.Second

// openCertificates reads the files a first time.
func openCertificates(files config.TLS, legacy bool, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, legacy: legacy, log: log, checked: time.Now()}
	c.stamps = c.stampAll()
	var err error
	c.loaded, err = c.load()
	return c, err
}

// config is what a listener is made with.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12, // replaced, like everything here
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}
}

// current is what the files say. Files that cannot be used change nothing: half
// of a pair may have been written.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateCheck {
		return c.loaded
	}
	c.checked = time.Now()
	stamps := c.stampAll()
	if stamps == c.stamps {
		return c.loaded
	}
	c.stamps = stamps
	loaded, err := c.load()
	if err != nil {
		c.log.Error("changed certificates cannot be used, the ones before stay", "listener", c.files.Listen, "error", err.Error())
		return c.loaded
	}
	c.log.Info("certificates read again", "listener", c.files.Listen)
	c.loaded = loaded
	return loaded
}

func (c *certificates) stampAll() (all [3]stamp) {
	for i, name := range []string{c.files.Certificate, c.files.Key, c.files.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return all
}

func (c *certificates) load() (*tls.Config, error) {
	cert, pool, err := c.files.Load()
	if err != nil {
		return nil, err
	}
	t := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: modernSuites,
		NextProtos:   []string{"http/1.1"}, // offered by HTTP clients; DICOM has none
	}
	if pool != nil {
		t.ClientCAs, t.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	if c.legacy {
		t.MinVersion = tls.VersionTLS10
		t.CipherSuites = append(legacySuites, modernSuites...)
	}
	return t, nil
}
