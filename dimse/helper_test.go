package dimse_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/peertest"
)

// serve runs s on a loopback port until the test ends.
func serve(t testing.TB, s *dimse.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// archive is a small model of what a node does with messages.
type archive struct {
	mu      sync.Mutex
	objects map[string][]byte
	served  []dimse.Message
	closed  []error
	matches int // pending responses of a query
}

func (ar *archive) store(_ context.Context, _ *dimse.Association, rq *dimse.StoreRequest, data io.Reader) error {
	var b bytes.Buffer
	if _, err := b.ReadFrom(data); err != nil {
		return err
	}
	ar.mu.Lock()
	defer ar.mu.Unlock()
	if ar.objects == nil {
		ar.objects = make(map[string][]byte)
	}
	ar.objects[rq.SOPInstanceUID] = b.Bytes()
	return nil
}

func (ar *archive) find(_ context.Context, _ *dimse.Association, rq *dimse.FindRequest) iter.Seq2[*dicom.DataSet, error] {
	return func(yield func(*dicom.DataSet, error) bool) {
		for i := range ar.matches {
			var ds dicom.DataSet
			ds.SetString(dict.QueryRetrieveLevel, rq.Identifier.String(dict.QueryRetrieveLevel))
			ds.SetString(dict.PatientID, "P"+strconv.Itoa(i))
			if !yield(&ds, nil) {
				return
			}
		}
	}
}

func (ar *archive) server() *dimse.Server {
	return &dimse.Server{
		Services: []dimse.Service{
			{SOPClasses: []string{dict.UIDVerification}, Echo: dimse.Echo},
			{SOPClasses: dict.StorageSOPClasses(), Store: ar.store},
			{SOPClasses: []string{findClass}, Find: ar.find},
		},
		Events: dimse.Events{
			Message: func(_ *dimse.Association, m dimse.Message) {
				ar.mu.Lock()
				defer ar.mu.Unlock()
				ar.served = append(ar.served, m)
			},
			Closed: func(_ *dimse.Association, err error) {
				ar.mu.Lock()
				defer ar.mu.Unlock()
				ar.closed = append(ar.closed, err)
			},
		},
	}
}

const (
	findClass = dict.UIDStudyRootQueryRetrieveInformationModelFind
	moveClass = dict.UIDStudyRootQueryRetrieveInformationModelMove
	getClass  = dict.UIDStudyRootQueryRetrieveInformationModelGet
	ctClass   = dict.UIDCTImageStorage
)

var plain = []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}

func dial(t testing.TB, addr string, contexts ...dimse.PresentationContext) *dimse.Client {
	t.Helper()
	d := dimse.Dialer{CallingAE: "TEST"}
	c, err := d.Dial(t.Context(), addr, "LUMEN", contexts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Release(context.Background()) })
	return c
}

func propose(classes ...string) []dimse.PresentationContext {
	var list []dimse.PresentationContext
	for _, uid := range classes {
		list = append(list, dimse.PresentationContext{SOPClass: uid, TransferSyntaxes: plain})
	}
	return list
}

var explicit, _ = dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)

func split(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}

// ctFile makes a small CT image with DCMTK and returns its name and its SOP
// Instance UID.
func ctFile(t testing.TB, n int) (name, uid string) {
	t.Helper()
	uid = "1.2.3.4." + strconv.Itoa(n)
	dump := "(0008,0016) UI " + ctClass + "\n(0008,0018) UI " + uid + "\n(0010,0010) PN Doe^John\n" +
		"(0010,0020) LO P1\n(0020,000d) UI 1.2.3\n(0020,000e) UI 1.2.3.4\n" +
		"(0028,0010) US 2\n(0028,0011) US 2\n(0028,0100) US 8\n(7fe0,0010) OW 0000\\0001\n"
	text := filepath.Join(t.TempDir(), "d.txt")
	if err := os.WriteFile(text, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	name = strings.TrimSuffix(text, "txt") + "dcm"
	peertest.Run(t, "dump2dcm", text, name)
	return name, uid
}

func panicking(context.Context, *dimse.Association, *dimse.StoreRequest, io.Reader) error {
	panic("a handler falls over")
}

func discard(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
	_, err := io.Copy(io.Discard, data)
	return err
}
