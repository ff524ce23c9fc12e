package scp

import (
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"lumen/store"
	"lumen/store/storetest"
)

// Connections that are refused unread are counted, and journaled in aggregate
// for each address.
func TestRefusedConnectionsAreToldInAggregate(t *testing.T) {
	journal := new(storetest.Journal)
	s, err := New(Config{AETitle: "LUMEN", Archive: (*store.Archive)(nil), Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		s.refused(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)))
		s.refused(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), uint16(i)))
	}
	if got := testutil.ToFloat64(s.metrics.outcomes.WithLabelValues("refused")); got != 2000 {
		t.Errorf("%v are counted", got)
	}
	if n := len(journal.Events()); n != 2 {
		t.Errorf("%d records at once, want one for each address", n)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts := map[string]string{}
	for _, e := range journal.Events() {
		if e.Kind != store.EventAssociationRejected || e.Detail["reason"] != errTooManyFailures.Error() {
			t.Errorf("%+v", e)
		}
		counts[e.Request.Peer] = e.Detail["count"]
	}
	if counts["192.0.2.1"] != "999" || counts["192.0.2.2"] != "999" || len(journal.Events()) != 4 {
		t.Errorf("%d records, counts %v", len(journal.Events()), counts)
	}
}
