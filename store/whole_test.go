package store_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/index"
	"lumen/store/seal"
	"lumen/store/storetest"
)

// whole is an archive on real files: objects in a folder, and the real index.
type whole struct {
	node
	path  string // of the index
	blobs store.Blobs
	db    *index.DB
}

func newWhole(t *testing.T) *whole {
	t.Helper()
	folder := t.TempDir()
	blobs, err := dir.New(durable.OS(), filepath.Join(folder, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	w := &whole{path: filepath.Join(folder, "index.db"), blobs: blobs}
	w.node = node{t: t, blobs: blobs, journal: new(storetest.Journal), keys: keyring(t, blobs)}
	w.open(w.path)
	t.Cleanup(w.close)
	return w
}

func (w *whole) config() store.Config {
	return store.Config{Blobs: w.blobs, Index: w.db, Journal: w.journal, Keys: w.keys, NoSweep: true}
}

// openIndex opens the index of that path in the place of the one before.
func (w *whole) openIndex(path string) {
	w.t.Helper()
	token := w.keys.IndexToken()
	db, err := index.Open(w.t.Context(), index.Config{
		Path:   path,
		Tenant: w.keys.Tenant(),
		Token:  func(value string) [32]byte { return seal.Token(token, value) },
		RecordKey: func(version uint32) ([]byte, error) {
			k, err := w.keys.RecordKey(w.t.Context(), version, true)
			return k.Bytes(), err
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
}

func (w *whole) open(path string) {
	w.t.Helper()
	w.openIndex(path)
	a, err := store.Open(w.t.Context(), w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.archive = a
}

func (w *whole) close() {
	w.archive.Close()
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

// The real index in the place of the naive one: sixteen senders with duplicates
// and conflicts, then the same answers after a restart, with the index lost, and
// with the index rebuilt from the blobs alone.
func TestTheWholeArchive(t *testing.T) {
	const instances, senders = 48, 16
	w := newWhole(t)
	want := map[string]bool{}
	work := make(chan []byte, instances)
	for i := range instances {
		uid := fmt.Sprintf("1.%d.%d.%d", i%4, i%8, i)
		want[uid] = true
		for range 3 {
			work <- encode(t, still(uid[:3], uid[:5], uid, func(d *dicom.DataSet) { d.SetInt(dict.InstanceNumber, i) }), explicitLE)
		}
		if i%6 == 0 {
			work <- encode(t, still(uid[:3], uid[:5], uid, func(d *dicom.DataSet) { d.SetString(dict.PatientID, "OTHER") }), explicitLE)
		}
		if i == 0 {
			continue
		}
		if i%12 == 0 || i == instances-1 {
			w.drain(work, senders)
			work = make(chan []byte, 4*instances)
		}
	}
	uids := slices.Sorted(maps.Keys(want))
	same := func(when string) {
		t.Helper()
		if got := w.find(); !slices.Equal(got, uids) {
			t.Errorf("%s: %d found, want %d", when, len(got), len(uids))
		}
		if r := w.sound(); r.Instances != instances || r.Quarantined != 8 || r.Unadopted != 0 {
			t.Errorf("%s: check = %+v", when, r)
		}
		if n := len(w.instanceNumbers("1.0", "1.0.0")); n != 6 {
			t.Errorf("%s: %d instances in a series, want 6", when, n)
		}
	}
	same("at first")
	w.close()
	w.open(w.path)
	same("after a restart")

	w.close()
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.open(w.path)
	same("with the index lost")

	w.close()
	w.openIndex(w.path + ".new")
	report, err := store.Rebuild(t.Context(), w.config())
	if err != nil || report.Instances != instances || report.Quarantined != 8 {
		t.Fatalf("rebuild = %+v, %v", report, err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(w.path + ".new")
	same("rebuilt")
}

// drain sends everything from so many senders at once.
func (w *whole) drain(work chan []byte, senders int) {
	close(work)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for data := range work {
				in := store.Incoming{TransferSyntax: explicitLE, Source: store.SourceDIMSE}
				if _, err := w.archive.Ingest(w.t.Context(), tower, request, in, bytes.NewReader(data)); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// instanceNumbers returns those of a series, in the order in which it is read.
func (w *whole) instanceNumbers(study, series string) (numbers []string) {
	w.t.Helper()
	for row, err := range w.db.Instances(w.t.Context(), store.Selection{StudyInstanceUID: study, SeriesInstanceUID: series}) {
		if err != nil {
			w.t.Fatal(err)
		}
		numbers = append(numbers, row.Attributes.String(dict.InstanceNumber))
	}
	return numbers
}
