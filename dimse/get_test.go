package dimse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

// getter sends so many objects, whatever becomes of each; it tells each outcome.
func getter(objects int, outcomes chan<- error) dimse.GetHandler {
	return func(ctx context.Context, _ *dimse.Association, _ *dimse.GetRequest, store dimse.SubStore,
		progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
		n := dimse.SubOperations{Remaining: objects}
		for n.Remaining > 0 && ctx.Err() == nil {
			_, err := store(ctx, dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: implicit},
				bytes.NewReader(make([]byte, 100)))
			outcomes <- err
			if n.Remaining--; err != nil {
				n.Failed++
			} else {
				n.Completed++
			}
			_ = progress(n)
		}
		return n, nil
	}
}

var implicit, _ = dicom.LookupTransferSyntax(dicom.ImplicitVRLittleEndian)

// getting begins a C-GET and reads the first request of its sub-operations.
func getting(t *testing.T, s *dimse.Server) raw {
	t.Helper()
	r := connect(t, serve(t, s))
	r.write((&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "VIEWER", Contexts: []pdu.ContextRQ{
		{ID: 1, AbstractSyntax: getClass, TransferSyntaxes: plain},
		{ID: 3, AbstractSyntax: ctClass, TransferSyntaxes: []string{implicit.UID}}},
		User: pdu.UserInformation{Roles: []pdu.Role{{SOPClass: ctClass, SCP: true}}}}).Append(nil))
	r.read()
	r.write(command(1, commandSet(0x10, getClass, true)), data(1, element8(0x0052, "STUDY ")))
	if set := r.elements(); !bytes.Equal(set[0x0100], []byte{1, 0}) {
		t.Fatalf("command field % x, want a C-STORE request", set[0x0100])
	}
	r.read() // the object
	return r
}

func getServer(objects int, outcomes chan<- error) *dimse.Server {
	return &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{getClass}, Get: getter(objects, outcomes)},
		{SOPClasses: []string{ctClass}, Store: discard}}}
}

// A peer that does not answer a sub-operation, or answers another, has no
// further ones: each could wait as long.
func TestGetEndsWithThePeerThatDoesNotAnswer(t *testing.T) {
	answer := func(messageID byte) []byte {
		return command(3, bytes.Join([][]byte{element(0x0100, 1, 0x80), element(0x0120, messageID, 0),
			element(0x0800, 1, 1), element(0x0900, 0, 0)}, nil))
	}
	for _, c := range []struct {
		name   string
		send   []byte
		reason pdu.AbortReason
		want   error
	}{
		{"nothing", nil, pdu.AbortNotSpecified, dimse.ErrTimeout},
		{"another message", answer(7), pdu.AbortUnexpectedPDU, dimse.ErrProtocol},
		{"a request with data", append(command(3, commandSet(0x01, ctClass, true)), data(3, nil)...), pdu.AbortUnexpectedPDU, dimse.ErrProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes, closed := make(chan error, 10), make(chan error, 1)
			s := getServer(10, outcomes)
			s.Limits.Response = 100 * time.Millisecond
			s.Events.Closed = func(_ *dimse.Association, err error) { closed <- err }
			r := getting(t, s)
			r.write(c.send)
			r.aborted(pdu.AbortProvider, c.reason)
			if err := <-outcomes; !errors.Is(err, c.want) {
				t.Errorf("the sub-operation ends with %v, want %v", err, c.want)
			}
			if err := <-closed; !errors.Is(err, c.want) {
				t.Errorf("the association ends with %v, want %v", err, c.want)
			}
			if n := len(outcomes); n > 0 {
				t.Errorf("%d more sub-operations were tried", n)
			}
		})
	}
}

// A C-GET that has begun when the server shuts down is finished.
func TestShutdownFinishesAGet(t *testing.T) {
	outcomes := make(chan error) // the handler goes on when the test does
	s := getServer(3, outcomes)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	c := dial(t, l.Addr().String(), dimse.PresentationContext{SOPClass: getClass, TransferSyntaxes: plain},
		dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: []string{implicit.UID}, Role: dimse.RoleSCP})
	type result struct {
		n   dimse.SubOperations
		err error
	}
	got := make(chan result, 1)
	go func() {
		var id dicom.DataSet
		n, err := c.Get(context.Background(), getClass, &id, func(_ context.Context, _ *dimse.StoreRequest, data io.Reader) error {
			_, err := io.Copy(io.Discard, data)
			return err
		}, nil)
		got <- result{n, err}
	}()
	next := func() error {
		select {
		case err := <-outcomes:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("no sub-operation")
		}
	}
	first := next()
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	<-served
	s.Associations() // waits until all associations were told
	if err := errors.Join(first, next(), next()); err != nil {
		t.Errorf("sub-operations: %v", err)
	}
	if r := <-got; r.err != nil || r.n.Completed != 3 {
		t.Errorf("%+v, %v", r.n, r.err)
	}
	c.Abort()
	if err := <-down; err != nil {
		t.Error(err)
	}
}
