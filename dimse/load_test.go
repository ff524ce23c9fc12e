package dimse_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"

	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

// A full house: 480 idle associations and 32 that store at the same time. The
// next is rejected as transient, a C-ECHO is answered meanwhile, and what all
// of them take stays small.
func TestFullHouse(t *testing.T) {
	s := new(archive).server()
	s.Services[1].Store = discard
	s.Limits.PerPeer = 1000
	addr := serve(t, s)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var idle []raw
	for range 480 {
		r := connect(t, addr)
		r.associate()
		idle = append(idle, r)
	}
	var busy []*dimse.Client
	for range 32 {
		busy = append(busy, dial(t, addr, propose(ctClass, dict.UIDVerification)...))
	}
	r := connect(t, addr)
	r.write((&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "ONE MORE"}).Append(nil))
	kind, body := r.read()
	if rj, _ := pdu.ParseAssociateRJ(body); kind != pdu.TypeAssociateRJ || rj != (pdu.AssociateRJ{Result: pdu.RejectedTransient,
		Source: pdu.SourcePresentation, Reason: pdu.ReasonLimitExceeded}) {
		t.Errorf("association 513: %v %+v", kind, rj)
	}
	still := make([]byte, 220<<10)
	var wg sync.WaitGroup
	for _, c := range busy {
		wg.Go(func() {
			for range 20 {
				status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2",
					TransferSyntax: explicit}, bytes.NewReader(still))
				if err != nil || status != 0 {
					t.Error(status, err)
					return
				}
			}
		})
	}
	idle[0].write(echo)
	if got := idle[0].status(); got != dimse.StatusSuccess {
		t.Error(got)
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	// Both sides are in this process: the clients' buffers count too.
	if n := (after.HeapInuse + after.StackInuse) - (before.HeapInuse + before.StackInuse); n > 128<<20 {
		t.Errorf("%d MiB", n>>20)
	} else {
		t.Logf("%d MiB for 512 associations", n>>20)
	}
}
