package scp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
	"lumen/internal/peertest"
	"lumen/scp"
	"lumen/store"
)

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fragments is Pixel Data (7FE0,0010) with an empty offset table and one fragment,
// which is an empty JPEG.
var fragments = []byte{0xe0, 0x7f, 0x10, 0, 'O', 'B', 0, 0, 0xff, 0xff, 0xff, 0xff,
	0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0,
	0xfe, 0xff, 0, 0xe0, 4, 0, 0, 0, 0xff, 0xd8, 0xff, 0xd9,
	0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0}

// putAs stores an image in a transfer syntax.
func (n *node) putAs(t *testing.T, syntax string, d *dicom.DataSet) []byte {
	t.Helper()
	ts, _ := dicom.LookupTransferSyntax(syntax)
	if ts.Encapsulated {
		d.Delete(dict.PixelData)
	}
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	if ts.Encapsulated {
		b = append(b, fragments...)
	}
	c := n.dialContexts(t, dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: []string{syntax}})
	rq := announce(d)
	rq.TransferSyntax = ts
	if status, err := c.Store(t.Context(), rq, bytes.NewReader(b)); err != nil || status != dimse.StatusSuccess {
		t.Fatalf("store: %v, %v", status, err)
	}
	return b
}

func uncompressed(_ string, offered []string) string {
	for _, uid := range plain {
		if slices.Contains(offered, uid) {
			return uid
		}
	}
	return ""
}

// Whoever asked, and whoever reads the log, is told what a destination has
// against an object: that it is away, that it refuses us, is slow, does not take
// the syntax, or what it answered.
func TestMoveTellsWhy(t *testing.T) {
	nobody := "127.0.0.1:" + peertest.FreePort(t)
	// stall is a destination that says nothing any more after so many objects.
	stall := func(t *testing.T, after int) string {
		stuck := make(chan struct{})
		r := receive(t, nil, func(n int) error {
			if n > after {
				<-stuck
			}
			return nil
		})
		t.Cleanup(func() { close(stuck) })
		return r.addr
	}
	refuse := &dimse.StatusError{Status: dimse.StatusOutOfResources}
	nothing := func(string, []string) string { return "" }
	for _, c := range []struct {
		name    string
		address func(t *testing.T) string
		status  dimse.Status
		comment string
		counts  dimse.SubOperations
		log     string
	}{
		{"away", func(*testing.T) string { return nobody },
			dimse.StatusSubOperationsImpossible, "cannot be reached", dimse.SubOperations{Failed: 2}, "cannot be reached"},
		{"is full", func(t *testing.T) string {
			return refusing(t, &dimse.Reject{AssociateRJ: pdu.AssociateRJ{Result: pdu.RejectedTransient,
				Source: pdu.SourcePresentation, Reason: pdu.ReasonLimitExceeded}})
		}, dimse.StatusSubOperationsImpossible, "has no room", dimse.SubOperations{Failed: 2}, "result 2, source 3, reason 2"},
		{"ends each association", func(t *testing.T) string { return receive(t, nil, func(int) error { panic("it falls over") }).addr },
			dimse.StatusSubOperationsImpossible, "ends the association", dimse.SubOperations{Failed: 2}, "aborted by the peer"},
		{"refuses the association", func(t *testing.T) string { return refusing(t, dimse.RejectCallingAE(errors.New("not configured"))) },
			dimse.StatusSubOperationsImpossible, "refuses", dimse.SubOperations{Failed: 2}, "result 1, source 1, reason 3"},
		{"slow", func(t *testing.T) string { return stall(t, 0) },
			dimse.StatusSubOperationsImpossible, "in time", dimse.SubOperations{Failed: 2}, "in time"},
		{"slow after the first", func(t *testing.T) string { return stall(t, 1) },
			dimse.StatusSomeFailed, "in time", dimse.SubOperations{Completed: 1, Failed: 1}, "in time"},
		{"takes no syntax", func(t *testing.T) string { return receive(t, nothing, nil).addr },
			dimse.StatusSubOperationsImpossible, "no presentation context", dimse.SubOperations{Failed: 2}, "no presentation context"},
		{"takes uncompressed syntaxes only", func(t *testing.T) string { return receive(t, uncompressed, nil).addr },
			dimse.StatusSomeFailed, "no presentation context", dimse.SubOperations{Completed: 1, Failed: 1}, "no presentation context"},
		{"answers with a failure", func(t *testing.T) string { return receive(t, nil, func(int) error { return refuse }).addr },
			dimse.StatusSubOperationsImpossible, "", dimse.SubOperations{Failed: 2}, "failed=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &buffer{}
			n := start(t, func(cfg *scp.Config) {
				cfg.Destinations = map[string]scp.Destination{"THERE": {Address: c.address(t), Tries: 1}}
				cfg.Limits.Response = 100 * time.Millisecond
				cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			n.put(t, image(1, 1))
			n.putAs(t, dicom.JPEGBaseline8Bit, image(1, 2))
			got, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
			status := dimse.StatusSomeFailed // which is a warning, and no error
			if err != nil {
				status = statusOf(err)
			}
			if status != c.status || got.Completed != c.counts.Completed || got.Failed != c.counts.Failed || len(got.FailedUIDs) != c.counts.Failed {
				t.Errorf("%v, %+v", status, got)
			}
			if !strings.Contains(got.Comment, c.comment) || c.comment == "" && got.Comment != "" {
				t.Errorf("the requestor is told %q, want %q", got.Comment, c.comment)
			}
			if text := log.String(); !strings.Contains(text, c.log) || !strings.Contains(text, "sub-operations failed") {
				t.Errorf("the log does not say %q:\n%s", c.log, text)
			}
		})
	}
}

// refusing is a destination that rejects each association.
func refusing(t *testing.T, why *dimse.Reject) string {
	t.Helper()
	s := &dimse.Server{Associate: func(context.Context, *dimse.AssociateRequest) (any, error) { return nil, why }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(context.Background(), l)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return l.Addr().String()
}

// A requestor of C-GET that takes uncompressed syntaxes only gets what can be
// turned into them without a codec for pixels, and is told of the rest.
func TestGetTurnsWhatItCan(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	n.putAs(t, dicom.DeflatedExplicitVRLittleEndian, image(1, 2))
	n.putAs(t, dicom.ExplicitVRBigEndian, image(1, 3))
	compressed := image(1, 4)
	stored := n.putAs(t, dicom.JPEGBaseline8Bit, compressed)
	implicit := []string{dicom.ImplicitVRLittleEndian}
	get := func(contexts ...dimse.PresentationContext) (map[string][]byte, dimse.SubOperations) {
		t.Helper()
		got := map[string][]byte{}
		c := n.dialContexts(t, append(contexts, dimse.PresentationContext{SOPClass: getStudy, TransferSyntaxes: plain})...)
		counts, err := c.Get(t.Context(), getStudy, study("1.2.826.0.1.1"), func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
			b, err := io.ReadAll(data)
			got[rq.SOPInstanceUID] = b
			return err
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got, counts
	}
	plainly := dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: implicit, Role: dimse.RoleSCP}
	got, counts := get(plainly)
	last := compressed.String(dict.SOPInstanceUID)
	if counts.Completed != 3 || counts.Failed != 1 || !slices.Equal(counts.FailedUIDs, []string{last}) ||
		!strings.Contains(counts.Comment, "no presentation context") {
		t.Errorf("%+v", counts)
	}
	ts, _ := dicom.LookupTransferSyntax(implicit[0])
	for uid, b := range got {
		if d, err := dicom.ParseDataSet(b, ts); err != nil || d.String(dict.SOPInstanceUID) != uid || len(d.Raw(dict.PixelData)) != 6 {
			t.Errorf("%s: %v", uid, err)
		}
	}
	got, counts = get(plainly, dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: []string{dicom.JPEGBaseline8Bit}, Role: dimse.RoleSCP})
	if counts.Completed != 4 || counts.Failed != 0 || counts.Comment != "" || !bytes.Equal(got[last], stored) {
		t.Errorf("with a context for it: %+v", counts)
	}
}

// C-CANCEL ends a C-GET between two sub-operations.
func TestGetIsCancelled(t *testing.T) {
	n := start(t)
	var images []*dicom.DataSet
	for i := range 50 {
		images = append(images, image(1, i))
	}
	n.put(t, images...)
	c := n.dialContexts(t, dimse.PresentationContext{SOPClass: getStudy, TransferSyntaxes: plain},
		dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: plain, Role: dimse.RoleSCP})
	enough := false
	got, err := c.Get(t.Context(), getStudy, study("1.2.826.0.1.1"), func(_ context.Context, _ *dimse.StoreRequest, data io.Reader) error {
		if enough { // the cancellation is on its way: let it arrive
			<-time.After(20 * time.Millisecond)
		}
		_, err := io.Copy(io.Discard, data)
		return err
	}, func(dimse.SubOperations) error {
		enough = true
		return errors.New("enough")
	})
	if statusOf(err) != dimse.StatusCancel || got.Remaining == 0 || got.Completed == 0 || got.Completed+got.Remaining != len(images) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What cannot be begun because something is lacking is A701: a C-MOVE has no
// A700.
func TestRetrieveWithTheJournalDown(t *testing.T) {
	n := start(t, to("THERE", "127.0.0.1:1"))
	n.put(t, image(1, 1))
	n.journal.Fail(store.ErrJournal, false)
	for _, id := range []*dicom.DataSet{study("1.2.826.0.1.1"), identifier("IMAGE", "SOPInstanceUID", "1.2.826.0.1.1.1.1")} {
		if _, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", id, nil); statusOf(err) != dimse.StatusCannotCountMatches {
			t.Errorf("C-MOVE: %v", err)
		}
	}
	if _, err := n.dial(t, getStudy).Get(t.Context(), getStudy, study("1.2.826.0.1.1"), nil, nil); statusOf(err) != dimse.StatusCannotCountMatches {
		t.Errorf("C-GET: %v", err)
	}
}
