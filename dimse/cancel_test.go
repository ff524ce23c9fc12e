package dimse_test

import (
	"bytes"
	"context"
	"iter"
	"testing"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

func cancelOf(messageID byte) []byte {
	return command(5, bytes.Join([][]byte{element(0x0100, 0xff, 0x0f), element(0x0120, messageID, 0), element(0x0800, 1, 1)}, nil))
}

// waiting is a query whose only match comes when the test lets it.
func waiting(running chan<- struct{}, on <-chan struct{}) dimse.FindHandler {
	return func(ctx context.Context, _ *dimse.Association, _ *dimse.FindRequest) iter.Seq2[*dicom.DataSet, error] {
		return func(yield func(*dicom.DataSet, error) bool) {
			close(running)
			select {
			case <-on:
				yield(new(dicom.DataSet), nil)
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
			}
		}
	}
}

// C-CANCEL ends the operation that it names while that runs, and is nothing else
// (PS3.7 section 9.3.2.3).
func TestCancelAtAnyTime(t *testing.T) {
	running, on := make(chan struct{}), make(chan struct{})
	s := new(archive).server()
	for i := range s.Services {
		if s.Services[i].Find != nil {
			s.Services[i].Find = waiting(running, on)
		}
	}
	r := connect(t, serve(t, s))
	r.associate()
	expect := func(when string, want ...dimse.Status) {
		t.Helper()
		for _, status := range want {
			if got := r.status(); got != status {
				t.Errorf("%s: %v, want %v", when, got, status)
			}
			if status == dimse.StatusPending {
				r.read() // the match
			}
		}
	}
	r.write(cancelOf(1), echo)
	expect("before any request", dimse.StatusSuccess)
	r.write(command(5, commandSet(0x20, findClass, true)), data(5, element8(0x0052, "STUDY ")))
	<-running
	r.write(cancelOf(7))
	close(on)
	expect("of another message", dimse.StatusPending, dimse.StatusSuccess)
	r.write(cancelOf(1), echo)
	expect("after the final response", dimse.StatusSuccess)
	r.write(command(3, commandSet(0x01, ctClass, true)), data(3, make([]byte, 10)), cancelOf(1), echo)
	expect("of a C-STORE", dimse.StatusSuccess, dimse.StatusSuccess)
	r.write(command(3, commandSet(0x01, ctClass, true)), cancelOf(1))
	r.aborted(pdu.AbortProvider, pdu.AbortUnexpectedPDU) // in the middle of a message
}

// Who does not wait for the end of a query, but cancels or releases, gets it.
func TestQueryEndsAsThePeerWants(t *testing.T) {
	for name, send := range map[string][]byte{"cancel": cancelOf(1), "release": pdu.AppendReleaseRQ(nil)} {
		t.Run(name, func(t *testing.T) {
			running := make(chan struct{})
			r := connect(t, serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{findClass}, Find: waiting(running, nil)}}}))
			r.associate()
			r.write(command(5, commandSet(0x20, findClass, true)), data(5, element8(0x0052, "STUDY ")))
			<-running
			r.write(send)
			if got := r.status(); got != dimse.StatusCancel {
				t.Errorf("final status %v", got)
			}
			if name == "cancel" {
				r.write(pdu.AppendReleaseRQ(nil))
			}
			if kind, _ := r.read(); kind != pdu.TypeReleaseRP {
				t.Errorf("got %v", kind)
			}
		})
	}
}
