package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/storetest"
)

// Invariant 1: what is acknowledged is durable, in this order: key, blob,
// journal. At the moment of the append the blob must be whole in Blobs.
func TestTheBlobIsDurableBeforeItsRecord(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	seen := false
	n.journal.Before(func(e store.Event) {
		if e.Kind != store.EventStored {
			return
		}
		seen = true
		if _, err := n.blobs.Stat(t.Context(), e.Blob); err != nil {
			t.Errorf("the blob at the time of its record: %v", err)
		}
		if _, found, _ := n.index.Locate(t.Context(), "1.1.1.1"); found {
			t.Error("the row was put before the record was durable")
		}
	})
	n.mustIngest(sent, store.Stored)
	if !seen {
		t.Error("nothing was journaled")
	}
	if e := n.events(store.EventStored); len(e) != 1 || e[0].StudyInstanceUID != "1.1" || e[0].PatientID != "P-4711" ||
		e[0].Principal != tower || e[0].Request != request || !slices.Equal(e[0].Instances, []string{"1.1.1.1"}) ||
		e[0].Counts != (store.Counts{Instances: 1, Bytes: int64(len(sent))}) {
		t.Errorf("event = %+v", e)
	}
}

// Invariant 1: the index may lose everything that was not durable in it; the
// journal and the blobs bring it back, in any interleaving of many ingests.
func TestRestartReplaysTheJournal(t *testing.T) {
	n := newNode(t)
	n.index.Lag = true
	var want []string
	sent := map[string][]byte{}
	for i := range 5 {
		uid := fmt.Sprintf("1.1.1.%d", i)
		sent[uid] = encode(t, still("1.1", "1.1.1", uid), explicitLE)
		n.mustIngest(sent[uid], store.Stored)
		want = append(want, uid)
		if i == 2 {
			n.index.Sync(t.Context()) // the first ones are durable in the index
		}
	}
	if got := n.find(); !slices.Equal(got, want) {
		t.Errorf("before the crash a search finds %v", got)
	}
	n.crash()
	if got := n.find(); !slices.Equal(got, want) {
		t.Errorf("after the crash a search finds %v, want %v", got, want)
	}
	n.sound()
	for _, i := range n.open(store.Selection{StudyInstanceUID: "1.1"}).Instances() {
		data, err := i.DataSet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readAll(t, data), sent[i.SOPInstanceUID]) {
			t.Errorf("instance %s differs", i.SOPInstanceUID)
		}
	}
	// A second crash right away: nothing is replayed twice or lost.
	n.crash()
	if got := n.find(); !slices.Equal(got, want) {
		t.Errorf("after a second crash a search finds %v", got)
	}
}

// Invariant 1: an ingest that has appended and not yet put holds back the
// position that others may cover. Here the later one is put and durable when
// the node crashes.
func TestCoveredWaitsForTheSlowest(t *testing.T) {
	n := newNode(t)
	inPut, goOn := make(chan struct{}), make(chan struct{})
	slow := &slowIndex{Index: n.index, uid: "1.1.1.1", inPut: inPut, goOn: goOn}
	n.config = func(cfg *store.Config) { cfg.Index = slow }
	n.archive.Close()
	n.start()

	done := make(chan error)
	go func() {
		_, err := n.ingest(explicitLE, encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE))
		done <- err
	}()
	<-inPut
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE), store.Stored)
	index, journal := n.index.Crash(), n.journal.Crash()
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n.archive.Close()

	n.index, n.journal, n.config = index, journal, nil
	n.start()
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1", "1.1.1.2"}) {
		t.Errorf("after the crash a search finds %v", got)
	}
}

// slowIndex waits before it puts one instance.
type slowIndex struct {
	*storetest.Index
	uid         string
	inPut, goOn chan struct{}
}

func (x *slowIndex) Put(ctx context.Context, rows []store.Row, covered store.Position) error {
	if len(rows) == 1 && rows[0].SOPInstanceUID == x.uid {
		x.inPut <- struct{}{}
		<-x.goOn
	}
	return x.Index.Put(ctx, rows, covered)
}

// Invariant 1: a row that could not be put is not acknowledged, and no later
// one covers it: a restart finds it in the journal.
func TestAFailedPutIsFoundAtRestart(t *testing.T) {
	n := newNode(t)
	n.index.Fail(storetest.ErrInjected)
	if _, err := n.ingest(explicitLE, encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)); !errors.Is(err, storetest.ErrInjected) {
		t.Fatalf("error = %v", err)
	}
	n.index.Fail(nil)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE), store.Stored)
	n.crash()
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1", "1.1.1.2"}) {
		t.Errorf("after the crash a search finds %v", got)
	}
}

// Invariant 3: the crash comes after the blob and before its record. Nothing
// was acknowledged; the blob is adopted, and a sender that tries again finds
// its instance there.
func TestACompleteBlobWithoutARecordIsAdopted(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("sent again first: %v", again), func(t *testing.T) {
			n := newNode(t)
			sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
			n.orphan(sent)
			n.crash()
			if again {
				n.mustIngest(sent, store.Stored)
			}
			report, err := n.archive.Sweep(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if again && report.Duplicates != 1 || !again && report.Adopted != 1 {
				t.Errorf("sweep = %+v", report)
			}
			if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) {
				t.Errorf("a search finds %v", got)
			}
			if len(n.events(store.EventRecovered)) != report.Adopted || len(n.instanceBlobs()) != 1 {
				t.Errorf("journal = %v, %d blobs", n.journal.Kinds(), len(n.instanceBlobs()))
			}
			if r := n.sound(); r.Unadopted != 0 || r.Instances != 1 {
				t.Errorf("check = %+v", r)
			}
			if !bytes.Equal(n.stored("1.1"), sent) {
				t.Error("the bytes differ")
			}
			// And the adoption itself survives.
			n.index = new(storetest.Index)
			n.crash()
			if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) {
				t.Errorf("after a crash with an empty index a search finds %v", got)
			}
		})
	}
}

// Invariant 3: a complete blob in conflict with what is there.
func TestABlobInConflictIsKeptAsideByTheSweep(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	n.orphan(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE))
	n.crash()
	report, err := n.archive.Sweep(t.Context())
	if err != nil || report.Quarantined != 1 {
		t.Errorf("sweep = %+v, %v", report, err)
	}
	if r := n.sound(); r.Quarantined != 1 || r.Instances != 1 {
		t.Errorf("check = %+v", r)
	}
	if report, _ := n.archive.Sweep(t.Context()); report.Quarantined != 0 || report.Adopted != 0 {
		t.Errorf("second sweep = %+v", report)
	}
}

// late is a [store.TwoStep] whose objects are durable, and seen, only after
// the wait.
type late struct {
	store.Blobs
	before func(name string) error // is asked when the wait begins
}

func (l *late) Begin(ctx context.Context, name string, size int64, write func(io.Writer) error) (func() error, error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return nil, err
	}
	return func() error {
		if err := l.before(name); err != nil {
			return err
		}
		return l.Blobs.Put(ctx, name, size, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err })
	}, nil
}

// Invariants 1 and 3: blob and record become durable side by side. Nothing is
// acknowledged and nothing is found before both are.
func TestABlobAndItsRecordBecomeDurableSideBySide(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	waited := 0
	n.archive.Close()
	n.blobs = &late{n.blobs, func(name string) error {
		waited++
		if e := n.events(store.EventStored); len(e) != 1 || e[0].Blob != name {
			t.Errorf("the record was not on its way before the wait: %v", n.journal.Kinds())
		}
		if _, found, _ := n.index.Locate(t.Context(), "1.1.1.1"); found {
			t.Error("the row was put before the blob was durable")
		}
		return nil
	}}
	n.start()
	n.mustIngest(sent, store.Stored)
	if waited != 1 || !bytes.Equal(n.stored("1.1"), sent) {
		t.Errorf("waited %d times", waited)
	}
	n.sound()
}

// Invariants 1 and 3: the crash comes after the record and before the blob is
// durable. Nothing was acknowledged; that is recorded, once, and the instance
// can be sent again.
func TestARecordWithoutItsBlobIsNotedAndTheInstanceTakenAgain(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	sound := n.blobs
	n.archive.Close()
	n.blobs = &late{n.blobs, func(string) error { return fmt.Errorf("power is gone: %w", durable.ErrSync) }}
	n.start()
	if _, err := n.ingest(explicitLE, sent); !durable.IsFatal(err) {
		t.Fatalf("error = %v", err)
	}
	n.blobs = sound
	for range 2 {
		n.index = new(storetest.Index)
		n.crash()
		if got := n.find(); len(got) > 0 {
			t.Errorf("a search finds %v", got)
		}
		stored, unstored := n.events(store.EventStored), n.events(store.EventUnstored)
		if len(unstored) != 1 || unstored[0].Blob != stored[0].Blob || unstored[0].StudyInstanceUID != "1.1" {
			t.Fatalf("recorded: %+v", unstored)
		}
	}
	n.sound()
	n.mustIngest(sent, store.Stored)
	n.index = new(storetest.Index)
	n.crash()
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) || !bytes.Equal(n.stored("1.1"), sent) {
		t.Errorf("after it was sent again a search finds %v", got)
	}
	if len(n.events(store.EventUnstored)) != 1 {
		t.Errorf("journal = %v", n.journal.Kinds())
	}
	n.sound()
}

// What is kept aside and lost from the disk since is kept aside again when it is
// sent again.
func TestALostQuarantinedInstanceIsKeptAgain(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	other := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE)
	n.mustIngest(other, store.Quarantined)
	lost := n.events(store.EventQuarantined)[0].Blob
	n.mustIngest(other, store.Quarantined)
	if e := n.events(store.EventQuarantined); len(e) != 2 || e[1].Blob != lost {
		t.Fatalf("sent again it is %+v", e)
	}
	if err := n.blobs.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	n.mustIngest(other, store.Quarantined)
	e := n.events(store.EventQuarantined)
	if _, err := n.blobs.Stat(t.Context(), e[2].Blob); err != nil || e[2].Blob == lost {
		t.Errorf("what was acknowledged is not there: %v", err)
	}
}

// orphan leaves the blob of a data set behind as a crash before its record
// does.
func (n *node) orphan(sent []byte) {
	n.t.Helper()
	n.journal.Fail(storetest.ErrInjected, false)
	n.blobs = &undeletable{n.blobs}
	n.clock.advance(time.Second) // the ingest sequence follows the clock across restarts
	n.archive.Close()
	n.start()
	if _, err := n.ingest(explicitLE, sent); !errors.Is(err, store.ErrJournal) {
		n.t.Fatalf("error = %v", err)
	}
	n.journal.Fail(nil, false)
	n.blobs = n.blobs.(*undeletable).Blobs
}

type undeletable struct{ store.Blobs }

func (undeletable) Delete(context.Context, string) error { return storetest.ErrInjected }

// Invariant 3: what cannot be opened is left for a day and then removed, with
// a record of it.
func TestAnUnreadableBlobIsSweptWhenItIsOld(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	junk := n.instanceBlobs()[0][:66] + "00000000000000000000000000000000"
	if err := n.blobs.Put(t.Context(), junk, -1, func(w io.Writer) error { _, err := w.Write([]byte("junk")); return err }); err != nil {
		t.Fatal(err)
	}
	report, err := n.archive.Sweep(t.Context())
	if err != nil || report.Left != 1 || report.Removed != 0 {
		t.Errorf("sweep = %+v, %v", report, err)
	}
	n.clock.advance(store.SweepAge + time.Minute)
	report, err = n.archive.Sweep(t.Context())
	if err != nil || report.Removed != 1 {
		t.Errorf("sweep a day later = %+v, %v", report, err)
	}
	if e := n.events(store.EventSwept); len(e) != 1 || e[0].Blob != junk {
		t.Errorf("swept events = %+v", e)
	}
	if r := n.sound(); r.Instances != 1 {
		t.Errorf("check = %+v", r)
	}
}

// What was acknowledged is never swept, however it came to be unreadable and
// without a row: by damage and a rebuild, say.
func TestADamagedBlobThatWasStoredIsNeverSwept(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	name := n.instanceBlobs()[0]
	if err := n.blobs.Put(t.Context(), name, -1, func(w io.Writer) error { _, err := w.Write([]byte("junk")); return err }); err != nil {
		t.Fatal(err)
	}
	row, ok, err := n.index.Locate(t.Context(), "1.1.1.1")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := n.index.Remove(t.Context(), []store.Row{row}, n.index.Covered()); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(2 * store.SweepAge)
	report, err := n.archive.Sweep(t.Context())
	if err != nil || report.Removed != 0 || report.Damaged != 1 {
		t.Errorf("sweep = %+v, %v", report, err)
	}
	if _, err := n.blobs.Stat(t.Context(), name); err != nil {
		t.Errorf("the object: %v", err)
	}
}

// A sweep must not take the blob of an ingest that is under way.
func TestSweepLeavesWhatComesIn(t *testing.T) {
	n := newNode(t)
	n.journal.Before(func(e store.Event) {
		if e.Kind != store.EventStored {
			return
		}
		n.clock.advance(2 * store.SweepAge)
		report, err := n.archive.Sweep(t.Context())
		if err != nil || report.Left != 1 || report.Adopted+report.Removed+report.Duplicates != 0 {
			t.Errorf("sweep = %+v, %v", report, err)
		}
	})
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	if n.sound().Instances != 1 {
		t.Error("the instance is gone")
	}
}

// Invariant 2: if the journal cannot append, nothing is served and nothing is
// acknowledged; afterwards everything goes on.
func TestWithoutAJournalNothingIsServed(t *testing.T) {
	n := newNode(t)
	sel := store.Selection{StudyInstanceUID: "1.1"}
	d := still("1.1", "1.1.1", "1.1.1.1")
	n.mustIngest(encode(t, d, explicitLE), store.Stored)
	n.open(sel).Close(nil) // a begin record that would serve for a minute
	n.journal.Fail(storetest.ErrInjected, false)

	for name, data := range map[string]*dicom.DataSet{
		"new":       still("1.1", "1.1.1", "1.1.1.2"),
		"duplicate": d,
		"conflict":  still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }),
	} {
		if _, err := n.ingest(explicitLE, encode(t, data, explicitLE)); !errors.Is(err, store.ErrJournal) {
			t.Errorf("ingest of a %s instance: %v", name, err)
		}
	}
	if _, err := n.archive.Open(t.Context(), tower, viewing, sel); !errors.Is(err, store.ErrJournal) {
		t.Errorf("open: %v", err)
	}
	if _, err := n.archive.Search(t.Context(), tower, viewing, store.NewQuery(store.StudyLevel)); !errors.Is(err, store.ErrJournal) {
		t.Errorf("search: %v", err)
	}
	if _, err := n.archive.Open(t.Context(), access.Principal{}, viewing, sel); !errors.Is(err, store.ErrJournal) {
		t.Errorf("a denial that cannot be recorded: %v", err)
	}
	if blobs := n.instanceBlobs(); len(blobs) != 1 {
		t.Errorf("%d blobs, want 1", len(blobs))
	}
	n.journal.Fail(nil, false)
	n.open(sel).Close(nil)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE), store.Stored)
	n.sound()
}

// Invariant 1: a caller who goes away while the blob is being recorded changes
// nothing: it is recorded and put.
func TestTheCallersPatienceDoesNotCountAfterTheBlob(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	n.journal.Before(func(store.Event) { cancel() })
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	r, err := n.archive.Ingest(ctx, tower, request, store.Incoming{TransferSyntax: explicitLE}, bytes.NewReader(sent))
	if err != nil || r.Outcome != store.Stored {
		t.Fatalf("%v, %v", r.Outcome, err)
	}
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) {
		t.Errorf("a search finds %v", got)
	}
}

// An append that failed, but whose record had reached the disk: the sender was
// told that it failed, so the record may lead to nothing.
func TestARecordWithoutItsBlobLeadsToNoRow(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	n.journal.Fail(storetest.ErrInjected, true)
	if _, err := n.ingest(explicitLE, sent); !errors.Is(err, store.ErrJournal) {
		t.Fatalf("error = %v", err)
	}
	n.journal.Fail(nil, false)
	n.crash()
	n.holdsNothing()
	n.mustIngest(sent, store.Stored)
	n.index = new(storetest.Index)
	n.crash()
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) {
		t.Errorf("a search finds %v", got)
	}
	n.sound()
}
