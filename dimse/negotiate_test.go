package dimse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

func TestChooseTransferSyntax(t *testing.T) {
	const (
		explicit = dicom.ExplicitVRLittleEndian
		implicit = dicom.ImplicitVRLittleEndian
		big      = dicom.ExplicitVRBigEndian
		deflated = dicom.DeflatedExplicitVRLittleEndian
		jpeg     = dicom.JPEGBaseline8Bit
		lossless = dicom.JPEGLosslessSV1
		jpegLS   = dicom.JPEGLSLossless
		endo     = dict.UIDVLEndoscopicImageStorage
		video    = dict.UIDVideoEndoscopicImageStorage
		ct       = dict.UIDCTImageStorage
	)
	for _, c := range []struct {
		name    string
		class   string
		offered []string
		want    string
	}{
		{"explicit before implicit, whatever the order", ct, []string{implicit, explicit}, explicit},
		{"implicit before big endian", ct, []string{big, implicit}, implicit},
		{"implicit before deflated", ct, []string{deflated, implicit}, implicit},
		{"big endian alone", ct, []string{big}, big},
		{"lossy never over uncompressed", ct, []string{jpeg, implicit}, implicit},
		{"lossy never over lossless", ct, []string{jpeg, lossless}, lossless},
		{"lossy alone", ct, []string{jpeg}, jpeg},
		{"lossless first", ct, []string{lossless, explicit}, lossless},
		{"uncompressed first", ct, []string{explicit, lossless}, explicit},
		{"the first lossless", ct, []string{jpegLS, lossless}, jpegLS},
		{"visible light keeps what the device made", endo, []string{explicit, jpeg, lossless}, jpeg},
		{"visible light uncompressed", endo, []string{implicit, explicit}, explicit},
		{"video", video, []string{implicit, dicom.MPEG2MPML}, dicom.MPEG2MPML},
		{"unknown syntaxes are passed over", ct, []string{"1.2.3", implicit}, implicit},
		{"nothing known", ct, []string{"1.2.3"}, ""},
		{"nothing", ct, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := dimse.ChooseTransferSyntax(c.class, c.offered); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// ask sends a request and returns the answer.
func ask(t *testing.T, addr string, rq *pdu.AssociateRQ) (*pdu.AssociateAC, *pdu.AssociateRJ, raw) {
	t.Helper()
	r := connect(t, addr)
	r.write(rq.Append(nil))
	kind, body := r.read()
	switch kind {
	case pdu.TypeAssociateAC:
		ac, err := pdu.ParseAssociateAC(body)
		if err != nil {
			t.Fatal(err)
		}
		return ac, nil, r
	case pdu.TypeAssociateRJ:
		rj, err := pdu.ParseAssociateRJ(body)
		if err != nil {
			t.Fatal(err)
		}
		return nil, &rj, r
	}
	t.Fatalf("got %v", kind)
	return nil, nil, r
}

func echoContext(id byte) pdu.ContextRQ {
	return pdu.ContextRQ{ID: id, AbstractSyntax: dict.UIDVerification, TransferSyntaxes: plain}
}

func TestContextsAreAnswered(t *testing.T) {
	addr := serve(t, new(archive).server())
	ac, _, r := ask(t, addr, &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "TOWER 1", Contexts: []pdu.ContextRQ{
		echoContext(1), echoContext(1), echoContext(2),
		{ID: 3, AbstractSyntax: "1.2.3", TransferSyntaxes: plain},
		{ID: 5, AbstractSyntax: dict.UIDVerification, TransferSyntaxes: []string{"1.2.3"}},
		{ID: 7, AbstractSyntax: dict.UIDVerification},
		{ID: 255, AbstractSyntax: ctClass, TransferSyntaxes: plain},
	}, User: pdu.UserInformation{Async: &pdu.AsyncOperations{Invoked: 9, Performed: 9}}})
	want := map[byte]pdu.ContextResult{1: pdu.ContextAccepted, 2: pdu.ContextNoReason, 3: pdu.ContextAbstractSyntaxRejected,
		5: pdu.ContextTransferSyntaxesRejected, 7: pdu.ContextTransferSyntaxesRejected, 255: pdu.ContextAccepted}
	if len(ac.Contexts) != len(want) {
		t.Errorf("%d answers, want %d: one to each id", len(ac.Contexts), len(want))
	}
	for _, c := range ac.Contexts {
		if c.Result != want[c.ID] {
			t.Errorf("context %d: result %d, want %d", c.ID, c.Result, want[c.ID])
		}
	}
	if ac.CalledAE != "LUMEN" || ac.CallingAE != "TOWER 1" {
		t.Errorf("titles %q, %q: they are sent back as they came", ac.CalledAE, ac.CallingAE)
	}
	if ac.User.MaximumLength != 128<<10 || ac.User.ImplementationClassUID == "" {
		t.Errorf("user information %+v", ac.User)
	}
	if a := ac.User.Async; a == nil || *a != (pdu.AsyncOperations{Invoked: 1, Performed: 1}) {
		t.Errorf("asynchronous operations %+v", a)
	}
	r.write(echo)
	if got := r.status(); got != dimse.StatusSuccess {
		t.Error(got)
	}
}

func TestRejections(t *testing.T) {
	s := new(archive).server()
	s.Associate = func(_ context.Context, rq *dimse.AssociateRequest) (any, error) {
		switch rq.CallingAE {
		case "STRANGER":
			return nil, dimse.RejectCallingAE(errors.New("unknown"))
		case "ERROR":
			return nil, errors.New("something else")
		}
		if rq.CalledAE != "LUMEN" {
			return nil, dimse.RejectCalledAE(nil)
		}
		return nil, nil
	}
	addr := serve(t, s)
	many := make([]pdu.ContextRQ, 129)
	for i := range many {
		many[i] = echoContext(byte(2*i + 1))
	}
	one := []pdu.ContextRQ{echoContext(1)}
	for _, c := range []struct {
		name string
		rq   pdu.AssociateRQ
		want pdu.AssociateRJ
	}{
		{"protocol version", pdu.AssociateRQ{ProtocolVersion: 2, Contexts: one}, pdu.AssociateRJ{Result: 1, Source: 2, Reason: 2}},
		{"application context", pdu.AssociateRQ{ApplicationContext: "1.2", Contexts: one}, pdu.AssociateRJ{Result: 1, Source: 1, Reason: 2}},
		{"calling AE", pdu.AssociateRQ{CallingAE: "STRANGER", Contexts: one}, pdu.AssociateRJ{Result: 1, Source: 1, Reason: 3}},
		{"called AE", pdu.AssociateRQ{CalledAE: "OTHER", Contexts: one}, pdu.AssociateRJ{Result: 1, Source: 1, Reason: 7}},
		{"no reason", pdu.AssociateRQ{CallingAE: "ERROR", Contexts: one}, pdu.AssociateRJ{Result: 1, Source: 1, Reason: 1}},
		{"contexts past the limit", pdu.AssociateRQ{Contexts: many}, pdu.AssociateRJ{Result: 1, Source: 3, Reason: 2}},
		{"no room for data", pdu.AssociateRQ{Contexts: one, User: pdu.UserInformation{MaximumLength: 7}}, pdu.AssociateRJ{Result: 1, Source: 2, Reason: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, rj, _ := ask(t, addr, &c.rq)
			if rj == nil || *rj != c.want {
				t.Errorf("%+v, want %+v", rj, c.want)
			}
		})
	}
}

func TestAllOddContextsFit(t *testing.T) {
	var rq pdu.AssociateRQ
	for i := range pdu.MaxContexts {
		rq.Contexts = append(rq.Contexts, echoContext(byte(2*i+1)))
	}
	ac, _, _ := ask(t, serve(t, new(archive).server()), &rq)
	if ac == nil || len(ac.Contexts) != pdu.MaxContexts {
		t.Errorf("%+v", ac)
	}
}

func TestPeerMaximumLengthIsKept(t *testing.T) {
	ar := archive{matches: 3}
	addr := serve(t, ar.server())
	for _, max := range []uint32{0, 8, 9, 100, 4096, 1 << 31} {
		t.Run("maximum "+strconv.FormatUint(uint64(max), 10), func(t *testing.T) {
			rq := &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "TINY", User: pdu.UserInformation{MaximumLength: max},
				Contexts: []pdu.ContextRQ{{ID: 5, AbstractSyntax: findClass, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}}}}
			_, _, r := ask(t, addr, rq)
			r.write(command(5, commandSet(0x20, findClass, true)), data(5, element8(0x0052, "STUDY ")))
			commands := 0
			for done := false; !done; {
				var whole []byte
				for last := false; !last; {
					kind, body := r.read()
					if kind != pdu.TypeData || max != 0 && len(body) > int(max) {
						t.Fatalf("%v of %d bytes", kind, len(body))
					}
					v, err := pdu.ParsePDV(body, uint32(len(body)))
					if err != nil {
						t.Fatal(err)
					}
					if v.Length%2 == 1 {
						t.Fatalf("fragment of odd length %d", v.Length)
					}
					whole, last = append(whole, body[pdu.PDVHeaderSize:]...), v.Last()
					if last && v.Command() {
						commands++
						done = bytes.Contains(whole, element(0x0900, 0, 0))
					}
				}
			}
			if commands != 4 {
				t.Errorf("%d responses, want 3 pending and the final one", commands)
			}
		})
	}
}

func TestRolesAndExtendedNegotiation(t *testing.T) {
	offersGet := func(context.Context, *dimse.Association, *dimse.GetRequest, dimse.SubStore, func(dimse.SubOperations) error) (dimse.SubOperations, error) {
		return dimse.SubOperations{}, nil
	}
	for _, get := range []bool{false, true} {
		t.Run("C-GET is offered: "+strconv.FormatBool(get), func(t *testing.T) {
			s := new(archive).server()
			for i := range s.Services {
				if s.Services[i].Find != nil {
					s.Services[i].Extended = func(_ string, info []byte) []byte { return bytes.Repeat([]byte{1}, len(info)) }
				}
			}
			if get {
				s.Services = append(s.Services, dimse.Service{SOPClasses: []string{getClass}, Get: offersGet})
			}
			ac, _, _ := ask(t, serve(t, s), &pdu.AssociateRQ{Contexts: []pdu.ContextRQ{
				{ID: 1, AbstractSyntax: ctClass, TransferSyntaxes: plain}, {ID: 3, AbstractSyntax: findClass, TransferSyntaxes: plain}},
				User: pdu.UserInformation{
					Roles: []pdu.Role{{SOPClass: ctClass, SCU: true, SCP: true}, {SOPClass: "1.2.3", SCP: true}},
					Extended: []pdu.Extended{{SOPClass: findClass, Info: []byte{0, 1, 0}}, {SOPClass: ctClass, Info: []byte{1}},
						{SOPClass: "1.2.3", Info: []byte{1}}}}})
			if len(ac.User.Roles) != 1 || ac.User.Roles[0] != (pdu.Role{SOPClass: ctClass, SCU: true, SCP: get}) {
				t.Errorf("roles %+v", ac.User.Roles)
			}
			if x := ac.User.Extended; len(x) != 1 || x[0].SOPClass != findClass || !bytes.Equal(x[0].Info, []byte{1, 1, 1}) {
				t.Errorf("extended negotiation %+v", x)
			}
		})
	}
}

// A class that no list has is served when the peer says that it is a kind of one
// that is, in the service class that takes such classes.
func TestCommonExtendedNegotiation(t *testing.T) {
	const private, storage = "1.2.826.0.1.999", "1.2.840.10008.4.2"
	for _, c := range []struct {
		name  string
		takes string // the service class
		says  pdu.CommonExtended
		ok    bool
	}{
		{"a kind of CT", storage, pdu.CommonExtended{SOPClass: private, ServiceClass: storage, Related: []string{"1.2", ctClass}}, true},
		{"such kinds are not wanted", "", pdu.CommonExtended{SOPClass: private, ServiceClass: storage, Related: []string{ctClass}}, false},
		{"no service class at all", "", pdu.CommonExtended{SOPClass: private, Related: []string{ctClass}}, false},
		{"another service class", storage, pdu.CommonExtended{SOPClass: private, ServiceClass: "1.2.840.10008.4.9", Related: []string{ctClass}}, false},
		{"a kind of nothing", storage, pdu.CommonExtended{SOPClass: private, ServiceClass: storage}, false},
		{"a kind of what is not stored", storage, pdu.CommonExtended{SOPClass: private, ServiceClass: storage, Related: []string{findClass}}, false},
		{"another class", storage, pdu.CommonExtended{SOPClass: "1.2.826.0.1.998", ServiceClass: storage, Related: []string{ctClass}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ar archive
			s := ar.server()
			for i := range s.Services {
				if s.Services[i].Store != nil {
					s.Services[i].ServiceClass = c.takes
				}
			}
			ac, _, r := ask(t, serve(t, s), &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "TOWER",
				Contexts: []pdu.ContextRQ{{ID: 1, AbstractSyntax: private, TransferSyntaxes: plain}},
				User:     pdu.UserInformation{CommonExtended: []pdu.CommonExtended{c.says}}})
			if got := ac.Contexts[0].Result == pdu.ContextAccepted; got != c.ok {
				t.Fatalf("result %d", ac.Contexts[0].Result)
			}
			if !c.ok {
				return
			}
			r.write(command(1, commandSet(0x01, private, true, element(0x1000, '1', '.', '2', 0))), data(1, []byte("abcd")))
			if got := r.status(); got != dimse.StatusSuccess || string(ar.objects["1.2"]) != "abcd" {
				t.Errorf("C-STORE: %v, %q", got, ar.objects["1.2"])
			}
		})
	}
}

func TestUserIdentityIsAnsweredOnlyWhenChecked(t *testing.T) {
	for _, checked := range []bool{false, true} {
		s := new(archive).server()
		s.Associate = func(_ context.Context, rq *dimse.AssociateRequest) (any, error) {
			if rq.Identity == nil || string(rq.Identity.Secondary) != "secret" || !rq.Plaintext {
				t.Errorf("identity %+v", rq.Identity)
			}
			if checked {
				rq.IdentityResponse = []byte{}
			}
			return nil, nil
		}
		ac, _, _ := ask(t, serve(t, s), &pdu.AssociateRQ{Contexts: []pdu.ContextRQ{echoContext(1)}, User: pdu.UserInformation{
			Identity: &pdu.UserIdentity{Type: pdu.IdentityPasscode, ResponseRequested: true, Primary: []byte("joe"), Secondary: []byte("secret")}}})
		if answered := ac.User.IdentityResponse != nil; answered != checked {
			t.Errorf("checked %t, answered %t", checked, answered)
		}
	}
}

// What the handler does not read is drained, and the association goes on.
func TestHandlerMayLeaveDataUnread(t *testing.T) {
	full := &dimse.StatusError{Status: dimse.StatusOutOfResources, Comment: "no space left"}
	addr := serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
		Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
			io.CopyN(io.Discard, data, 1000)
			return full
		}}}})
	c := dial(t, addr, propose(ctClass)...)
	for range 3 {
		status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2",
			TransferSyntax: explicit}, bytes.NewReader(make([]byte, 3<<20)))
		if err != nil || status != dimse.StatusOutOfResources {
			t.Fatal(status, err)
		}
	}
}

func TestObjectThatCannotBeReadIsNotSent(t *testing.T) {
	var ar archive
	addr := serve(t, ar.server())
	broken := errors.New("the disk is gone")
	for _, size := range []int64{10, 10 << 20} {
		c := dial(t, addr, propose(ctClass)...)
		_, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: explicit},
			io.MultiReader(io.LimitReader(zeros{}, size), failing{broken}))
		var source *dimse.SourceError
		if !errors.As(err, &source) || !errors.Is(err, broken) || source.Aborted != (size > 1<<20) {
			t.Errorf("%d bytes before the failure: %v", size, err)
		}
		status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.3", TransferSyntax: explicit},
			bytes.NewReader(make([]byte, 10)))
		if goesOn := err == nil && status == 0; goesOn != !source.Aborted {
			t.Errorf("%d bytes: the association goes on: %t, %v", size, goesOn, err)
		}
	}
	if ar.objects["1.2"] != nil {
		t.Error("half an object was taken for a whole one")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestMaximumLengthForOnePeer(t *testing.T) {
	s := new(archive).server()
	s.Associate = func(_ context.Context, rq *dimse.AssociateRequest) (any, error) {
		if rq.CallingAE == "OLD" {
			rq.MaxPDU = 4096
		}
		return nil, nil
	}
	addr := serve(t, s)
	for title, want := range map[string]uint32{"OLD": 4096, "NEW": 128 << 10} {
		ac, _, _ := ask(t, addr, &pdu.AssociateRQ{ProtocolVersion: 1, CallingAE: title, CalledAE: "LUMEN",
			ApplicationContext: pdu.ApplicationContext, Contexts: []pdu.ContextRQ{echoContext(1)}})
		if ac == nil || ac.User.MaximumLength != want {
			t.Errorf("%s is announced %+v", title, ac)
		}
	}
}
