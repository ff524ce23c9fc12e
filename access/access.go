package access

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

// DefaultTenant is the one tenant there is until the configuration names more.
const DefaultTenant = "default"

// Right is something a principal may do. Rights combine with |.
type Right uint16

// The rights that a configuration can grant.
const (
	Echo     Right = 1 << iota // C-ECHO
	Store                      // C-STORE, STOW-RS, import
	Query                      // C-FIND, QIDO-RS
	Retrieve                   // C-MOVE, C-GET, WADO-RS, export
	Admin                      // keys, check, audit, delete
)

// All is every right there is.
const All = Echo | Store | Query | Retrieve | Admin

var rightNames = []struct {
	right Right
	name  string
}{{Echo, "echo"}, {Store, "store"}, {Query, "query"}, {Retrieve, "retrieve"}, {Admin, "admin"}}

// ParseRight reads one right by the name that [Right.String] gives it.
func ParseRight(name string) (Right, error) {
	for _, r := range rightNames {
		if r.name == name {
			return r.right, nil
		}
	}
	return 0, fmt.Errorf("unknown right %q: use echo, store, query, retrieve or admin", name)
}

// String lists the rights by name, separated by commas.
func (r Right) String() string {
	var names []string
	for _, n := range rightNames {
		if r&n.right != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// Kind says how a principal was recognised.
type Kind string

// The kinds of principal.
const (
	KindAE     Kind = "ae"     // a configured application entity
	KindLocal  Kind = "local"  // an unnamed peer on the loopback interface
	KindClient Kind = "client" // a configured HTTP client with a certificate
	KindUser   Kind = "user"   // an operating-system user running a command
	KindSystem Kind = "system" // the node itself
)

// Principal is who asks. The zero value has no rights.
type Principal struct {
	Tenant string
	Kind   Kind
	Name   string // AE title, user name, or the name of the part of the node
	Rights Right
}

// Can reports whether p has every right in r.
func (p Principal) Can(r Right) bool { return p.Rights&r == r }

// LogValue keeps log lines short. The name of an AE is configured and that of a
// user is the system's, but a local peer calls itself what it likes: that stays
// out of logs.
func (p Principal) LogValue() slog.Value {
	if p.Kind == KindLocal {
		return slog.StringValue(string(p.Kind))
	}
	return slog.StringValue(string(p.Kind) + ":" + p.Name)
}

// System is the node acting on its own behalf in the named tenant.
func System(tenant, part string) Principal {
	return Principal{Tenant: tenant, Kind: KindSystem, Name: part, Rights: All}
}

// AE is a configured application entity. Several entries may share a Title:
// the first that the peer's address and certificate fit is the one.
type AE struct {
	Title        string
	Addresses    []netip.Prefix    // empty means any address
	Certificates []CertificateName // empty means any certificate, or none
	Rights       Right
}

// Client is a configured HTTP client.
type Client struct {
	Name         string
	Certificates []CertificateName
	Rights       Right
}

// DeniedError says why a peer was turned away. Reason holds no patient data.
type DeniedError struct{ Reason string }

func (e *DeniedError) Error() string { return "access denied: " + e.Reason }

// Policy recognises peers. The zero value knows no AE: then peers on the
// loopback interface may echo, store, query and retrieve, and all others are
// turned away.
type Policy struct {
	Tenant  string // empty means DefaultTenant
	AEs     []AE
	Clients []Client
}

// ForAE returns the principal of the DIMSE peer that calls itself title, and
// which of AEs it is (-1: none, as none is configured), or a *DeniedError.
func (p Policy) ForAE(title string, peer Peer) (Principal, int, error) {
	addr := peer.Addr.Unmap()
	known, here := false, false
	for i, ae := range p.AEs {
		if ae.Title != title {
			continue
		}
		known = true
		if !ae.allows(addr) {
			continue
		}
		here = true
		if len(ae.Certificates) == 0 || matchesAny(ae.Certificates, peer.Certificate) {
			return Principal{Tenant: p.tenant(), Kind: KindAE, Name: title, Rights: ae.Rights}, i, nil
		}
	}
	var reason string
	switch {
	case here && peer.Certificate == nil:
		reason = "the calling AE title is configured with a certificate, and the peer has shown none"
	case here:
		reason = "the calling AE title is configured, but not for this certificate"
	case known:
		reason = "the calling AE title is configured, but not for this address"
	case len(p.AEs) > 0:
		reason = "the calling AE title is not configured"
	case !addr.IsLoopback():
		reason = "no AE is configured and the peer is not on the loopback interface"
	default:
		return Principal{Tenant: p.tenant(), Kind: KindLocal, Name: title, Rights: Echo | Store | Query | Retrieve}, -1, nil
	}
	return Principal{}, -1, &DeniedError{Reason: reason}
}

// ForClient returns the principal of an HTTP client, or a *DeniedError. A
// certificate makes it one of Clients; while there are none, it adds nothing to
// what [Policy.ForHTTP] says of the address.
func (p Policy) ForClient(peer Peer) (Principal, error) {
	if peer.Certificate == nil || len(p.Clients) == 0 {
		return p.ForHTTP(peer.Addr)
	}
	for _, c := range p.Clients {
		if matchesAny(c.Certificates, peer.Certificate) {
			return Principal{Tenant: p.tenant(), Kind: KindClient, Name: c.Name, Rights: c.Rights}, nil
		}
	}
	return Principal{}, &DeniedError{Reason: "the client certificate is not configured"}
}

// ForHTTP returns the principal of an HTTP peer without credentials: only the
// loopback interface is trusted.
func (p Policy) ForHTTP(addr netip.Addr) (Principal, error) {
	if !addr.Unmap().IsLoopback() {
		return Principal{}, &DeniedError{Reason: "HTTP without credentials is for the loopback interface only"}
	}
	return Principal{Tenant: p.tenant(), Kind: KindLocal, Name: "http", Rights: Store | Query | Retrieve}, nil
}

func (p Policy) tenant() string {
	if p.Tenant == "" {
		return DefaultTenant
	}
	return p.Tenant
}

func (a AE) allows(addr netip.Addr) bool {
	if len(a.Addresses) == 0 {
		return true
	}
	for _, prefix := range a.Addresses {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
