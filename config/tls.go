package config

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// TLS is a listener that speaks TLS. Files are PEM; they are read again when
// they change.
type TLS struct {
	Listen      string `yaml:"listen"`      // HOST:PORT on any interface; empty: there is no such listener
	Certificate string `yaml:"certificate"` // file with the certificate and what is between it and its CA
	Key         string `yaml:"key"`         // file with the private key, not readable by others
	ClientCA    string `yaml:"client_ca"`   // file with the CAs of peers; every peer must then show a certificate
}

// Off in place of an address says that there is to be no plaintext listener.
const Off = "off"

// Load reads the files. It refuses a key that others may read.
func (t TLS) Load() (tls.Certificate, *x509.CertPool, error) {
	info, err := os.Stat(t.Key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return tls.Certificate{}, nil, fmt.Errorf("%s has mode %04o: others may read it; run chmod 600", t.Key, mode)
	}
	cert, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil || t.ClientCA == "" {
		return cert, nil, err
	}
	pool, err := readPool(t.ClientCA)
	return cert, pool, err
}

func readPool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// validateListeners checks where the node is to listen: in clear only on the
// loopback interface, or for networks that are named; with TLS anywhere, if
// peers have to show who they are.
func validateListeners(c *Config, problem func(key, format string, args ...any)) {
	for _, p := range []struct {
		key, listen string
		clear       []netip.Prefix
		tls         TLS
	}{
		{"dimse", c.DIMSE.Listen, c.DIMSE.AllowPlaintext, c.DIMSE.TLS},
		{"http", c.HTTP.Listen, c.HTTP.AllowPlaintext, c.HTTP.TLS},
	} {
		if p.listen == Off {
			if p.tls.Listen == "" {
				problem(p.key+".listen", "off, and no TLS listener: nobody could connect")
			}
		} else if local, err := address(p.listen); err != nil {
			problem(p.key+".listen", "%s", err)
		} else if !local && len(p.clear) == 0 {
			problem(p.key+".listen", "%q is not on the loopback interface: use %s.tls, or name the networks that may connect in clear in %[2]s.allow_plaintext",
				p.listen, p.key)
		}
		validateTLS(p.tls, p.key+".tls", problem)
	}
	legacy := c.DIMSE.LegacyTLS
	validateTLS(legacy, "dimse.legacy_tls", problem)
	if cert, _, err := legacy.Load(); legacy.Listen != "" && err == nil {
		if _, ok := cert.PrivateKey.(*rsa.PrivateKey); !ok {
			problem("dimse.legacy_tls.key", "the retired profile needs an RSA key")
		}
	}
	local, err := address(c.HTTP.TLS.Listen)
	if err == nil && !local && len(c.HTTP.Clients) == 0 {
		problem("http.clients", "none may use the TLS listener: name clients by their certificates")
	}
}

func validateTLS(t TLS, key string, problem func(key, format string, args ...any)) {
	if t.Listen == "" {
		if t != (TLS{}) {
			problem(key+".listen", "the address is missing")
		}
		return
	}
	local, err := address(t.Listen)
	if err != nil {
		problem(key+".listen", "%s", err)
		return
	}
	if !local && t.ClientCA == "" {
		problem(key+".client_ca", "needed off the loopback interface: peers are told apart by their certificates")
	}
	if t.Certificate == "" || t.Key == "" {
		problem(key, "a certificate and its key are needed")
	} else if _, _, err := t.Load(); err != nil {
		problem(key, "%s", err)
	}
}

// address reads HOST:PORT and reports whether it is on the loopback interface.
func address(addr string) (local bool, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !validPort(port) {
		return false, fmt.Errorf("%q is not HOST:PORT", addr)
	}
	if host == "localhost" || host == "" {
		return host != "", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, fmt.Errorf("%q is neither an IP address nor localhost", host)
	}
	return ip.Unmap().IsLoopback(), nil
}

// DestinationTLS is how another node is reached with TLS.
type DestinationTLS struct {
	CA          string `yaml:"ca"`          // file with the CAs of the destination: TLS is used
	Name        string `yaml:"name"`        // in the destination's certificate; empty: the host of its address
	Certificate string `yaml:"certificate"` // ours, where the destination asks for one
	Key         string `yaml:"key"`
}

// Config is what a connection to a destination of C-MOVE is made with; nil is
// plaintext.
func (t DestinationTLS) Config() (*tls.Config, error) {
	if t == (DestinationTLS{}) {
		return nil, nil
	}
	if t.CA == "" {
		return nil, errors.New("the CAs of the destination are needed")
	}
	return t.Client()
}

// Client is what a connection with TLS is made with. Without CA it is the
// system's that count. The versions and suites are Go's, of which those without
// forward secrecy are no part.
func (t DestinationTLS) Client() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.Name}
	if t.CA != "" {
		pool, err := readPool(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if t.Certificate != "" || t.Key != "" {
		cert, _, err := TLS{Certificate: t.Certificate, Key: t.Key}.Load()
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
