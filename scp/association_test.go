package scp_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
	"lumen/internal/peertest"
	"lumen/scp"
	"lumen/store"
)

func TestUserIdentity(t *testing.T) {
	n := start(t, func(c *scp.Config) {
		c.Users = scp.Users{
			Passcodes: map[string]string{"joe": scp.HashPasscode([]byte("secret")), "guest": ""},
			Verify: func(_ context.Context, id *pdu.UserIdentity) (scp.Verified, error) {
				if string(id.Primary) != "token" {
					return scp.Verified{}, errors.New("no such token")
				}
				return scp.Verified{User: "jane", Response: []byte("ticket")}, nil
			},
		}
	})
	var users []string
	for _, c := range []struct {
		name string
		id   *pdu.UserIdentity
		ok   bool
	}{
		{"none", nil, true},
		{"name and passcode", &pdu.UserIdentity{Type: pdu.IdentityPasscode, Primary: []byte("joe"), Secondary: []byte("secret")}, true},
		{"wrong passcode", &pdu.UserIdentity{Type: pdu.IdentityPasscode, Primary: []byte("joe"), Secondary: []byte("Secret")}, false},
		{"name alone, but there is a passcode", &pdu.UserIdentity{Type: pdu.IdentityUser, Primary: []byte("joe")}, false},
		{"name alone", &pdu.UserIdentity{Type: pdu.IdentityUser, Primary: []byte("guest")}, true},
		{"passcode for one that has none", &pdu.UserIdentity{Type: pdu.IdentityPasscode, Primary: []byte("guest")}, false},
		{"unknown name", &pdu.UserIdentity{Type: pdu.IdentityUser, Primary: []byte("jim")}, false},
		{"unknown name with an empty passcode", &pdu.UserIdentity{Type: pdu.IdentityPasscode, Primary: []byte("jim")}, false},
		{"token", &pdu.UserIdentity{Type: pdu.IdentityJWT, Primary: []byte("token")}, true},
		{"ticket", &pdu.UserIdentity{Type: pdu.IdentityKerberos, Primary: []byte("token")}, true},
		{"assertion", &pdu.UserIdentity{Type: pdu.IdentitySAML, Primary: []byte("token")}, true},
		{"another token", &pdu.UserIdentity{Type: pdu.IdentityJWT, Primary: []byte("talisman")}, false},
		{"unknown type", &pdu.UserIdentity{Type: 99, Primary: []byte("joe")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dimse.Dialer{CallingAE: "TOWER", Identity: c.id}
			client, err := d.Dial(t.Context(), n.addr, "LUMEN", []dimse.PresentationContext{{SOPClass: dict.UIDVerification, TransferSyntaxes: plain}})
			if c.ok != (err == nil) {
				t.Fatal(err)
			}
			var rejected *dimse.RejectedError
			if !c.ok && (!errors.As(err, &rejected) || rejected.AssociateRJ != pdu.AssociateRJ{Result: 1, Source: 1, Reason: 3}) {
				t.Error(err)
			}
			if c.ok {
				client.Release(t.Context())
			}
		})
	}
	for _, e := range n.journal.Events() {
		if e.Kind == store.EventAssociationAccepted {
			users = append(users, e.Detail["user"])
		}
	}
	if want := []string{"", "joe", "guest", "jane", "jane", "jane"}; !slices.Equal(users, want) {
		t.Errorf("the journal says that %q came, want %q", users, want)
	}
	for passcode, ok := range map[string]bool{"secret": true, "wrong": false} {
		out, err := peertest.Command(t, "storescu", "-usr", "joe", "-pwd", passcode, "-rsp", "-aec", "LUMEN", host(n.addr), port(n.addr),
			file(t, image(1, 1))).CombinedOutput()
		if ok != (err == nil) {
			t.Errorf("storescu with passcode %q: %v\n%s", passcode, err, out)
		}
	}
}

func TestWhoMayAssociate(t *testing.T) {
	local := netip.MustParsePrefix("127.0.0.0/8")
	n := start(t, func(c *scp.Config) {
		c.Policy = access.Policy{AEs: []access.AE{
			{Title: "TOWER", Addresses: []netip.Prefix{local}, Rights: access.Echo | access.Store},
			{Title: "VIEWER", Addresses: []netip.Prefix{local}, Rights: access.Query | access.Retrieve},
			{Title: "ELSEWHERE", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Rights: access.All},
		}}
	})
	for _, c := range []struct {
		calling, called string
		reason          pdu.Reason // 0: accepted
	}{
		{"TOWER", "LUMEN", 0},
		{"VIEWER", "LUMEN", 0},
		{"TOWER", "OTHER", pdu.ReasonCalledAENotRecognized},
		{"STRANGER", "LUMEN", pdu.ReasonCallingAENotRecognized},
		{"ELSEWHERE", "LUMEN", pdu.ReasonCallingAENotRecognized},
	} {
		d := dimse.Dialer{CallingAE: c.calling}
		client, err := d.Dial(t.Context(), n.addr, c.called, []dimse.PresentationContext{{SOPClass: ctClass, TransferSyntaxes: plain}})
		var rejected *dimse.RejectedError
		if c.reason == 0 != (err == nil) || err != nil && (!errors.As(err, &rejected) || rejected.Reason != c.reason) {
			t.Errorf("%s calls %s: %v", c.calling, c.called, err)
		}
		if client != nil {
			client.Release(t.Context())
		}
	}
	n.put(t, image(1, 1))
	if _, err := n.find(t, findStudy, identifier("STUDY")); statusOf(err) != dimse.StatusNotAuthorized {
		t.Errorf("a tower that may not query: %v", err)
	}
	for calling, want := range map[string]dimse.Status{"TOWER": dimse.StatusSuccess, "VIEWER": dimse.StatusNotAuthorized} {
		d := dimse.Dialer{CallingAE: calling}
		c, err := d.Dial(t.Context(), n.addr, "LUMEN", []dimse.PresentationContext{{SOPClass: dict.UIDVerification, TransferSyntaxes: plain}})
		if err != nil {
			t.Fatal(err)
		}
		if status, err := c.Echo(t.Context()); err != nil || status != want {
			t.Errorf("C-ECHO of %s: %v, %v", calling, status, err)
		}
		c.Release(t.Context())
	}
	denied := 0
	for _, e := range n.journal.Events() {
		if e.Kind == store.EventDenied {
			denied++
		}
	}
	if denied != 2 {
		t.Errorf("%d denied requests in the journal, want the query and the echo", denied)
	}
}

func TestAssociationsAreJournaled(t *testing.T) {
	n := start(t, func(c *scp.Config) {
		c.Policy = access.Policy{AEs: []access.AE{{Title: "TOWER", Rights: access.All}}}
	})
	contexts := []dimse.PresentationContext{{SOPClass: dict.UIDVerification, TransferSyntaxes: plain}}
	tower, stranger := dimse.Dialer{CallingAE: "TOWER"}, dimse.Dialer{CallingAE: "STRANGER"}
	c, err := tower.Dial(t.Context(), n.addr, "LUMEN", contexts)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err = tower.Dial(t.Context(), n.addr, "LUMEN", contexts); err != nil {
		t.Fatal(err)
	}
	c.Abort()
	for range 5 {
		if _, err := stranger.Dial(t.Context(), n.addr, "LUMEN", contexts); err == nil {
			t.Fatal("a stranger was let in")
		}
	}
	count := func(kind store.EventKind) (k int) {
		for _, e := range n.journal.Events() {
			if e.Kind == kind {
				k++
			}
		}
		return k
	}
	peertest.Eventually(t, "the ends and the first rejection are journaled", func() bool {
		return count(store.EventAssociationAborted) == 1 && count(store.EventAssociationReleased) == 1 &&
			count(store.EventAssociationRejected) > 0
	})
	for kind, want := range map[store.EventKind]int{store.EventAssociationAccepted: 2, store.EventAssociationReleased: 1,
		store.EventAssociationRejected: 1} {
		if got := count(kind); got != want {
			t.Errorf("%v: %d events, want %d", kind, got, want)
		}
	}
	if err := n.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(store.EventAssociationRejected); got != 2 {
		t.Errorf("%d events of rejections, want the first and one that counts the rest", got)
	}
	last := n.journal.Events()[len(n.journal.Events())-1]
	if last.Detail["count"] != "4" {
		t.Errorf("the rest counts %s", last.Detail["count"])
	}
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	registry := prometheus.NewRegistry()
	n := start(t, func(c *scp.Config) { c.Registerer = registry })
	n.put(t, image(1, 1))
	if _, err := n.find(t, findStudy, identifier("STUDY")); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		text.WriteString(f.String())
	}
	for _, want := range []string{"lumen_scp_associations", "lumen_scp_operation_seconds", "C-STORE", "C-FIND"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, never := range []string{"TOWER", "1.2.", "P0", "Doe"} {
		if strings.Contains(text.String(), never) {
			t.Errorf("%s is in a metric", never)
		}
	}
}

// Whoever guesses identities waits for each answer, others do not.
func TestGuessingIdentitiesTakesTime(t *testing.T) {
	n := start(t, func(c *scp.Config) {
		c.Users = scp.Users{Passcodes: map[string]string{"guest": ""}}
	})
	for name, slow := range map[string]bool{"guest": false, "guess": true} { // no passcode: to hash one takes time too
		d := dimse.Dialer{CallingAE: "TOWER", Identity: &pdu.UserIdentity{Type: pdu.IdentityUser, Primary: []byte(name)}}
		begin := time.Now()
		c, err := d.Dial(t.Context(), n.addr, "LUMEN", []dimse.PresentationContext{{SOPClass: ctClass, TransferSyntaxes: plain}})
		if took := time.Since(begin); slow != (err != nil) || slow != (took > time.Second) {
			t.Errorf("%q takes %v, %v", name, took, err)
		}
		if err == nil {
			c.Release(t.Context())
		}
	}
}

// Each storage class there is is offered, private ones only where they are
// configured.
func TestEveryStorageClassIsOffered(t *testing.T) {
	n := start(t)
	for classes := range slices.Chunk(append(dict.StorageSOPClasses(), "1.2.840.99999.1"), dimse.MaxContexts) {
		c := n.dial(t, classes...)
		for _, uid := range classes {
			if taken, private := len(c.Accepted(uid)) == 1, uid == "1.2.840.99999.1"; taken == private {
				t.Errorf("%s: %t", uid, taken)
			}
		}
	}
}
