package scu

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

// Peer is the node that is called.
type Peer struct {
	Address   string // HOST:PORT
	CalledAE  string
	CallingAE string
	TLS       *tls.Config // nil: in clear
	Identity  Identity
}

// Identity is the user that a peer is told of (PS3.7 annex D.3.3.7); none when
// it has no name.
type Identity struct {
	User     string
	Passcode string // "" sends the name alone (type 1), else both (type 2)
}

// ErrIdentityInClear says that a user identity would cross the network in clear.
var ErrIdentityInClear = errors.New("a user identity goes over TLS only, or to this machine")

func (i Identity) item() *pdu.UserIdentity {
	switch {
	case i.User == "":
		return nil
	case i.Passcode == "":
		return &pdu.UserIdentity{Type: pdu.IdentityUser, Primary: []byte(i.User)}
	}
	return &pdu.UserIdentity{Type: pdu.IdentityPasscode, Primary: []byte(i.User), Secondary: []byte(i.Passcode)}
}

func (p Peer) dial(ctx context.Context, contexts []dimse.PresentationContext) (*dimse.Client, error) {
	if p.Identity.User != "" && p.TLS == nil && !local(p.Address) {
		return nil, ErrIdentityInClear
	}
	d := dimse.Dialer{CallingAE: p.CallingAE, TLS: p.TLS, Identity: p.Identity.item()}
	c, err := d.Dial(ctx, p.Address, p.CalledAE, contexts)
	if err != nil {
		return nil, fmt.Errorf("associate with %s: %w", p.Address, err)
	}
	return c, nil
}

// local reports whether an address is on the loopback interface.
func local(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// queryContext proposes a class in the two syntaxes that every node reads.
func queryContext(sopClass string) []dimse.PresentationContext {
	return []dimse.PresentationContext{{
		SOPClass: sopClass, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian},
	}}
}

// Echo performs C-ECHO: nil means that the peer answered with success.
func Echo(ctx context.Context, p Peer) error {
	c, err := p.dial(ctx, queryContext(dict.UIDVerification))
	if err != nil {
		return err
	}
	status, err := c.Echo(ctx)
	if err == nil && status != dimse.StatusSuccess {
		err = &dimse.StatusError{Status: status}
	}
	if err != nil {
		c.Abort()
		return err
	}
	return c.Release(ctx)
}

// Find performs C-FIND (Study Root) at a level, with keys written KEYWORD=VALUE,
// and calls visit with each match.
func Find(ctx context.Context, p Peer, level string, keys []string, visit func(*dicom.DataSet) error) error {
	identifier, err := identifier(level, keys)
	if err != nil {
		return err
	}
	const class = dict.UIDStudyRootQueryRetrieveInformationModelFind
	c, err := p.dial(ctx, queryContext(class))
	if err != nil {
		return err
	}
	for match, err := range c.Find(ctx, class, identifier) {
		if err == nil {
			err = visit(match)
		}
		if err != nil {
			c.Abort()
			return err
		}
	}
	return c.Release(ctx)
}

// identifier builds a query. Values are UTF-8, which the query says.
func identifier(level string, keys []string) (*dicom.DataSet, error) {
	d := &dicom.DataSet{}
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.QueryRetrieveLevel, level)
	for _, key := range keys {
		keyword, value, _ := strings.Cut(key, "=")
		tag, ok := dict.LookupKeyword(keyword)
		if !ok {
			return nil, fmt.Errorf("%q is not the keyword of an attribute, as in PatientName=DOE*", keyword)
		}
		d.SetString(tag, strings.Split(value, `\`)...)
	}
	return d, nil
}
