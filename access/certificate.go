package access

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
)

// Peer is what is known of who is at the other end of a connection.
type Peer struct {
	Addr        netip.Addr
	Certificate *x509.Certificate // verified against a CA of the listener's; nil without
}

// CertificateName says which certificates are meant, in one of three ways:
// cn:NAME is the common name of the subject, dns:NAME one of the alternative
// names, sha256:HEX the digest of one certificate. The first two outlive a
// renewal.
type CertificateName struct{ kind, value string }

var errCertificateName = errors.New("write cn:NAME, dns:NAME or sha256: and 64 hex digits")

// UnmarshalText reads a name as it is written in a configuration.
func (n *CertificateName) UnmarshalText(text []byte) error {
	kind, value, _ := strings.Cut(string(text), ":")
	switch {
	case value == "":
		return errCertificateName
	case kind == "cn":
	case kind == "dns":
		value = strings.ToLower(value)
	case kind == "sha256":
		value = strings.ToLower(strings.ReplaceAll(value, ":", "")) // openssl writes colons between bytes
		if b, err := hex.DecodeString(value); err != nil || len(b) != sha256.Size {
			return errCertificateName
		}
	default:
		return errCertificateName
	}
	*n = CertificateName{kind, value}
	return nil
}

// String writes the name as it is read.
func (n CertificateName) String() string { return n.kind + ":" + n.value }

// Matches reports whether c is one of the certificates meant. The zero name
// means none.
func (n CertificateName) Matches(c *x509.Certificate) bool {
	if c == nil {
		return false
	}
	switch n.kind {
	case "cn":
		return c.Subject.CommonName == n.value
	case "dns":
		for _, name := range c.DNSNames {
			if strings.ToLower(name) == n.value {
				return true
			}
		}
	case "sha256":
		sum := sha256.Sum256(c.Raw)
		return hex.EncodeToString(sum[:]) == n.value
	}
	return false
}

func matchesAny(names []CertificateName, c *x509.Certificate) bool {
	for _, n := range names {
		if n.Matches(c) {
			return true
		}
	}
	return false
}
