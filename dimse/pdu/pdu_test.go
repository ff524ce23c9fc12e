package pdu_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"lumen/dimse/pdu"
)

// parse runs the parser of b's type over its body and appends what came out.
func parse(t testing.TB, b []byte) (value any, again []byte, err error) {
	t.Helper()
	if len(b) < pdu.HeaderSize {
		return nil, nil, pdu.ErrMalformed
	}
	body := b[pdu.HeaderSize:]
	switch pdu.ParseHeader(b).Type {
	case pdu.TypeAssociateRQ:
		p, err := pdu.ParseAssociateRQ(body)
		if err != nil {
			return nil, nil, err
		}
		return p, p.Append(nil), nil
	case pdu.TypeAssociateAC:
		p, err := pdu.ParseAssociateAC(body)
		if err != nil {
			return nil, nil, err
		}
		return p, p.Append(nil), nil
	case pdu.TypeAssociateRJ:
		p, err := pdu.ParseAssociateRJ(body)
		return p, p.Append(nil), err
	case pdu.TypeAbort:
		p, err := pdu.ParseAbort(body)
		return p, p.Append(nil), err
	case pdu.TypeReleaseRQ:
		return nil, pdu.AppendReleaseRQ(nil), nil
	case pdu.TypeReleaseRP:
		return nil, pdu.AppendReleaseRP(nil), nil
	}
	return nil, nil, pdu.ErrMalformed
}

func TestLiteralsRoundTrip(t *testing.T) {
	for name, b := range literals {
		t.Run(name, func(t *testing.T) {
			h := pdu.ParseHeader(b)
			if int(h.Length) != len(b)-pdu.HeaderSize {
				t.Fatalf("the literal says %d bytes and has %d", h.Length, len(b)-pdu.HeaderSize)
			}
			_, again, err := parse(t, b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("wrote\n% x\nwant\n% x", again, b)
			}
		})
	}
}

func TestAssociateRQ(t *testing.T) {
	p, err := pdu.ParseAssociateRQ(literals["A-ASSOCIATE-RQ"][pdu.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	if p.CalledAE != "LUMEN" || p.CallingAE != "TOWER 1" || p.ApplicationContext != pdu.ApplicationContext {
		t.Errorf("titles %q %q, application context %q", p.CalledAE, p.CallingAE, p.ApplicationContext)
	}
	if len(p.Contexts) != 2 || p.Contexts[1].ID != 3 || p.Contexts[1].AbstractSyntax != "1.2.840.10008.5.1.4.1.2.2.1" ||
		len(p.Contexts[1].TransferSyntaxes) != 2 || p.Contexts[1].TransferSyntaxes[0] != "1.2.840.10008.1.2.1" {
		t.Errorf("contexts %+v", p.Contexts)
	}
	u := p.User
	if u.MaximumLength != 16384 || u.ImplementationClassUID != "1.2.3.4" || u.ImplementationVersionName != "TOWER_2" {
		t.Errorf("user information %+v", u)
	}
	if u.Async == nil || *u.Async != (pdu.AsyncOperations{Invoked: 5, Performed: 1}) {
		t.Errorf("asynchronous operations %+v", u.Async)
	}
	if len(u.Roles) != 1 || u.Roles[0] != (pdu.Role{SOPClass: "1.2", SCU: false, SCP: true}) {
		t.Errorf("roles %+v", u.Roles)
	}
	if len(u.Extended) != 1 || !bytes.Equal(u.Extended[0].Info, []byte{1, 0, 1}) {
		t.Errorf("extended negotiation %+v", u.Extended)
	}
	if len(u.CommonExtended) != 1 || u.CommonExtended[0].ServiceClass != "1.4" || len(u.CommonExtended[0].Related) != 2 {
		t.Errorf("common extended negotiation %+v", u.CommonExtended)
	}
	if id := u.Identity; id == nil || id.Type != pdu.IdentityPasscode || !id.ResponseRequested ||
		string(id.Primary) != "joe" || string(id.Secondary) != "pw" {
		t.Errorf("user identity does not hold what was sent")
	}
}

func TestPaddingOfPeersIsTolerated(t *testing.T) {
	b := bytes.Clone(literals["A-ASSOCIATE-RQ"])
	copy(b[10:26], "  LUMEN\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	p, err := pdu.ParseAssociateRQ(b[pdu.HeaderSize:])
	if err != nil || p.CalledAE != "LUMEN" {
		t.Errorf("called AE %q, %v", p.CalledAE, err)
	}
}

func TestUnknownItemsAreIgnored(t *testing.T) {
	b := append(bytes.Clone(literals["A-ASSOCIATE-RQ"]), 0x7F, 0, 0, 2, 1, 2)
	if _, err := pdu.ParseAssociateRQ(b[pdu.HeaderSize:]); err != nil {
		t.Error(err)
	}
}

func TestEveryCutOfAnAssociatePDUIsMalformedOrShorter(t *testing.T) {
	for _, name := range []string{"A-ASSOCIATE-RQ", "A-ASSOCIATE-AC"} {
		b := literals[name]
		for n := pdu.HeaderSize; n < len(b); n++ {
			_, again, err := parse(t, b[:n])
			if err != nil && !errors.Is(err, pdu.ErrMalformed) {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
			if err == nil && len(again) >= len(b) {
				t.Fatalf("%s cut at %d was read as if whole", name, n)
			}
		}
	}
}

func TestPresentationContextsAreLimited(t *testing.T) {
	rq := &pdu.AssociateRQ{CalledAE: "A", CallingAE: "B"}
	for i := range pdu.MaxContexts {
		rq.Contexts = append(rq.Contexts, pdu.ContextRQ{ID: byte(2*i + 1), AbstractSyntax: "1.2",
			TransferSyntaxes: []string{"1.2.840.10008.1.2"}})
	}
	got, err := pdu.ParseAssociateRQ(rq.Append(nil)[pdu.HeaderSize:])
	if err != nil || len(got.Contexts) != pdu.MaxContexts {
		t.Fatalf("at the limit: %v", err)
	}
	rq.Contexts = append(rq.Contexts, rq.Contexts[0])
	if _, err := pdu.ParseAssociateRQ(rq.Append(nil)[pdu.HeaderSize:]); !errors.Is(err, pdu.ErrLimit) {
		t.Errorf("one past the limit: %v", err)
	}
}

func TestTransferSyntaxesPastTheLimitAreIgnored(t *testing.T) {
	c := pdu.ContextRQ{ID: 1, AbstractSyntax: "1.2"}
	for i := range pdu.MaxTransferSyntaxes + 1 {
		c.TransferSyntaxes = append(c.TransferSyntaxes, "1.3."+strings.Repeat("1", i%50+1))
	}
	rq := &pdu.AssociateRQ{Contexts: []pdu.ContextRQ{c}}
	got, err := pdu.ParseAssociateRQ(rq.Append(nil)[pdu.HeaderSize:])
	if err != nil || len(got.Contexts[0].TransferSyntaxes) != pdu.MaxTransferSyntaxes {
		t.Errorf("%d kept, %v", len(got.Contexts[0].TransferSyntaxes), err)
	}
}

func TestParsePDV(t *testing.T) {
	for _, c := range []struct {
		name   string
		header []byte
		left   uint32
		want   pdu.PDV
		ok     bool
	}{
		{"last command fragment", []byte{0, 0, 0, 4, 1, 3}, 8, pdu.PDV{ContextID: 1, Flags: 3, Length: 2}, true},
		{"first of two items", []byte{0, 0, 0, 4, 5, 0}, 100, pdu.PDV{ContextID: 5, Length: 2}, true},
		{"empty fragment", []byte{0, 0, 0, 2, 1, 2}, 6, pdu.PDV{ContextID: 1, Flags: 2}, true},
		{"no room for its header", []byte{0, 0, 0, 1, 1, 2}, 100, pdu.PDV{}, false},
		{"zero length", []byte{0, 0, 0, 0, 1, 2}, 100, pdu.PDV{}, false},
		{"one byte past the PDU", []byte{0, 0, 0, 5, 1, 2}, 8, pdu.PDV{}, false},
		{"4 GiB claimed", []byte{0xff, 0xff, 0xff, 0xff, 1, 2}, 0xffffffff, pdu.PDV{}, false},
		{"nothing left", []byte{0, 0, 0, 2, 1, 2}, 3, pdu.PDV{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := pdu.ParsePDV(c.header, c.left)
			if (err == nil) != c.ok || c.ok && v != c.want {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

func TestAppendDataSplitsAtTheMaximum(t *testing.T) {
	got := pdu.AppendData(nil, 7, pdu.FlagCommand, []byte("abcde"), 2)
	want := []byte{
		4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 7, 1, 'a', 'b',
		4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 7, 1, 'c', 'd',
		4, 0, 0, 0, 0, 7, 0, 0, 0, 3, 7, 3, 'e',
	}
	if !bytes.Equal(got, want) {
		t.Errorf("% x", got)
	}
	if got := pdu.AppendData(nil, 1, 0, nil, 2); !bytes.Equal(got, []byte{4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 2}) {
		t.Errorf("empty data: % x", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range literals {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, again, err := parse(t, b)
		if err != nil || len(again) > 1<<16 {
			return // our own output has 16-bit item lengths; a peer's PDU may repeat items past that
		}
		second, _, err := parse(t, again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if a, b := appendAny(first), appendAny(second); !bytes.Equal(a, b) {
			t.Errorf("changed by a round trip:\n% x\n% x", a, b)
		}
	})
}

func appendAny(v any) []byte {
	if p, ok := v.(interface{ Append([]byte) []byte }); ok {
		return p.Append(nil)
	}
	return nil
}

func FuzzParsePDV(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 1, 3}, uint32(8))
	f.Fuzz(func(t *testing.T, b []byte, left uint32) {
		if len(b) < pdu.PDVHeaderSize {
			return
		}
		v, err := pdu.ParsePDV(b, left)
		if err == nil && uint64(v.Length)+pdu.PDVHeaderSize > uint64(left) {
			t.Errorf("%+v reaches past %d", v, left)
		}
	})
}
