package dimse_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dimse"
)

// certificate makes a certificate for 127.0.0.1 and the pool that trusts it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serveTLS runs s behind TLS until the test ends.
func serveTLS(t testing.TB, s *dimse.Server, cert tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	go s.Serve(context.Background(), tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// Reading is interrupted when an operation ends; a TLS connection must survive
// that, and go on.
func TestAssociationOverTLS(t *testing.T) {
	cert, pool := certificate(t)
	ar := archive{matches: 200}
	s := ar.server()
	plaintext := true
	s.Associate = func(_ context.Context, rq *dimse.AssociateRequest) (any, error) {
		plaintext = rq.Plaintext
		return nil, nil
	}
	addr := serveTLS(t, s, cert)
	d := dimse.Dialer{CallingAE: "TEST", TLS: &tls.Config{RootCAs: pool}}
	c, err := d.Dial(t.Context(), addr, "LUMEN", propose(findClass, ctClass))
	if err != nil {
		t.Fatal(err)
	}
	if plaintext {
		t.Error("the connection is taken for plaintext")
	}
	object := bytes.Repeat([]byte{1, 2, 3, 4}, 1<<20)
	for round := range 5 {
		n := 0
		for _, err := range c.Find(t.Context(), findClass, new(dicom.DataSet)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; round%2 == 1 && n == 10 {
				break // and cancel
			}
		}
		if round%2 == 0 && n != ar.matches {
			t.Errorf("%d matches", n)
		}
		status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: explicit},
			bytes.NewReader(object))
		if err != nil || status != 0 {
			t.Fatal(status, err)
		}
		if !bytes.Equal(ar.objects["1.2"], object) {
			t.Fatal("the object arrived changed")
		}
	}
	if err := c.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPlaintextPeerOnATLSListener(t *testing.T) {
	cert, _ := certificate(t)
	s := new(archive).server()
	s.Limits.ARTIM = 300 * time.Millisecond
	addr := serveTLS(t, s, cert)
	d := dimse.Dialer{CallingAE: "TEST", Timeout: 2 * time.Second}
	if _, err := d.Dial(t.Context(), addr, "LUMEN", propose(findClass)); err == nil {
		t.Error("plaintext was accepted")
	}
	// A peer that connects and says nothing does not hold its goroutine for long.
	silent := connect(t, addr)
	if kind, _ := silent.read(); kind != 0 {
		t.Errorf("got %v", kind)
	}
}

func TestDialTellsWhyItFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := l.Addr().String()
	d := dimse.Dialer{CallingAE: "TEST", Timeout: 100 * time.Millisecond}
	if _, err := d.Dial(t.Context(), silent, "X", propose(ctClass)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a peer that says nothing: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	cancel(reason)
	if _, err := d.Dial(ctx, silent, "X", propose(ctClass)); err == nil {
		t.Error("an association after the end of its context")
	}
	if _, err := d.Dial(t.Context(), silent, "X", nil); err == nil {
		t.Error("an association without contexts")
	}
}
