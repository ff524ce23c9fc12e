package store_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/seal"
	"lumen/store/storetest"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// node is everything that an archive is built of, which outlives it.
type node struct {
	t       *testing.T
	blobs   store.Blobs
	index   *storetest.Index
	journal *storetest.Journal
	keys    *seal.Keyring
	clock   *clock
	config  func(*store.Config) // what a test changes
	archive *store.Archive
}

// newNode starts an archive on objects in memory. Its clock begins well after
// what is put, for sweeps.
func newNode(t *testing.T, config ...func(*store.Config)) *node {
	t.Helper()
	n := &node{t: t, blobs: new(mem.Blobs), index: new(storetest.Index), journal: new(storetest.Journal), clock: &clock{now: time.Now()}}
	n.keys = keyring(t, n.blobs)
	for _, c := range config {
		n.config = c
	}
	n.start()
	return n
}

// start opens an archive on what the node has.
func (n *node) start() {
	n.t.Helper()
	cfg := store.Config{Blobs: n.blobs, Index: n.index, Journal: n.journal, Keys: n.keys, Clock: n.clock, NoSweep: true}
	if n.config != nil {
		n.config(&cfg)
	}
	n.blobs = cfg.Blobs
	a, err := store.Open(n.t.Context(), cfg)
	if err != nil {
		n.t.Fatalf("open the archive: %v", err)
	}
	n.archive = a
	n.t.Cleanup(func() { a.Close() })
}

// crash starts anew on what is durable.
func (n *node) crash() {
	n.t.Helper()
	n.archive.Close()
	n.index, n.journal = n.index.Crash(), n.journal.Crash()
	n.start()
}

var tower = access.Principal{Tenant: access.DefaultTenant, Kind: access.KindAE, Name: "TOWER1", Rights: access.All}

var explicitLE = syntax(dicom.ExplicitVRLittleEndian)

func syntax(uid string) dicom.TransferSyntax {
	ts, ok := dicom.LookupTransferSyntax(uid)
	if !ok {
		panic("unknown transfer syntax")
	}
	return ts
}

// still returns a small data set.
func still(study, series, instance string, change ...func(*dicom.DataSet)) *dicom.DataSet {
	d := new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.SOPClassUID, dict.UIDVLEndoscopicImageStorage)
	d.SetString(dict.SOPInstanceUID, instance)
	d.SetString(dict.StudyDate, "20260102")
	d.SetString(dict.Modality, "ES")
	d.SetString(dict.PatientName, "Müller^Änne")
	d.SetString(dict.PatientID, "P-4711")
	d.SetString(dict.StudyInstanceUID, study)
	d.SetString(dict.SeriesInstanceUID, series)
	d.SetString(dict.InstanceNumber, "1")
	d.SetInt(dict.Rows, 2)
	d.SetInt(dict.Columns, 3)
	d.SetInt(dict.SamplesPerPixel, 1)
	d.SetInt(dict.BitsAllocated, 8)
	d.SetBytes(dict.PixelData, dict.OW, []byte{1, 2, 3, 4, 5, 6})
	for _, c := range change {
		c(d)
	}
	return d
}

func encode(t testing.TB, d *dicom.DataSet, ts dicom.TransferSyntax) []byte {
	t.Helper()
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var request = store.Request{ID: "a1", Protocol: "C-STORE", Peer: "192.0.2.7:40000", CallingAE: "TOWER1"}

// ingest takes in one data set as the tower announces it.
func (n *node) ingest(ts dicom.TransferSyntax, data []byte) (store.Receipt, error) {
	return n.archive.Ingest(n.t.Context(), tower, request, store.Incoming{TransferSyntax: ts, Source: store.SourceDIMSE}, bytes.NewReader(data))
}

// mustIngest takes in one data set and wants the outcome.
func (n *node) mustIngest(data []byte, want store.IngestOutcome) store.Receipt {
	n.t.Helper()
	r, err := n.ingest(explicitLE, data)
	if err != nil {
		n.t.Fatalf("ingest: %v", err)
	}
	if r.Outcome != want {
		n.t.Fatalf("outcome = %v, want %v", r.Outcome, want)
	}
	return r
}

var viewing = store.Request{ID: "r1", Protocol: "WADO-RS", Peer: "192.0.2.9:50000"}

// open opens a selection for viewing.
func (n *node) open(sel store.Selection) *store.Retrieval {
	n.t.Helper()
	r, err := n.archive.Open(n.t.Context(), tower, viewing, sel)
	if err != nil {
		n.t.Fatalf("open: %v", err)
	}
	return r
}

// stored returns the bytes of the only instance of a study.
func (n *node) stored(study string) []byte {
	n.t.Helper()
	r := n.open(store.Selection{StudyInstanceUID: study})
	defer r.Close(nil)
	if len(r.Instances()) != 1 {
		n.t.Fatalf("study has %d instances, want 1", len(r.Instances()))
	}
	data, err := r.Instances()[0].DataSet(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return readAll(n.t, data)
}

func readAll(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// find returns the SOP Instance UIDs that a search finds.
func (n *node) find() []string {
	n.t.Helper()
	matches, err := n.archive.Search(n.t.Context(), tower, viewing, store.NewQuery(store.InstanceLevel))
	if err != nil {
		n.t.Fatal(err)
	}
	var uids []string
	for m, err := range matches {
		if err != nil {
			n.t.Fatal(err)
		}
		uids = append(uids, m.SOPInstanceUID)
	}
	slices.Sort(uids)
	return uids
}

// instanceBlobs lists the names of all blobs of instances, those kept aside
// included.
func (n *node) instanceBlobs() []string {
	n.t.Helper()
	var names []string
	for info, err := range n.blobs.List(n.t.Context(), n.keys.Tenant().String()+"/") {
		if err != nil {
			n.t.Fatal(err)
		}
		if _, _, _, ok := seal.ParseObjectName(info.Name); ok {
			names = append(names, info.Name)
		}
	}
	return names
}

// events returns the journaled events of a kind.
func (n *node) events(kind store.EventKind) (list []store.Event) {
	for _, e := range n.journal.Events() {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// sound checks the whole archive.
func (n *node) sound() store.CheckReport {
	n.t.Helper()
	report, err := n.archive.Check(n.t.Context(), store.CheckOptions{})
	if err != nil {
		n.t.Fatalf("check: %v", err)
	}
	for _, p := range report.Problems {
		n.t.Errorf("check found %s: %s", p.Object, p.What)
	}
	return report
}

// keyring makes a tenant's keys on objects.
func keyring(t testing.TB, blobs store.Blobs) *seal.Keyring {
	t.Helper()
	k, err := seal.OpenKeyring(t.Context(), seal.KeyringConfig{
		Root:    seal.FileRoot(durable.OS(), filepath.Join(t.TempDir(), "root.key")),
		Objects: blobs,
		Tenant:  access.DefaultTenant,
		Create:  true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// plaintext opens a whole blob.
func (n *node) plaintext(name string, ref store.BlobRef) []byte {
	n.t.Helper()
	key, err := n.keys.Study(n.t.Context(), ref.Study)
	if err != nil {
		n.t.Fatal(err)
	}
	sealed, err := n.blobs.Open(n.t.Context(), name, 0, -1)
	if err != nil {
		n.t.Fatal(err)
	}
	defer sealed.Close()
	r, err := seal.NewReader(sealed, key, seal.Header{Kind: seal.KindInstance, Tenant: n.keys.Tenant(), Study: ref.Study, Blob: ref.ID})
	if err != nil {
		n.t.Fatal(err)
	}
	return readAll(n.t, r)
}
