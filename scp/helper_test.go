package scp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/durable"
	"lumen/scp"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/seal"
	"lumen/store/storetest"
)

const (
	ctClass   = dict.UIDCTImageStorage
	findStudy = dict.UIDStudyRootQueryRetrieveInformationModelFind
	moveStudy = dict.UIDStudyRootQueryRetrieveInformationModelMove
	getStudy  = dict.UIDStudyRootQueryRetrieveInformationModelGet
)

var plain = []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}

var explicit, _ = dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)

// node is a server over a real archive whose parts are in memory.
type node struct {
	addr    string
	server  *scp.Server
	journal *storetest.Journal
	archive *store.Archive
}

// start runs a node until the test ends.
func start(t testing.TB, change ...func(*scp.Config)) *node {
	t.Helper()
	blobs := new(mem.Blobs)
	keys, err := seal.OpenKeyring(t.Context(), seal.KeyringConfig{
		Root: seal.FileRoot(durable.OS(), filepath.Join(t.TempDir(), "root.key")), Objects: blobs,
		Tenant: access.DefaultTenant, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{journal: new(storetest.Journal)}
	n.archive, err = store.Open(t.Context(), store.Config{Blobs: blobs, Index: new(storetest.Index),
		Journal: n.journal, Keys: keys, NoSweep: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg := scp.Config{AETitle: "LUMEN", Archive: n.archive, Journal: n.journal}
	for _, c := range change {
		c(&cfg)
	}
	s, err := scp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr, n.server = l.Addr().String(), s
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done, n.archive.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// image is a small CT image; the study holds it under the number.
func image(study, number int, change ...func(*dicom.DataSet)) *dicom.DataSet {
	s := "1.2.826.0.1." + strconv.Itoa(study)
	d := new(dicom.DataSet)
	d.SetString(dict.SOPClassUID, ctClass)
	d.SetString(dict.SOPInstanceUID, s+".1."+strconv.Itoa(number))
	d.SetString(dict.StudyDate, "20260102")
	d.SetString(dict.StudyTime, "101500")
	d.SetString(dict.AccessionNumber, "A"+strconv.Itoa(study))
	d.SetString(dict.Modality, "CT")
	d.SetString(dict.PatientName, "Doe^John")
	d.SetString(dict.PatientID, "P"+strconv.Itoa(study/10))
	d.SetString(dict.StudyInstanceUID, s)
	d.SetString(dict.SeriesInstanceUID, s+".1")
	d.SetString(dict.SeriesNumber, "1")
	d.SetString(dict.InstanceNumber, strconv.Itoa(number))
	d.SetInt(dict.Rows, 2)
	d.SetInt(dict.Columns, 3)
	d.SetInt(dict.SamplesPerPixel, 1)
	d.SetInt(dict.BitsAllocated, 8)
	d.SetBytes(dict.PixelData, dict.OW, []byte{1, 2, 3, 4, 5, byte(number)})
	for _, c := range change {
		c(d)
	}
	return d
}

func encode(t testing.TB, d *dicom.DataSet) []byte {
	t.Helper()
	b, err := d.Encode(explicit)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file writes a DICOM file.
func file(t testing.TB, d *dicom.DataSet) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.dcm")
	meta := dicom.FileMeta{MediaStorageSOPClassUID: ctClass, MediaStorageSOPInstanceUID: d.String(dict.SOPInstanceUID),
		TransferSyntaxUID: dicom.ExplicitVRLittleEndian}
	if err := os.WriteFile(name, append(meta.AppendTo(nil), encode(t, d)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// put stores images by C-STORE.
func (n *node) put(t testing.TB, images ...*dicom.DataSet) {
	t.Helper()
	c := n.dial(t, ctClass)
	for _, d := range images {
		status, err := c.Store(t.Context(), announce(d), bytes.NewReader(encode(t, d)))
		if err != nil || status != dimse.StatusSuccess {
			t.Fatalf("store: %v, %v", status, err)
		}
	}
}

func announce(d *dicom.DataSet) dimse.StoreRequest {
	return dimse.StoreRequest{SOPClassUID: d.String(dict.SOPClassUID), SOPInstanceUID: d.String(dict.SOPInstanceUID),
		TransferSyntax: explicit}
}

func (n *node) dial(t testing.TB, classes ...string) *dimse.Client {
	t.Helper()
	var contexts []dimse.PresentationContext
	for _, uid := range classes {
		contexts = append(contexts, dimse.PresentationContext{SOPClass: uid, TransferSyntaxes: plain})
	}
	return n.dialContexts(t, contexts...)
}

func (n *node) dialContexts(t testing.TB, contexts ...dimse.PresentationContext) *dimse.Client {
	t.Helper()
	d := dimse.Dialer{CallingAE: "TOWER"}
	c, err := d.Dial(t.Context(), n.addr, "LUMEN", contexts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Release(context.Background()) })
	return c
}

// identifier makes a query from pairs of keyword and value.
func identifier(level string, pairs ...string) *dicom.DataSet {
	d := new(dicom.DataSet)
	d.SetString(dict.QueryRetrieveLevel, level)
	for i := 0; i < len(pairs); i += 2 {
		tag, ok := dict.LookupKeyword(pairs[i])
		if !ok {
			panic(pairs[i])
		}
		if pairs[i+1] == "" {
			d.SetString(tag)
		} else {
			d.SetString(tag, strings.Split(pairs[i+1], `\`)...)
		}
	}
	return d
}

// find collects the answers to a query.
func (n *node) find(t testing.TB, class string, id *dicom.DataSet) ([]*dicom.DataSet, error) {
	t.Helper()
	var list []*dicom.DataSet
	for d, err := range n.dial(t, class).Find(t.Context(), class, id) {
		if err != nil {
			return list, err
		}
		list = append(list, d)
	}
	return list, nil
}

func statusOf(err error) dimse.Status {
	var s *dimse.StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

// receiver is a destination that keeps what it gets.
type receiver struct {
	addr string
	mu   sync.Mutex
	got  map[string][]byte
	from []dimse.MoveOriginator
}

// receive runs a destination; answer decides the status of each object.
func receive(t testing.TB, syntaxes func(string, []string) string, answer func(n int) error) *receiver {
	t.Helper()
	r := &receiver{got: make(map[string][]byte)}
	service := dimse.Service{SOPClasses: dict.StorageSOPClasses(),
		Store: func(_ context.Context, _ *dimse.Association, rq *dimse.StoreRequest, data io.Reader) error {
			b, err := io.ReadAll(data)
			if err != nil {
				return err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.from = append(r.from, rq.MoveOriginator)
			if answer != nil {
				if err := answer(len(r.from)); err != nil {
					return err
				}
			}
			r.got[rq.SOPInstanceUID] = b
			return nil
		}}
	if syntaxes != nil {
		service.TransferSyntax = func(_ *dimse.Association, class string, offered []string) string {
			return syntaxes(class, offered)
		}
	}
	s := &dimse.Server{Services: []dimse.Service{service}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	go s.Serve(context.Background(), l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
	return r
}

func (r *receiver) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.got)
}

func (r *receiver) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func to(title, addr string) func(*scp.Config) {
	return func(c *scp.Config) { c.Destinations = map[string]scp.Destination{title: {Address: addr}} }
}
