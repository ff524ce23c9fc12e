package dimse

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"slices"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse/pdu"
)

func FuzzCommand(f *testing.F) {
	for _, c := range []command{
		{Field: cEchoRQ, MessageID: 1, SOPClass: verification},
		{Field: cStoreRQ, MessageID: 7, SOPClass: "1.2.3", SOPInstance: "1.2.3.4.5", HasData: true, OriginAE: "A", OriginID: 3},
		{Field: cMoveRQ, MessageID: 7, SOPClass: "1.2", Destination: "THERE", HasData: true},
		{Field: cMoveRQ | response, RespondedTo: 7, SOPClass: "1.2", Status: StatusPending, Counts: &SubOperations{Remaining: 1, Completed: 2, Failed: 3, Warning: 4}},
		{Field: cCancelRQ, RespondedTo: 9},
	} {
		f.Add(c.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second command
		if first.parse(b) != nil {
			return
		}
		again := first.append(nil)
		if err := second.parse(again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if third := second.append(nil); !bytes.Equal(again, third) {
			t.Errorf("changed by a round trip:\n% x\n% x", again, third)
		}
	})
}

// fuzzServer serves something of everything.
func fuzzServer() *Server {
	none := func(context.Context, *Association, *MoveRequest, func(SubOperations) error) (SubOperations, error) {
		return SubOperations{Failed: 1, FailedUIDs: []string{"1.2"}}, nil
	}
	return &Server{Services: []Service{
		{SOPClasses: []string{verification}, Echo: Echo},
		{SOPClasses: []string{dict.UIDCTImageStorage}, ServiceClass: storageService,
			Store: func(_ context.Context, _ *Association, _ *StoreRequest, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			}},
		{SOPClasses: []string{dict.UIDStudyRootQueryRetrieveInformationModelFind},
			Extended: func(_ string, info []byte) []byte { return info },
			Find: func(_ context.Context, _ *Association, rq *FindRequest) iter.Seq2[*dicom.DataSet, error] {
				return func(yield func(*dicom.DataSet, error) bool) { yield(rq.Identifier, nil) }
			}},
		{SOPClasses: []string{dict.UIDStudyRootQueryRetrieveInformationModelMove}, Move: none},
		{SOPClasses: []string{dict.UIDStudyRootQueryRetrieveInformationModelGet},
			Get: func(ctx context.Context, _ *Association, _ *GetRequest, store SubStore, _ func(SubOperations) error) (SubOperations, error) {
				_, err := store(ctx, StoreRequest{SOPClassUID: dict.UIDCTImageStorage, SOPInstanceUID: "1.2",
					TransferSyntax: dicom.TransferSyntax{UID: dicom.ImplicitVRLittleEndian}}, bytes.NewReader(make([]byte, 10)))
				return SubOperations{Completed: 1}, err
			}},
	}}
}

var fuzzClasses = []string{verification, dict.UIDCTImageStorage, dict.UIDStudyRootQueryRetrieveInformationModelFind,
	dict.UIDStudyRootQueryRetrieveInformationModelMove, dict.UIDStudyRootQueryRetrieveInformationModelGet}

func fuzzRequest() *pdu.AssociateRQ {
	rq := &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "FUZZ"}
	for i, uid := range fuzzClasses {
		rq.Contexts = append(rq.Contexts, pdu.ContextRQ{ID: byte(2*i + 1), AbstractSyntax: uid,
			TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}})
	}
	rq.Contexts = append(rq.Contexts, pdu.ContextRQ{ID: 99, AbstractSyntax: "1.2.3.4", TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}})
	rq.User.CommonExtended = []pdu.CommonExtended{{SOPClass: "1.2.3.4", ServiceClass: storageService, Related: []string{"1.2", dict.UIDCTImageStorage}}}
	rq.User.Roles = []pdu.Role{{SOPClass: dict.UIDCTImageStorage, SCP: true}}
	return rq
}

const storageService = "1.2.840.10008.4.2"

// declared reports whether the peer says that a class is a kind of one that is
// stored.
func declared(rq *pdu.AssociateRQ, class string) bool {
	for _, x := range rq.User.CommonExtended {
		if x.SOPClass == class && x.ServiceClass == storageService && slices.Contains(x.Related, dict.UIDCTImageStorage) {
			return true
		}
	}
	return false
}

// FuzzNegotiate holds what every answer to a request must keep to.
func FuzzNegotiate(f *testing.F) {
	f.Add(fuzzRequest().Append(nil)[pdu.HeaderSize:])
	f.Fuzz(func(t *testing.T, b []byte) {
		rq, err := pdu.ParseAssociateRQ(b)
		if err != nil || acceptable(rq) != nil {
			return
		}
		a := &Association{server: fuzzServer(), link: &link{lim: DefaultLimits()}}
		ac := a.negotiate(rq, 128<<10)
		offered := make(map[byte]pdu.ContextRQ)
		for _, c := range rq.Contexts {
			if _, twice := offered[c.ID]; !twice {
				offered[c.ID] = c
			}
		}
		for _, answer := range ac.Contexts {
			c, asked := offered[answer.ID]
			if !asked {
				t.Fatalf("context %d was not asked for", answer.ID)
			}
			if answer.Result != pdu.ContextAccepted {
				continue
			}
			if !slices.Contains(fuzzClasses, c.AbstractSyntax) && !declared(rq, c.AbstractSyntax) {
				t.Fatalf("context %d of class %q accepted", answer.ID, c.AbstractSyntax)
			}
			found := false
			for _, ts := range c.TransferSyntaxes {
				found = found || ts == answer.TransferSyntax
			}
			if !found || answer.ID&1 == 0 || a.context(answer.ID) == nil {
				t.Fatalf("context %d accepted with %q of %q", answer.ID, answer.TransferSyntax, c.TransferSyntaxes)
			}
		}
		if _, err := pdu.ParseAssociateAC(ac.Append(nil)[pdu.HeaderSize:]); err != nil && len(rq.Contexts) <= pdu.MaxContexts {
			t.Fatalf("the answer cannot be read: %v", err)
		}
	})
}

// FuzzConversation lets a peer say anything once it has an association.
func FuzzConversation(f *testing.F) {
	for i, field := range []field{cEchoRQ, cStoreRQ, cFindRQ, cMoveRQ, cGetRQ, cCancelRQ, cStoreRQ | response} {
		c := command{Field: field, MessageID: 1, SOPClass: fuzzClasses[i%len(fuzzClasses)], HasData: i > 0}
		b := pdu.AppendData(nil, byte(2*(i%len(fuzzClasses))+1), pdu.FlagCommand, c.append(nil), 1000)
		f.Add(pdu.AppendData(b, byte(2*(i%len(fuzzClasses))+1), 0, []byte{8, 0, 0x52, 0, 0, 0, 0, 0}, 1000))
	}
	f.Add(pdu.AppendReleaseRQ(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		s := fuzzServer()
		s.start(t.Context(), ours, Limits{ARTIM: time.Second, Idle: time.Second, Stall: time.Second, Response: time.Second}.orDefaults(), false)
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			io.Copy(io.Discard, theirs)
		}()
		theirs.SetDeadline(time.Now().Add(5 * time.Second))
		theirs.Write(fuzzRequest().Append(nil))
		theirs.Write(b)
		theirs.Close()
		s.wg.Wait()
		<-heard
		if s.Associations() != 0 || s.halfOpen.Len() != 0 || len(s.live) != 0 {
			t.Error("something is left")
		}
	})
}

// FuzzClient lets a server answer anything to a query.
func FuzzClient(f *testing.F) {
	match := command{Field: cFindRQ | response, RespondedTo: 1, Status: StatusPending, HasData: true}
	b := pdu.AppendData(nil, 5, pdu.FlagCommand, match.append(nil), 1000)
	b = pdu.AppendData(b, 5, 0, []byte{8, 0, 0x52, 0, 0, 0, 0, 0}, 1000)
	final := command{Field: cFindRQ | response, RespondedTo: 1}
	f.Add(pdu.AppendData(b, 5, pdu.FlagCommand, final.append(nil), 1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		c := &Client{link: newLink(ours, Limits{Stall: time.Second}.orDefaults(), false)}
		c.link.machine.state = staData
		ts, _ := dicom.LookupTransferSyntax(dicom.ImplicitVRLittleEndian)
		c.accepted = []Context{{ID: 5, SOPClass: fuzzClasses[2], TransferSyntax: ts}}
		go io.Copy(io.Discard, theirs)
		go func() {
			theirs.Write(b)
			theirs.Close()
		}()
		n := 0
		for _, err := range c.Find(t.Context(), fuzzClasses[2], new(dicom.DataSet)) {
			if err != nil {
				break
			}
			if n++; n > len(b) {
				t.Fatal("more matches than bytes")
			}
		}
		c.finish()
	})
}
