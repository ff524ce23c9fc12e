package index_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/index"
)

// benchStudies is how many studies the benchmarks search: 100 000, or what
// LUMEN_BENCH_STUDIES says.
func benchStudies(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("LUMEN_BENCH_STUDIES"))
	if err != nil {
		n = 100_000
	}
	return n
}

var (
	families = []string{"MULLER", "SCHMIDT", "GARCIA", "NGUYEN", "SMITH", "JOHNSON", "BROWN", "IVANOVA", "ROSSI", "KOWALSKA", "TANAKA", "SILVA",
		"ANDERSEN", "DUBOIS", "OKAFOR", "HAYASHI", "LINDQVIST", "PETROV", "MORETTI", "VAN DEN BERG"}
	given = []string{"ANNA", "BEN", "CLARA", "DAVID", "ELENA", "FELIX", "GRACE", "HUGO", "IDA", "JONAS", "KAORI", "LUIS", "MARTA", "NILS", "OLGA", "PAUL"}
)

// benchRow is study i of n: one instance, twenty years of dates, two studies a
// patient.
func benchRow(r *rand.Rand, i int) store.Row {
	day := time.Date(2006, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(20*365))
	family := families[r.IntN(len(families))]
	if r.IntN(2) == 0 {
		family += "-" + families[r.IntN(len(families))]
	}
	study := fmt.Sprintf("1.2.826.0.1.3680043.8.498.%d.%d", r.Uint32(), i)
	return row(study, study+".1", study+".1.1",
		dict.PatientName, fmt.Sprintf("%s^%s %c", family, given[r.IntN(len(given))], 'A'+r.IntN(26)),
		dict.PatientID, fmt.Sprintf("PID%07d", i/2), dict.PatientBirthDate, fmt.Sprintf("19%02d0%d1%d", r.IntN(100), 1+r.IntN(9), r.IntN(9)),
		dict.PatientSex, []string{"F", "M", "O"}[r.IntN(3)],
		dict.StudyDate, day.Format("20060102"), dict.StudyTime, fmt.Sprintf("%02d%02d%02d", 7+r.IntN(12), r.IntN(60), r.IntN(60)),
		dict.AccessionNumber, fmt.Sprintf("A%09d", i), dict.StudyID, strconv.Itoa(i), dict.StudyDescription, "Coloscopy with biopsy",
		dict.ReferringPhysicianName, families[r.IntN(len(families))]+"^DR", dict.InstitutionName, "Endoscopy unit",
		dict.Modality, []string{"ES", "ES", "ES", "SR", "XC"}[r.IntN(5)], dict.SeriesNumber, 1, dict.InstanceNumber, 1)
}

// benchIndex opens an index of n studies. It is kept where LUMEN_BENCH_DIR says,
// for the next run.
func benchIndex(b *testing.B, n int) *index.DB {
	dir := os.Getenv("LUMEN_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	path := filepath.Join(dir, fmt.Sprintf("index-%d", n))
	if _, err := os.Stat(path); err != nil {
		r := rand.New(rand.NewPCG(1, 2))
		index.FillStudies(b, config(path), n, func(i int) store.Row { return benchRow(r, i) })
	}
	before := liveHeap()
	began := time.Now()
	db := open(b, path)
	took := time.Since(began)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("opened %d studies in %v; %.0f B of live heap and %d B of file a study",
		n, took, float64(liveHeap()-before)/float64(n), info.Size()/int64(n))
	b.Cleanup(func() { _ = db.Close() })
	return db
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkStudySearch is QIDO's search for studies with a limit of 100, by what
// is asked for. It reports the 50th and 99th percentile.
func BenchmarkStudySearch(b *testing.B) {
	n := benchStudies(b)
	db := benchIndex(b, n)
	one := benchRow(rand.New(rand.NewPCG(1, 2)), 0)
	for _, c := range []struct {
		name string
		keys []any
	}{
		{"none", nil},
		{"date range", []any{dict.StudyDate, "20150301-20150331"}},
		{"old date range", []any{dict.StudyDate, "-20060110"}},
		{"name prefix", []any{dict.PatientName, "kowalska-tanaka^ka*"}},
		{"name prefix, none such", []any{dict.PatientName, "kowalsky*"}},
		{"name infix", []any{dict.PatientName, "*qvist-dub*"}},
		{"name infix, none such", []any{dict.PatientName, "*ttil*"}},
		{"name exact", []any{dict.PatientName, "HAYASHI-OKAFOR^IDA Q"}},
		{"fuzzy name", []any{dict.PatientName, "kowalzka tanaca"}},
		{"fuzzy name, none such", []any{dict.PatientName, "schmitt xavier"}},
		{"patient id", []any{dict.PatientID, fmt.Sprintf("PID%07d", n/4)}},
		{"patient id pattern", []any{dict.PatientID, fmt.Sprintf("*%06d", n/4)}},
		{"accession", []any{dict.AccessionNumber, fmt.Sprintf("A%09d", n/3)}},
		{"study UID", []any{dict.StudyInstanceUID, one.StudyInstanceUID}},
		{"modality", []any{dict.ModalitiesInStudy, "SR"}},
		{"birth date and name", []any{dict.PatientBirthDate, "19550513", dict.PatientName, "m*"}},
		{"modality, name and date", []any{dict.ModalitiesInStudy, "SR", dict.PatientName, "s*", dict.StudyDate, "20100101-20201231"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			found := 0
			for b.Loop() {
				began := time.Now()
				q := store.NewQuery(store.StudyLevel)
				q.Limit, q.Fuzzy = 100, strings.HasPrefix(c.name, "fuzzy")
				for i := 0; i < len(c.keys); i += 2 {
					if err := q.Match(c.keys[i].(dicom.Tag), c.keys[i+1].(string)); err != nil {
						b.Fatal(err)
					}
				}
				q.Include()
				found = len(search(b, db, q))
				times = append(times, time.Since(began))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(found), "found")
		})
	}
}

// BenchmarkInstances lists the instances of a series of 1 000: QIDO-RS, and
// the rows as a retrieval reads them.
func BenchmarkInstances(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "index"))
	defer db.Close()
	var rows []store.Row
	for i := range 1000 {
		rows = append(rows, row("1.2", "1.2.1", fmt.Sprintf("1.2.1.%d", i), dict.PatientName, "A^B", dict.StudyDate, "20240101",
			dict.Modality, "ES", dict.SeriesNumber, 1, dict.InstanceNumber, i, dict.Rows, 1080, dict.Columns, 1920, dict.ImageType, `ORIGINAL\PRIMARY`))
	}
	put(b, db, 1, rows...)
	if err := db.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Run("search", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n := len(search(b, db, query(b, store.InstanceLevel, dict.StudyInstanceUID, "1.2", dict.SeriesInstanceUID, "1.2.1"))); n != 1000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("rows", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n := len(instances(b, db, store.Selection{StudyInstanceUID: "1.2"})); n != 1000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("locate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok, err := db.Locate(context.Background(), "1.2.1.500"); !ok || err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPut stores stills of one study after the other, a row a call, as
// ingest does. It reports the processor time of a row, and waits for the last.
func BenchmarkPut(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "index"))
	defer db.Close()
	r := rand.New(rand.NewPCG(1, 2))
	var study store.Row
	b.ReportAllocs()
	before, n := processTime(b), 0
	for b.Loop() {
		if n%100 == 0 {
			study = benchRow(r, n)
		}
		one := study
		one.SOPInstanceUID = fmt.Sprintf("%s.%d", study.SeriesInstanceUID, n)
		one.Attributes = study.Attributes.Clone()
		one.Attributes.SetInt(dict.InstanceNumber, n%100)
		n++
		put(b, db, store.Position(n), one)
	}
	if err := db.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((processTime(b)-before).Microseconds())/float64(n), "cpu-µs/row")
}

func processTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
