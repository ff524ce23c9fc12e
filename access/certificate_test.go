package access_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"lumen/access"
)

func name(t *testing.T, text string) []access.CertificateName {
	t.Helper()
	var n access.CertificateName
	if err := n.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return []access.CertificateName{n}
}

func TestCertificateNames(t *testing.T) {
	c := &x509.Certificate{Raw: []byte("certificate"), Subject: pkix.Name{CommonName: "Tower 1"}, DNSNames: []string{"tower1.example"}}
	sum := sha256.Sum256(c.Raw)
	for text, matches := range map[string]bool{
		"cn:Tower 1": true, "cn:tower 1": false, "cn:tower1.example": false,
		"dns:TOWER1.example": true, "dns:tower2.example": false,
		"sha256:" + hex.EncodeToString(sum[:]): true, "sha256:" + hex.EncodeToString(make([]byte, 32)): false,
	} {
		n := name(t, text)[0]
		if n.Matches(c) != matches {
			t.Errorf("%s: %t", text, !matches)
		}
		if n.Matches(nil) {
			t.Errorf("%s matches no certificate", text)
		}
	}
	if (access.CertificateName{}).Matches(&x509.Certificate{}) {
		t.Error("no name matches a certificate without names")
	}
	for _, text := range []string{"", "cn:", "Tower 1", "sha256:00", "sha256:" + "zz", "sha1:00"} {
		if err := new(access.CertificateName).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestCertificatesTellTowersApart(t *testing.T) {
	one := &x509.Certificate{Subject: pkix.Name{CommonName: "one"}}
	two := &x509.Certificate{Subject: pkix.Name{CommonName: "two"}}
	p := access.Policy{
		AEs: []access.AE{
			{Title: "TOWER", Certificates: name(t, "cn:one"), Rights: access.Echo | access.Store},
			{Title: "TOWER", Certificates: name(t, "cn:two"), Rights: access.Echo},
		},
		Clients: []access.Client{{Name: "viewer", Certificates: name(t, "cn:one"), Rights: access.Query}},
	}
	addr := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		certificate *x509.Certificate
		entry       int
	}{{one, 0}, {two, 1}, {nil, -1}, {&x509.Certificate{}, -1}} {
		got, entry, err := p.ForAE("TOWER", access.Peer{Addr: addr, Certificate: c.certificate})
		var denied *access.DeniedError
		if entry != c.entry || errors.As(err, &denied) != (entry < 0) || entry >= 0 && got.Rights != p.AEs[entry].Rights {
			t.Errorf("%v is entry %d, %v", c.certificate, entry, err)
		}
	}
	if c, err := p.ForClient(access.Peer{Addr: addr, Certificate: one}); err != nil || c.Name != "viewer" || c.Rights != access.Query {
		t.Errorf("the viewer is %v, %v", c, err)
	}
	for _, c := range []*x509.Certificate{two, nil} {
		if got, err := p.ForClient(access.Peer{Addr: addr, Certificate: c}); err == nil || got.Rights != 0 {
			t.Errorf("%v is let in", c)
		}
	}
}
