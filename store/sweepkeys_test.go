package store_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/seal"
	"lumen/store/storetest"
)

// studyKeys lists the names of the wrapped keys of studies.
func (n *node) studyKeys() []string {
	n.t.Helper()
	var names []string
	for info, err := range n.blobs.List(n.t.Context(), n.keys.Tenant().String()+"/") {
		if err != nil {
			n.t.Fatal(err)
		}
		if isStudyKey(info.Name) {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	return names
}

func isStudyKey(name string) bool {
	return strings.HasSuffix(name, "/key") && strings.Count(name, "/") == 2
}

// keyed checks that every row has the wrapped key of its study among the
// objects: what is in memory does not count.
func (n *node) keyed(rows int) {
	n.t.Helper()
	for row, err := range n.index.Instances(n.t.Context(), store.Selection{}) {
		if err != nil {
			n.t.Fatal(err)
		}
		if _, err := n.blobs.Stat(n.t.Context(), seal.StudyKeyName(n.keys.Tenant(), row.Blob.Study)); err != nil {
			n.t.Errorf("the key of a stored instance: %v", err)
		}
		rows--
	}
	if rows != 0 {
		n.t.Errorf("%d rows are missing", rows)
	}
}

// mustSweep sweeps two days later and wants so many keys removed.
func (n *node) mustSweep(keys int) {
	n.t.Helper()
	n.clock.advance(2 * store.SweepAge)
	report, err := n.archive.Sweep(n.t.Context())
	if err != nil || report.Keys != keys {
		n.t.Errorf("sweep = %+v, %v, want %d keys removed", report, err, keys)
	}
}

// failing returns a data set that is refused after its study's key was made.
func failing(t *testing.T, study string) []byte {
	return encode(t, still(study, "1.1.1", study+".1.1", func(d *dicom.DataSet) { d.Delete(dict.SeriesInstanceUID) }), explicitLE)
}

// Invariant 3: an instance that failed leaves its study's key, so a sender could
// fill the disk with keys. They go after a day, with a record each.
func TestKeysOfStudiesThatHoldNothingAreSweptWhenTheyAreOld(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	kept := n.studyKeys()
	for _, study := range []string{"1.2", "1.3", "1.2"} {
		if _, err := n.ingest(explicitLE, failing(t, study)); !errors.Is(err, store.ErrNoUID) {
			t.Fatalf("error = %v", err)
		}
	}
	if len(n.studyKeys()) != 4 {
		t.Fatalf("%d keys, want 4", len(n.studyKeys()))
	}
	report, err := n.archive.Sweep(t.Context())
	if err != nil || report.Keys != 0 || len(n.studyKeys()) != 4 {
		t.Errorf("sweep of young keys = %+v, %v", report, err)
	}
	n.mustSweep(3)
	if got := n.studyKeys(); !slices.Equal(got, kept) {
		t.Errorf("%d keys remain, want that of the study", len(got))
	}
	swept := n.events(store.EventSwept)
	if len(swept) != 3 || !isStudyKey(swept[0].Blob) || swept[0].Blob == kept[0] {
		t.Errorf("swept events = %+v", swept)
	}
	n.mustIngest(encode(t, still("1.2", "1.2.1", "1.2.1.1"), explicitLE), store.Stored)
	n.mustSweep(0)
	n.keyed(2)
	n.sound()
}

// A key stays as long as anything might need it.
func TestKeysOfStudiesThatHoldAnythingAreNotSwept(t *testing.T) {
	first := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	for _, c := range []struct {
		name string
		set  func(t *testing.T, n *node)
	}{
		{"only what is kept aside", func(t *testing.T, n *node) {
			n.mustIngest(encode(t, still("1.2", "1.2.1", "1.1.1.1"), explicitLE), store.Quarantined)
		}},
		{"a fact whose blob is lost", func(t *testing.T, n *node) {
			n.mustIngest(encode(t, still("1.2", "1.2.1", "1.1.1.1"), explicitLE), store.Quarantined)
			n.delete(n.events(store.EventQuarantined)[0].Blob)
		}},
		{"a blob that no row has yet", func(t *testing.T, n *node) {
			n.orphan(encode(t, still("1.2", "1.2.1", "1.2.1.1"), explicitLE))
		}},
		{"only an object of another kind", func(t *testing.T, n *node) {
			if _, err := n.ingest(explicitLE, failing(t, "1.2")); err == nil {
				t.Fatal("it was stored")
			}
			for _, key := range n.studyKeys() {
				name := strings.TrimSuffix(key, "key") + "00000000000000000000000000000000-derived"
				if err := n.blobs.Put(t.Context(), name, 0, func(io.Writer) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a row whose blob is lost, and may come back from a backup", func(t *testing.T, n *node) {
			n.mustIngest(encode(t, still("1.2", "1.2.1", "1.2.1.1"), explicitLE), store.Stored)
			n.delete(n.events(store.EventStored)[1].Blob)
		}},
		{"a record whose row and blob are lost", func(t *testing.T, n *node) {
			n.mustIngest(encode(t, still("1.2", "1.2.1", "1.2.1.1"), explicitLE), store.Stored)
			row, _, _ := n.index.Locate(t.Context(), "1.2.1.1")
			if err := n.index.Remove(t.Context(), []store.Row{row}, n.index.Covered()); err != nil {
				t.Fatal(err)
			}
			n.delete(n.events(store.EventStored)[1].Blob)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			n.mustIngest(first, store.Stored)
			c.set(t, n)
			keys := n.studyKeys()
			if len(keys) != 2 {
				t.Fatalf("%d keys, want 2", len(keys))
			}
			n.mustSweep(0)
			n.mustSweep(0) // what the first one did to the study's objects changes nothing
			if got := n.studyKeys(); !slices.Equal(got, keys) {
				t.Errorf("%d keys remain, want 2", len(got))
			}
		})
	}
}

// A journal that was lost, and begun anew, says nothing of what was stored before:
// then a key stays although a bucket does not list what it opens.
func TestSweepLeavesKeysThatAreOlderThanTheJournal(t *testing.T) {
	n := newHooked(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	n.archive.Close()
	n.blobs.(*hooked).hidden = n.events(store.EventStored)[0].Blob
	n.index, n.journal = new(storetest.Index), &storetest.Journal{Time: time.Now().Add(time.Hour)}
	n.start()
	n.mustSweep(0) // nothing is recorded yet
	n.mustIngest(encode(t, still("1.2", "1.2.1", "1.2.1.1"), explicitLE), store.Stored)
	n.mustSweep(0)
	if keys := n.studyKeys(); len(keys) != 2 {
		t.Errorf("%d keys remain, want 2", len(keys))
	}
}

func (n *node) delete(name string) {
	n.t.Helper()
	if err := n.blobs.Delete(n.t.Context(), name); err != nil {
		n.t.Fatal(err)
	}
}

// A sender may take longer than a day: whenever a sweep comes, the key of what
// is coming in stays.
func TestSweepLeavesTheKeyOfWhatComesIn(t *testing.T) {
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	late := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { // tells its study too late for the prologue
		d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
		d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.OB, make([]byte, 2<<20))
	}), explicitLE)
	for _, c := range []struct {
		name string
		sent []byte
		hook func(n *node, sweep func())
	}{
		{"while the key is made", sent, func(n *node, sweep func()) {
			n.blobs.(*hooked).afterPut = func(name string) {
				if isStudyKey(name) {
					sweep()
				}
			}
		}},
		{"while the blob is written", sent, func(n *node, sweep func()) {
			n.blobs.(*hooked).inPut = func(string) { sweep() }
		}},
		{"while it is recorded", sent, func(n *node, sweep func()) {
			n.journal.Before(func(e store.Event) {
				if e.Kind == store.EventStored {
					sweep()
				}
			})
		}},
		{"while the blob is written under a key of its own", late, func(n *node, sweep func()) {
			n.blobs.(*hooked).inPut = func(string) { sweep() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newHooked(t)
			sweeps := 0
			c.hook(n, func() { sweeps++; n.mustSweep(0) })
			n.mustIngest(c.sent, store.Stored)
			if sweeps != 1 {
				t.Fatalf("%d sweeps, want 1", sweeps)
			}
			n.keyed(1)
			n.mustSweep(0)
			n.keyed(1)
		})
	}
}

// What a sweep has read is older than its decisions: an ingest that ends in
// between is in neither the listing nor the journal, and has no key in use.
func TestSweepLeavesTheKeyOfWhatCameInMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name string
		hook func(n *node, f func())
	}{
		{"after the listing", func(n *node, f func()) { n.blobs.(*hooked).afterList = f }},
		{"after the journal was read", func(n *node, f func()) {
			n.archive.Close()
			j := &lateReplay{Journal: n.journal}
			n.config = func(cfg *store.Config) { cfg.Journal = j }
			n.start()
			j.after = f
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newHooked(t)
			if _, err := n.ingest(explicitLE, failing(t, "1.2")); err == nil { // so that the journal is read
				t.Fatal("it was stored")
			}
			keyMade, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
			n.blobs.(*hooked).inPut = func(string) { close(keyMade); <-goOn }
			c.hook(n, func() {
				close(goOn)
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			go func() {
				_, err := n.ingest(explicitLE, encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE))
				done <- err
			}()
			<-keyMade
			n.mustSweep(1)
			n.keyed(1)
		})
	}
}

// lateReplay is a journal that is read a moment before what it yields is looked
// at, but for the first record.
type lateReplay struct {
	*storetest.Journal
	after func()
}

func (j *lateReplay) Replay(ctx context.Context, from store.Position) iter.Seq2[store.Recorded, error] {
	return func(yield func(store.Recorded, error) bool) {
		var all []store.Recorded
		for recorded, err := range j.Journal.Replay(ctx, from) {
			if err != nil {
				yield(recorded, err)
				return
			}
			all = append(all, recorded)
		}
		for i, recorded := range all {
			if !yield(recorded, nil) {
				return // who asks for the first one only
			}
			if i == 0 && j.after != nil {
				j.after()
			}
		}
	}
}

// hooked calls back where a test wants something to happen in between.
type hooked struct {
	store.Blobs
	inPut     func(name string) // before the bytes of an instance
	afterPut  func(name string) // when it is durable, before Put returns
	afterList func()            // once, when all was listed and nothing yielded
	hidden    string            // is not listed
}

func newHooked(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.archive.Close()
	n.blobs = &hooked{Blobs: new(mem.Blobs)}
	n.keys = keyring(t, n.blobs) // keys too go through the hooks
	n.start()
	return n
}

func (h *hooked) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	err := h.Blobs.Put(ctx, name, size, func(w io.Writer) error {
		if _, _, _, instance := seal.ParseObjectName(name); instance && h.inPut != nil {
			h.inPut(name)
		}
		return write(w)
	})
	if err == nil && h.afterPut != nil {
		h.afterPut(name)
	}
	return err
}

func (h *hooked) List(ctx context.Context, prefix string) iter.Seq2[store.BlobInfo, error] {
	return func(yield func(store.BlobInfo, error) bool) {
		var all []store.BlobInfo
		for info, err := range h.Blobs.List(ctx, prefix) {
			if err != nil {
				yield(info, err)
				return
			}
			all = append(all, info)
		}
		if after := h.afterList; after != nil {
			h.afterList = nil
			after()
		}
		for _, info := range all {
			if info.Name != h.hidden && !yield(info, nil) {
				return
			}
		}
	}
}
