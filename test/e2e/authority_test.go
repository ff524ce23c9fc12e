package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a CA that exists for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *rsa.PrivateKey
	n    int64
}

// pair are the files of one certificate.
type pair struct{ cert, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := &authority{t: t, dir: t.TempDir()}
	var der []byte
	der, ca.key = ca.sign("Test CA", true)
	var err error
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.write(ca.file(), "CERTIFICATE", der)
	return ca
}

// file holds the CA's own certificate.
func (ca *authority) file() string { return filepath.Join(ca.dir, "ca.pem") }

func (ca *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// sign makes a key and a certificate for it.
func (ca *authority) sign(name string, isCA bool) ([]byte, *rsa.PrivateKey) {
	ca.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.n++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.n), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: isCA, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	parent, parentKey := ca.cert, ca.key
	if isCA {
		template.KeyUsage = x509.KeyUsageCertSign
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		ca.t.Fatal(err)
	}
	return der, key
}

// issue writes the files of a certificate with the common name; again, it
// writes over them.
func (ca *authority) issue(name string) pair {
	ca.t.Helper()
	der, key := ca.sign(name, false)
	p := pair{filepath.Join(ca.dir, name+".crt"), filepath.Join(ca.dir, name+".key")}
	ca.write(p.key, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	ca.write(p.cert, "CERTIFICATE", der)
	return p
}

func (ca *authority) write(name, kind string, der []byte) {
	ca.t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// client is what a program of ours connects with.
func (ca *authority) client(p ...pair) *tls.Config {
	ca.t.Helper()
	c := &tls.Config{RootCAs: ca.pool()}
	for _, p := range p {
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			ca.t.Fatal(err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c
}
