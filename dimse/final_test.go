package dimse_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

// elements reads one command set.
func (r raw) elements() map[uint16][]byte {
	r.t.Helper()
	kind, body := r.read()
	if kind != pdu.TypeData {
		r.t.Fatalf("got %v", kind)
	}
	length := binary.BigEndian.Uint32(body)
	set := map[uint16][]byte{}
	for b := body[pdu.PDVHeaderSize : 4+length]; len(b) >= 8; {
		n := binary.LittleEndian.Uint32(b[4:])
		set[binary.LittleEndian.Uint16(b[2:])] = b[8 : 8+n]
		b = b[8+n:]
	}
	return set
}

// Pending responses, and those to a cancelled request, tell how many
// sub-operations remain; no other does (PS3.7 table 9.1-3 and PS3.4 C.4.2.1.6).
// Which instances failed is told in the end.
func TestCountsInResponses(t *testing.T) {
	const remaining, completed, failed, warning = 0x1020, 0x1021, 0x1022, 0x1023
	for _, c := range []struct {
		name    string
		counts  dimse.SubOperations
		err     error
		cancel  bool
		status  dimse.Status
		remains bool
		list    bool
	}{
		{"success", dimse.SubOperations{Completed: 3}, nil, false, dimse.StatusSuccess, false, false},
		{"some failed", dimse.SubOperations{Completed: 2, Failed: 1, FailedUIDs: []string{"1.2"}}, nil, false, dimse.StatusSomeFailed, false, true},
		{"a warning", dimse.SubOperations{Completed: 2, Warning: 1}, nil, false, dimse.StatusSomeFailed, false, false},
		{"all failed", dimse.SubOperations{Failed: 3, FailedUIDs: []string{"1.2", "1.3", "1.4"}}, nil, false, dimse.StatusSubOperationsImpossible, false, true},
		{"cancelled", dimse.SubOperations{Completed: 1, Remaining: 2}, nil, true, dimse.StatusCancel, true, false},
		{"another status", dimse.SubOperations{}, &dimse.StatusError{Status: dimse.StatusDestinationUnknown}, false, dimse.StatusDestinationUnknown, false, false},
		{"an error", dimse.SubOperations{Completed: 1, Remaining: 2}, errors.New("the disk is gone"), false, dimse.StatusInternal, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			move := func(ctx context.Context, _ *dimse.Association, _ *dimse.MoveRequest, progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
				if err := progress(dimse.SubOperations{Remaining: 2, Completed: 1}); err != nil {
					return dimse.SubOperations{}, err
				}
				if c.cancel {
					<-ctx.Done()
				}
				return c.counts, c.err
			}
			r := connect(t, serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{moveClass}, Move: move}}}))
			r.write((&pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "X", Contexts: []pdu.ContextRQ{
				{ID: 1, AbstractSyntax: moveClass, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}}}}).Append(nil))
			r.read()
			r.write(command(1, commandSet(0x21, moveClass, true)), data(1, element8(0x0052, "STUDY ")))
			pending := r.elements()
			for tag, want := range map[uint16]byte{remaining: 2, completed: 1, failed: 0, warning: 0} {
				if v := pending[tag]; len(v) != 2 || v[0] != want {
					t.Errorf("pending: (0000,%04X) is % x, want %d", tag, v, want)
				}
			}
			if c.cancel {
				r.write(command(1, append(append(element(0x0100, 0xff, 0x0f), element(0x0120, 1, 0)...), element(0x0800, 1, 1)...)))
			}
			final := r.elements()
			if got := dimse.Status(binary.LittleEndian.Uint16(final[0x0900])); got != c.status {
				t.Errorf("status %v, want %v", got, c.status)
			}
			if _, has := final[remaining]; has != c.remains || has && final[remaining][0] != byte(c.counts.Remaining) {
				t.Errorf("final: remaining % x, %t", final[remaining], has)
			}
			for tag, want := range map[uint16]int{completed: c.counts.Completed, failed: c.counts.Failed, warning: c.counts.Warning} {
				if v := final[tag]; len(v) != 2 || int(v[0]) != want {
					t.Errorf("final: (0000,%04X) is % x, want %d", tag, v, want)
				}
			}
			if has := final[0x0800][1] != 1; has != c.list {
				t.Errorf("a list of those that failed: %t", has)
			}
		})
	}
}

// The list of what failed has a length of 16 bits in Explicit VR, and so has each
// count; what does not fit is left out, not the response.
func TestManyFailuresFitIntoTheResponse(t *testing.T) {
	uids := make([]string, 2000)
	for i := range uids {
		uids[i] = strings.Repeat("1", 60) + fmt.Sprint(1000+i)
	}
	move := func(context.Context, *dimse.Association, *dimse.MoveRequest, func(dimse.SubOperations) error) (dimse.SubOperations, error) {
		return dimse.SubOperations{Failed: 70_000, Warning: 1, FailedUIDs: uids}, nil
	}
	c := dial(t, serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{moveClass}, Move: move}}}), propose(moveClass)...)
	n, err := c.Move(t.Context(), moveClass, "THERE", new(dicom.DataSet), nil)
	if fits := 0xFFFE / 65; err != nil || n.Failed != 0xFFFF || !slices.Equal(n.FailedUIDs, uids[:fits]) {
		t.Errorf("%d failed, of which %d are named, %v", n.Failed, len(n.FailedUIDs), err)
	}
}
