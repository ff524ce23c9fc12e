package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/blob/mem"
	"lumen/store/blob/stage"
	"lumen/store/seal"
	"lumen/store/storetest"
)

// disk is an archive whose objects and root key lie on a file system that fails
// and crashes.
type disk struct {
	t       *testing.T
	log     bool // objects go to a write log first
	fs      *durable.Mem
	index   *storetest.Index
	journal *storetest.Journal
	clock   clock
	power   *durable.Faults // of what runs since the last crash
}

// start opens an archive on what is on the disk, through fsys. Its parts end
// with the test at the latest.
func (d *disk) start(fsys durable.FS) (_ *store.Archive, err error) {
	d.power = durable.NewFaults(fsys)
	fsys = d.power
	var blobs store.Blobs
	if blobs, err = dir.New(fsys, "data/blobs"); err != nil {
		return nil, err
	}
	if d.log {
		log, err := stage.Open(stage.Config{FS: fsys, Dir: "data/stage", Next: blobs, Segments: 2, SegmentSize: 64 << 10, Quiet: time.Hour})
		if err != nil {
			return nil, err
		}
		d.t.Cleanup(func() { log.Close(context.Background()) }) // on a disk that is broken, or gone
		blobs = log
	}
	if err := fsys.MkdirAll("data/keys", 0o700); err != nil {
		return nil, err
	}
	keys, err := seal.OpenKeyring(d.t.Context(), seal.KeyringConfig{
		Root: seal.FileRoot(fsys, "data/keys/root"), Objects: blobs, Tenant: access.DefaultTenant, Create: true,
	})
	if err != nil {
		return nil, err
	}
	return store.Open(d.t.Context(), store.Config{Blobs: blobs, Index: d.index, Journal: d.journal, Keys: keys, Clock: &d.clock, NoSweep: true})
}

// step is one instance that is sent.
type step struct {
	uid     string
	patient string
}

var script = []step{
	{"1.1.1.1", "A"}, {"1.1.1.2", "A"}, {"1.1.1.1", "A"}, {"1.1.1.1", "B"}, {"1.2.1.1", "A"}, {"1.1.1.1", "B"},
}

func (s step) data(t *testing.T) []byte {
	return encode(t, still(s.uid[:3], s.uid[:5], s.uid, func(d *dicom.DataSet) { d.SetString(dict.PatientID, s.patient) }), explicitLE)
}

// run sends the script and returns what was acknowledged.
func (d *disk) run(a *store.Archive) map[step]store.IngestOutcome {
	acked := map[step]store.IngestOutcome{}
	for i, s := range script {
		r, err := a.Ingest(d.t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, bytes.NewReader(s.data(d.t)))
		if err == nil {
			if _, ok := acked[s]; !ok {
				acked[s] = r.Outcome
			}
		}
		if i == 1 {
			d.index.Sync(d.t.Context())
		}
	}
	return acked
}

// Invariants 1, 3 and 8, at every operation on the file system: it fails with
// all that follow, or takes effect and then fails; the power goes, and what was
// not synced is there or not, as it happens. What was acknowledged is there
// afterwards, nothing is half there, and the archive explains all it has.
func TestCrashAtEveryOperation(t *testing.T) {
	t.Run("files", func(t *testing.T) { crashAtEveryOperation(t, false) })
	t.Run("write log", func(t *testing.T) { crashAtEveryOperation(t, true) })
}

func crashAtEveryOperation(t *testing.T, log bool) {
	for _, persists := range []bool{false, true} {
		for at := 0; ; at++ {
			d := &disk{t: t, log: log, fs: durable.NewMem(0), index: &storetest.Index{Lag: true}, journal: new(storetest.Journal), clock: clock{now: time.Now()}}
			faults := durable.NewFaults(d.fs)
			faults.Inject(durable.Fault{After: at, Persists: persists})
			var acked map[step]store.IngestOutcome
			if a, err := d.start(faults); err == nil {
				acked = d.run(a)
				a.Close()
			}
			done := faults.Count("") <= at
			d.crash(uint64(at))
			d.verify(fmt.Sprintf("fault at operation %d, persists %v", at, persists), acked)
			if done {
				if len(acked) != 4 {
					t.Fatalf("without a fault %d of 4 were acknowledged", len(acked))
				}
				break
			}
			if t.Failed() {
				return
			}
		}
	}
}

func (d *disk) crash(seed uint64) {
	d.power.Inject(durable.Fault{}) // what still runs in the background reaches the disk no more
	d.fs.Crash(rand.New(rand.NewPCG(seed, 1)))
	d.index, d.journal = d.index.Crash(), d.journal.Crash()
}

func (d *disk) verify(when string, acked map[step]store.IngestOutcome) {
	t := d.t
	t.Helper()
	a, err := d.start(d.fs)
	if err != nil {
		t.Fatalf("%s: start: %v", when, err)
	}
	defer a.Close()
	n := &node{t: t, archive: a}
	stored := map[string]bool{}
	aside := 0
	for s, outcome := range acked {
		if outcome == store.Quarantined {
			aside++
			continue
		}
		stored[s.uid] = true
		if got := n.instance(s.uid); !bytes.Equal(got, s.data(t)) {
			t.Errorf("%s: acknowledged instance is not there or differs", when)
		}
	}
	found := n.find()
	for uid := range stored {
		if !slices.Contains(found, uid) {
			t.Errorf("%s: acknowledged instance is not found", when)
		}
	}
	before := n.sound()
	if _, err := a.Sweep(t.Context()); err != nil {
		t.Fatalf("%s: sweep: %v", when, err)
	}
	after := n.sound()
	if after.Unadopted != 0 || after.Quarantined < aside || after.Instances < len(stored) || after.Instances < before.Instances {
		t.Errorf("%s: acknowledged %v, before the sweep %+v, after it %+v", when, maps.Values(acked), before, after)
	}
	// What is left over goes when it is old, and nothing else: not a key, which the
	// start after one more crash has to read.
	d.clock.advance(2 * store.SweepAge)
	if _, err := a.Sweep(t.Context()); err != nil {
		t.Fatalf("%s: sweep of what is old: %v", when, err)
	}
	a.Close()
	d.crash(1)
	if a, err = d.start(d.fs); err != nil {
		t.Fatalf("%s: start after the sweeps: %v", when, err)
	}
	defer a.Close()
	n.archive = a
	if old := n.sound(); old.Unadopted != 0 || old.Quarantined != after.Quarantined || old.Instances != after.Instances {
		t.Errorf("%s: after the sweep %+v, after that of what is old %+v", when, after, old)
	}
	for s, outcome := range acked {
		if outcome != store.Quarantined {
			if got := n.instance(s.uid); !bytes.Equal(got, s.data(t)) {
				t.Errorf("%s: acknowledged instance differs after the sweeps", when)
			}
		}
	}
}

// instance returns the bytes of one instance of the script; nil when it is not
// there.
func (n *node) instance(uid string) []byte {
	r, err := n.archive.Open(n.t.Context(), tower, viewing, store.Selection{StudyInstanceUID: uid[:3], SOPInstanceUIDs: []string{uid}})
	if err != nil {
		return nil
	}
	defer r.Close(nil)
	data, err := r.Instances()[0].DataSet(n.t.Context())
	if err != nil {
		n.t.Error(err)
		return nil
	}
	return readAll(n.t, data)
}

// Invariant 2: a failed sync is fatal. The error says so, and nothing is undone
// on the strength of what is not known any more.
func TestAFailedSyncIsFatal(t *testing.T) {
	d := &disk{t: t, fs: durable.NewMem(0), index: new(storetest.Index), journal: new(storetest.Journal), clock: clock{now: time.Now()}}
	faults := durable.NewFaults(d.fs)
	a, err := d.start(faults)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ingest := func(s step) error {
		_, err := a.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, bytes.NewReader(s.data(t)))
		return err
	}
	faults.Inject(durable.Fault{Op: durable.OpSync, Times: 1})
	if err := ingest(script[0]); !durable.IsFatal(err) {
		t.Errorf("failed sync of a blob: %v", err)
	}
	d.journal.Fail(fmt.Errorf("journal: %w", durable.ErrSync), true)
	if err := ingest(script[1]); !durable.IsFatal(err) || !errors.Is(err, store.ErrJournal) {
		t.Errorf("failed sync of the journal: %v", err)
	}
	// The record had reached the disk: so the blob must still be there.
	d.journal.Fail(nil, false)
	d.index = new(storetest.Index)
	b, err := d.start(d.fs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := (&node{t: t, archive: b}).instance(script[1].uid); !bytes.Equal(got, script[1].data(t)) {
		t.Error("the instance whose record is durable is gone")
	}
}

func TestAFullDiskRefusesAndRecovers(t *testing.T) {
	blobs := &mem.Blobs{}
	n := newNode(t, func(cfg *store.Config) { cfg.Blobs = blobs })
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	blobs.Capacity = 4 << 10
	large := encode(t, still("1.1", "1.1.1", "1.1.1.2", func(d *dicom.DataSet) {
		d.SetBytes(dict.PixelData, dict.OW, make([]byte, 100_000))
	}), explicitLE)
	if _, err := n.ingest(explicitLE, large); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("error = %v", err)
	}
	if e := n.events(store.EventRefused); len(e) != 1 || e[0].Detail["reason"] != "no_space" {
		t.Errorf("refused events = %+v", e)
	}
	blobs.Capacity = 0
	n.mustIngest(large, store.Stored)
	n.sound()
}

// Invariant 9: the index is derived from the blobs alone.
func TestRebuild(t *testing.T) {
	n := newNode(t)
	want := map[string][]byte{}
	for i := range 10 {
		uid := fmt.Sprintf("1.%d.1.%d", i%2, i)
		want[uid] = encode(t, still(uid[:3], uid[:5], uid, func(d *dicom.DataSet) { d.SetInt(dict.InstanceNumber, 10-i) }), explicitLE)
		n.mustIngest(want[uid], store.Stored)
		n.clock.advance(time.Second)
	}
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE), store.Quarantined)
	before := map[string]store.Row{}
	for uid := range want {
		before[uid], _, _ = n.index.Locate(t.Context(), uid)
	}
	n.archive.Close()

	n.index = new(storetest.Index)
	report, err := store.Rebuild(t.Context(), store.Config{Blobs: n.blobs, Index: n.index, Journal: n.journal, Keys: n.keys})
	if err != nil || report != (store.RebuildReport{Instances: 10, Quarantined: 1}) {
		t.Fatalf("rebuild = %+v, %v", report, err)
	}
	if int(n.index.Covered()) != len(n.journal.Events()) {
		t.Errorf("covered = %d of %d", n.index.Covered(), len(n.journal.Events()))
	}
	for uid, row := range before {
		again, found, _ := n.index.Locate(t.Context(), uid)
		if !found || again.Blob != row.Blob || again.Sequence != row.Sequence || again.Digest != row.Digest ||
			again.CallingAE != row.CallingAE || again.Principal != row.Principal || !again.Received.Equal(row.Received) {
			t.Errorf("row = %+v, was %+v", again, row)
		}
	}
	n.start()
	if got := n.find(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("after the rebuild a search finds %v", got)
	}
	if r := n.sound(); r.Instances != 10 || r.Quarantined != 1 || r.Unadopted != 0 {
		t.Errorf("check = %+v", r)
	}
}

// Invariant 9: without quarantine facts too, the instance that came first wins.
func TestRebuildKeepsTheFirstOfTwo(t *testing.T) {
	n := newNode(t)
	first := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	n.mustIngest(first, store.Stored)
	n.orphan(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE))
	n.orphan(first)
	n.archive.Close()
	n.index = new(storetest.Index)
	report, err := store.Rebuild(t.Context(), store.Config{Blobs: n.blobs, Index: n.index, Journal: n.journal, Keys: n.keys})
	if err != nil || report != (store.RebuildReport{Instances: 1, Duplicates: 1, Conflicts: 1}) {
		t.Fatalf("rebuild = %+v, %v", report, err)
	}
	n.start()
	if !bytes.Equal(n.stored("1.1"), first) {
		t.Error("the second instance won")
	}
}
