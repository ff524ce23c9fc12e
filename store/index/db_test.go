package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/index"
)

func TestRowsAreFoundAtOnceAndAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	db := open(t, path)
	put(t, db, 7, row("1.1", "1.1.1", "1.1.1.1", dict.PatientName, "A^B", dict.Modality, "ES"))
	check := func(db *index.DB) {
		t.Helper()
		r, ok, err := db.Locate(t.Context(), "1.1.1.1")
		if err != nil || !ok || r.StudyInstanceUID != "1.1" || r.Size != 1000 || r.Blob.ID[0] != '1' {
			t.Errorf("locate: %v, %v", ok, err)
		}
		handle, ok, err := db.StudyHandle(t.Context(), "1.1")
		if err != nil || !ok || handle != r.Blob.Study {
			t.Errorf("study handle: %v, %v", ok, err)
		}
	}
	check(db)
	if _, ok, err := db.Locate(t.Context(), "1.1.1.2"); ok || err != nil {
		t.Errorf("found what is not there: %v", err)
	}
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(db)
	if got := db.Covered(); got != 7 {
		t.Errorf("covered %d", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	defer db.Close()
	check(db)
	if got := db.Covered(); got != 7 {
		t.Errorf("covered %d after reopening", got)
	}
	if got, want := db.Stats(), (index.Stats{Studies: 1, Series: 1, Instances: 1, Bytes: 1000}); got != want {
		t.Errorf("stats %+v", got)
	}
	if got := studies(search(t, db, query(t, store.StudyLevel, dict.PatientName, "a^*"))); !slices.Equal(got, []string{"1.1"}) {
		t.Errorf("search found %d", len(got))
	}
}

func TestASecondPutOfAnInstanceReplacesIt(t *testing.T) {
	db := fresh(t)
	put(t, db, 1, row("1", "1.1", "1.1.1", dict.Modality, "ES"))
	again := row("1", "1.1", "1.1.1", dict.Modality, "ES")
	again.Size = 50
	put(t, db, 2, again)
	moved := row("2", "2.1", "1.1.1", dict.Modality, "SR")
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := db.Stats(), (index.Stats{Studies: 1, Series: 1, Instances: 1, Bytes: 50}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	put(t, db, 3, moved)
	if got := studies(search(t, db, query(t, store.StudyLevel))); !slices.Equal(got, []string{"2"}) {
		t.Errorf("studies %v", got)
	}
	if got, want := db.Stats(), (index.Stats{Studies: 1, Series: 1, Instances: 1, Bytes: 1000}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestRemove(t *testing.T) {
	db := fresh(t)
	first, second := row("1", "1.1", "1.1.1", dict.Modality, "ES"), row("1", "1.2", "1.2.1", dict.Modality, "SR")
	put(t, db, 1, first, second)
	if err := db.Remove(t.Context(), []store.Row{first}, 2); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.Locate(t.Context(), "1.1.1"); ok || err != nil {
		t.Errorf("a removed row is found: %v", err)
	}
	m := search(t, db, query(t, store.StudyLevel, dict.ModalitiesInStudy, "", dict.NumberOfStudyRelatedSeries, ""))
	if len(m) != 1 || m[0].Attributes.String(dict.ModalitiesInStudy) != "SR" || m[0].Attributes.String(dict.NumberOfStudyRelatedSeries) != "1" {
		t.Errorf("the study is not what is left: %d", len(m))
	}
	if err := db.Remove(t.Context(), []store.Row{second, second}, 3); err != nil {
		t.Fatal(err)
	}
	if got := search(t, db, query(t, store.StudyLevel)); len(got) != 0 {
		t.Errorf("%d studies are left", len(got))
	}
	if got := db.Stats(); got != (index.Stats{}) || db.Covered() != 3 {
		t.Errorf("stats %+v, covered %d", got, db.Covered())
	}
	if _, ok, err := db.StudyHandle(t.Context(), "1"); ok || err != nil {
		t.Errorf("an empty study has a handle: %v", err)
	}
}

func TestFirstReceivedWinsAndConflictsAreCounted(t *testing.T) {
	db := fresh(t)
	put(t, db, 1,
		row("1", "1.1", "1.1.1", dict.PatientName, "First", dict.PatientID, ""),
		row("1", "1.1", "1.1.2", dict.PatientName, "Second", dict.PatientID, "7", dict.StudyDescription, "late"),
		row("1", "1.1", "1.1.3", dict.PatientName, "First ", dict.PatientID, "7"))
	q := query(t, store.StudyLevel)
	q.All = true
	m := search(t, db, q)
	if len(m) != 1 {
		t.Fatalf("%d studies", len(m))
	}
	for tag, want := range map[dicom.Tag]string{dict.PatientName: "First", dict.PatientID: "7", dict.StudyDescription: "late"} {
		if got := m[0].Attributes.String(tag); got != want {
			t.Errorf("%v is %q, want %q", tag, got, want)
		}
	}
	if got := db.Stats().Conflicts; got != 1 {
		t.Errorf("%d conflicts", got)
	}
}

func TestInstancesAreInOrder(t *testing.T) {
	db := fresh(t)
	var rows []store.Row
	var want []string
	for s := range 3 {
		for i := range 700 * (1 + s%2) { // more than are kept in memory in the second series
			rows = append(rows, row("1", fmt.Sprintf("1.%d", s), fmt.Sprintf("1.%d.%d", s, i),
				dict.SeriesNumber, s, dict.InstanceNumber, i))
			want = append(want, rows[len(rows)-1].SOPInstanceUID)
		}
	}
	shuffled := slices.Clone(rows)
	slices.SortFunc(shuffled, func(a, b store.Row) int {
		return int(a.SOPInstanceUID[len(a.SOPInstanceUID)-1]) - int(b.SOPInstanceUID[len(b.SOPInstanceUID)-1])
	})
	put(t, db, 1, shuffled...)
	put(t, db, 2, row("2", "2.1", "2.1.1"))
	for _, c := range []struct {
		name string
		sel  store.Selection
		want []string
	}{
		{"study", store.Selection{StudyInstanceUID: "1"}, want},
		{"series", store.Selection{StudyInstanceUID: "1", SeriesInstanceUID: "1.1"}, want[700:2100]},
		{"series alone", store.Selection{SeriesInstanceUID: "1.1"}, want[700:2100]},
		{"instances", store.Selection{StudyInstanceUID: "1", SOPInstanceUIDs: []string{"1.2.5", "1.0.9", "1.0.9", "2.1.1", "9"}}, []string{"1.0.9", "1.2.5"}},
		{"instance of another series", store.Selection{StudyInstanceUID: "1", SeriesInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.2.5"}}, nil},
		{"no such study", store.Selection{StudyInstanceUID: "3"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := instances(t, db, c.sel); !slices.Equal(got, c.want) {
				t.Errorf("%d instances, want %d, or another order", len(got), len(c.want))
			}
		})
	}
	if got := instances(t, db, store.Selection{}); len(got) != len(want)+1 {
		t.Errorf("%d instances in all, want %d", len(got), len(want)+1)
	}
}

func TestFilesThatCannotBeUsedSaySo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	db := open(t, path)
	var rows []store.Row
	for i := range 2000 {
		rows = append(rows, row(fmt.Sprintf("1.%d", i), fmt.Sprintf("1.%d.1", i), fmt.Sprintf("1.%d.1.1", i), dict.PatientName, "Planted^Name"))
	}
	put(t, db, 1, rows...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := config(path)
	other.Tenant[0]++
	if _, err := index.Open(t.Context(), other); !errors.Is(err, index.ErrRebuild) {
		t.Errorf("another tenant: %v", err)
	}
	for name, damage := range map[string]func(b []byte) []byte{
		"not a database": func(b []byte) []byte { return make([]byte, len(b)) },
		"cut":            func(b []byte) []byte { return b[:len(b)/2] },
		"flipped values": func(b []byte) []byte {
			for i := 4 * 4096; i < len(b); i += 512 {
				b[i] ^= 0x40
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index")
			if err := os.WriteFile(path, damage(slices.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := index.Open(t.Context(), config(path))
			if err == nil { // then reading tells
				for _, err = range db.Instances(context.Background(), store.Selection{}) {
					if err != nil {
						break
					}
				}
				_ = db.Close()
			}
			if !errors.Is(err, index.ErrRebuild) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSearchForInstancesWithoutAStudyHasABudget(t *testing.T) {
	db := fresh(t)
	var rows []store.Row
	for i := range 300 {
		rows = append(rows, row(fmt.Sprintf("1.%d", i), fmt.Sprintf("1.%d.1", i), fmt.Sprintf("1.%d.1.1", i), dict.StudyDate, 20200101+i%28))
	}
	put(t, db, 1, rows...)
	db.SetBudget(100)
	found, stopped := 0, false
	newest := ""
	for m, err := range db.Search(t.Context(), query(t, store.InstanceLevel, dict.StudyDate, "")) {
		if err != nil {
			stopped = errors.Is(err, store.ErrBudget)
			break
		}
		if found == 0 {
			newest = m.Attributes.String(dict.StudyDate)
		}
		found++
	}
	if !stopped || found == 0 || found > 100 || newest != "20200128" {
		t.Errorf("%d found from %s on, stopped %v", found, newest, stopped)
	}
	if got := search(t, db, query(t, store.InstanceLevel, dict.StudyInstanceUID, "1.299")); len(got) != 1 {
		t.Errorf("with a study, %d found", len(got))
	}
	if got := search(t, db, query(t, store.StudyLevel)); len(got) != 300 {
		t.Errorf("%d studies found", len(got))
	}
}

func TestANewRecordKeyIsUsedWhenOneIsSpent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	c := config(path)
	versions := map[uint32]bool{}
	key := c.RecordKey
	c.RecordKey = func(version uint32) ([]byte, error) {
		versions[version] = true
		return key(version)
	}
	db, err := index.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, 1, row("1", "1.1", "1.1.1"))
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.SpendRecordKey(2)
	put(t, db, 2, row("1", "1.1", "1.1.2"))
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, db, 3, row("2", "2.1", "2.1.1"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !versions[1] || !versions[2] || len(versions) != 2 {
		t.Errorf("record keys used: %v", versions)
	}
	db = open(t, path)
	defer db.Close()
	if got := instances(t, db, store.Selection{}); len(got) != 3 {
		t.Errorf("%d instances after reopening", len(got))
	}
}

// A failing disk ends the process, although nobody waits for the transaction
// that it fails beneath.
func TestAFailedWriteIsFatal(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "index"))
	key := c.RecordKey
	c.RecordKey = func(version uint32) ([]byte, error) {
		if version > 1 {
			return nil, syscall.EIO
		}
		return key(version)
	}
	fatal := make(chan error, 100)
	c.Fatal = func(err error) { fatal <- err }
	db, err := index.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SpendRecordKey(1)
	put(t, db, 1, row("1", "1.1", "1.1.1"))
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(fatal) > 0 {
		t.Fatal("fatal without a fault")
	}
	put(t, db, 2, row("1", "1.1", "1.1.2"))
	if err := <-fatal; !durable.IsFatal(err) {
		t.Errorf("error = %v", err)
	}
}

// What is planted in rows must not be in the file, in any form.
func TestTheFileHoldsNothingReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	db := open(t, path)
	r := row("1.2.3.4.5.77777", "1.2.3.4.5.88888", "1.2.3.4.5.99999", dict.PatientName, "Planted^Person", dict.PatientID, "PLANT-4711",
		dict.AccessionNumber, "ACC4711", dict.StudyDate, "19630527", dict.StudyDescription, "planted description", dict.Modality, "ES")
	r.CallingAE, r.Principal = "PLANTEDTOWER", "ae:PLANTEDTOWER"
	put(t, db, 1, r)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{"77777", "88888", "99999", "Planted", "planted", "PLANT", "4711", "19630527", dict.UIDVLEndoscopicImageStorage} {
		wide := ""
		for _, c := range planted {
			wide += string(c) + "\x00"
		}
		for _, form := range []string{planted, wide, fmt.Sprintf("%x", planted)} {
			if bytes.Contains(b, []byte(form)) {
				t.Errorf("%q is in the file", form)
			}
		}
	}
}

func TestMetricsCountWhatIsThere(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "index"))
	registry := prometheus.NewPedanticRegistry()
	c.Registerer = registry
	db, err := index.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put(t, db, 1, row("1", "1.1", "1.1.1"), row("1", "1.1", "1.1.2"))
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"lumen_index_pending_rows": 0, "lumen_index_studies": 1, "lumen_index_series": 1,
		"lumen_index_instances": 2, "lumen_index_stored_bytes": 2000, "lumen_index_conflicts": 0}
	for _, f := range families {
		if got := f.GetMetric()[0].GetGauge().GetValue(); got != want[f.GetName()] {
			t.Errorf("%s is %v, want %v", f.GetName(), got, want[f.GetName()])
		}
		delete(want, f.GetName())
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestAClosedIndexSaysSo(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "index"))
	put(t, db, 1, row("1", "1.1", "1.1.1"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Put(t.Context(), []store.Row{row("1", "1.1", "1.1.2")}, 2); !errors.Is(err, store.ErrClosed) {
		t.Errorf("put: %v", err)
	}
	if _, _, err := db.Locate(t.Context(), "1.1.1"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("locate: %v", err)
	}
	for _, err := range db.Search(t.Context(), query(t, store.StudyLevel)) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("search: %v", err)
		}
	}
}

// A study's record is opened and written with each of its instances, so what a
// peer makes up must not make it grow without end.
func TestMadeUpModalitiesAreBounded(t *testing.T) {
	db := fresh(t)
	long := strings.Repeat("X", 2000)
	put(t, db, 1, row("1", "1.0", "1.0.1", dict.Modality, long))
	for i := 1; i < 300; i++ {
		series := fmt.Sprintf("1.%d", i)
		put(t, db, store.Position(i+1), row("1", series, series+".1", dict.Modality, fmt.Sprintf("M%03d", i)))
	}
	m := search(t, db, query(t, store.StudyLevel, dict.ModalitiesInStudy, "", dict.NumberOfStudyRelatedSeries, ""))
	if len(m) != 1 {
		t.Fatalf("%d studies", len(m))
	}
	got := m[0].Attributes.Strings(dict.ModalitiesInStudy)
	if len(got) != 128 || slices.Contains(got, long) || m[0].Attributes.String(dict.NumberOfStudyRelatedSeries) != "300" {
		t.Errorf("%d modalities in %s series", len(got), m[0].Attributes.String(dict.NumberOfStudyRelatedSeries))
	}
}
