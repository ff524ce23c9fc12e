package access_test

import (
	"errors"
	"net/netip"
	"testing"

	"lumen/access"
)

// A peer on the loopback interface chooses its title: it may be anything.
func TestLogsHoldNoTitleFromTheWire(t *testing.T) {
	local, _, err := access.Policy{}.ForAE("DOE^JOHN", access.Peer{Addr: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	if v := local.LogValue().String(); v != "local" {
		t.Errorf("a local peer is logged as %q", v)
	}
	configured := access.Principal{Kind: access.KindAE, Name: "TOWER1"}
	if v := configured.LogValue().String(); v != "ae:TOWER1" {
		t.Errorf("a configured AE is logged as %q", v)
	}
}

func TestForAE(t *testing.T) {
	tower := access.AE{Title: "TOWER1", Rights: access.Echo | access.Store,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	spare := access.AE{Title: "TOWER1", Rights: access.Echo,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}
	configured := access.Policy{AEs: []access.AE{tower, spare}}
	for _, c := range []struct {
		name   string
		policy access.Policy
		title  string
		addr   string
		rights access.Right // 0 means denied
	}{
		{"unknown AE on loopback with no configuration", access.Policy{}, "ANY", "127.0.0.1",
			access.Echo | access.Store | access.Query | access.Retrieve},
		{"mapped loopback counts as loopback", access.Policy{}, "ANY", "::ffff:127.0.0.1",
			access.Echo | access.Store | access.Query | access.Retrieve},
		{"unknown AE from the network with no configuration", access.Policy{}, "ANY", "10.1.0.1", 0},
		{"known AE from its address", configured, "TOWER1", "10.1.2.3", access.Echo | access.Store},
		{"the same title from another tower's address", configured, "TOWER1", "10.2.2.3", access.Echo},
		{"known AE from elsewhere", configured, "TOWER1", "10.3.2.3", 0},
		{"unknown AE on loopback once AEs are configured", configured, "ANY", "127.0.0.1", 0},
		{"titles are compared with case", configured, "tower1", "10.1.2.3", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, err := c.policy.ForAE(c.title, access.Peer{Addr: netip.MustParseAddr(c.addr)})
			if p.Rights != c.rights {
				t.Errorf("rights = %q, want %q", p.Rights, c.rights)
			}
			var denied *access.DeniedError
			if (c.rights == 0) != errors.As(err, &denied) {
				t.Errorf("error = %v", err)
			}
			if err == nil && p.Tenant != access.DefaultTenant {
				t.Errorf("tenant = %q", p.Tenant)
			}
		})
	}
}

func TestForHTTPTrustsLoopbackOnly(t *testing.T) {
	if _, err := (access.Policy{}).ForHTTP(netip.MustParseAddr("::1")); err != nil {
		t.Error(err)
	}
	if _, err := (access.Policy{}).ForHTTP(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("a peer from the network was let in")
	}
}

func TestRightNamesRoundTrip(t *testing.T) {
	for _, name := range []string{"echo", "store", "query", "retrieve", "admin"} {
		r, err := access.ParseRight(name)
		if err != nil || r.String() != name {
			t.Errorf("ParseRight(%q) = %q, %v", name, r, err)
		}
	}
	if _, err := access.ParseRight("fly"); err == nil {
		t.Error("an unknown right was read")
	}
}
