package scp

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"lumen/dimse"
	"lumen/dimse/pdu"
)

// An identity that crossed a network in clear is refused, whatever it is, and
// never looked at.
func TestIdentityInClearIsRefused(t *testing.T) {
	looked := 0
	u := Users{Passcodes: map[string]string{"guest": ""}, Verify: func(context.Context, *pdu.UserIdentity) (Verified, error) {
		looked++
		return Verified{User: "jane"}, nil
	}}
	for _, id := range []*pdu.UserIdentity{
		{Type: pdu.IdentityUser, Primary: []byte("guest")},
		{Type: pdu.IdentityKerberos, Primary: []byte("ticket")},
	} {
		for _, c := range []struct {
			from  string
			clear bool
			ok    bool
		}{
			{"192.0.2.1:1", true, false}, {"192.0.2.1:1", false, true}, {"[2001:db8::1]:1", true, false},
			{"127.0.0.1:1", true, true}, {"[::1]:1", true, true},
		} {
			before := looked
			rq := &dimse.AssociateRequest{Remote: netip.MustParseAddrPort(c.from), Plaintext: c.clear, Identity: id}
			name, err := u.check(t.Context(), rq)
			if c.ok != (err == nil) || c.ok != (name != "") || c.ok != (rq.IdentityResponse != nil) || !c.ok && !errors.Is(err, errIdentityInClear) {
				t.Errorf("type %d from %s, in clear %t: %q, %v", id.Type, c.from, c.clear, name, err)
			}
			if !c.ok && looked != before {
				t.Errorf("type %d from %s was looked at", id.Type, c.from)
			}
		}
	}
}
