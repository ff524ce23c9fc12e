package index_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/index"
)

// crashFile names the index that a child process of the tests writes until it
// is killed.
const crashFile = "LUMEN_TEST_CRASH_INDEX"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// numberedRow is the row of a position in the journal.
func numberedRow(i store.Position) store.Row {
	return row(fmt.Sprintf("1.%d", i/20), fmt.Sprintf("1.%d.1", i/20), fmt.Sprintf("1.%d.1.%d", i/20, i),
		dict.PatientName, fmt.Sprintf("Name^%d", i/20), dict.Modality, "ES")
}

// writeUntilKilled puts a row for every position, from where the index stands,
// and prints a line for every hundred.
func writeUntilKilled(path string) {
	db, err := index.Open(context.Background(), config(path))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for i := db.Covered(); ; i++ {
		if err := db.Put(context.Background(), []store.Row{numberedRow(i)}, i+1); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		if i%100 == 0 {
			fmt.Println(i)
		}
	}
}

func TestCoveredIsNeverAheadOfTheRowsAfterAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	before := store.Position(0)
	for kill := range 6 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), crashFile+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// The last of these are more rows than the queue holds.
		for n := 0; n < 3+25*kill && lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "error") {
				t.Fatal(lines.Text())
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed

		db := open(t, path)
		covered := db.Covered()
		if covered < before {
			t.Errorf("covered went from %d to %d", before, covered)
		}
		before = covered
		for i := range covered {
			if _, ok, err := db.Locate(t.Context(), numberedRow(i).SOPInstanceUID); !ok || err != nil {
				t.Fatalf("position %d of %d is not there: %v", i, covered, err)
			}
		}
		if got := db.Stats().Instances; got < uint64(covered) {
			t.Errorf("%d instances, covered %d", got, covered)
		}
		n := 0
		for _, err := range db.Search(t.Context(), query(t, store.InstanceLevel)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if uint64(n) != db.Stats().Instances {
			t.Errorf("%d instances found, %d counted", n, db.Stats().Instances)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if before == 0 {
		t.Error("nothing was ever committed")
	}
}

func TestWhatWasPutIsFoundByAllAtOnce(t *testing.T) {
	db := fresh(t)
	const writers, each = 4, 150
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				study := fmt.Sprintf("1.%d.%d", w, i/10)
				r := row(study, study+".1", fmt.Sprintf("%s.1.%d", study, i), dict.PatientID, fmt.Sprint(w), dict.InstanceNumber, i)
				if err := db.Put(context.Background(), []store.Row{r}, 0); err != nil {
					t.Error(err)
					return
				}
				if got, ok, err := db.Locate(context.Background(), r.SOPInstanceUID); !ok || err != nil || got.Blob != r.Blob {
					t.Errorf("locate: %v, %v", ok, err)
				}
				if _, ok, err := db.StudyHandle(context.Background(), study); !ok || err != nil {
					t.Errorf("study handle: %v, %v", ok, err)
				}
				if i%10 != 9 {
					continue
				}
				q := store.NewQuery(store.InstanceLevel)
				if err := q.Match(dict.StudyInstanceUID, study); err != nil {
					t.Error(err)
				}
				n := 0
				for _, err := range db.Search(context.Background(), q) {
					if err != nil {
						t.Error(err)
					}
					n++
				}
				if n != 10 {
					t.Errorf("%d instances of a study of 10", n)
				}
				q = store.NewQuery(store.StudyLevel)
				if err := q.Match(dict.PatientID, fmt.Sprint(w)); err != nil {
					t.Error(err)
				}
				n = 0
				for _, err := range db.Search(context.Background(), q) {
					if err != nil {
						t.Error(err)
					}
					n++
				}
				if n != i/10+1 {
					t.Errorf("%d studies of a patient, want %d", n, i/10+1)
				}
			}
		})
	}
	all.Wait()
	if got := db.Stats(); got.Instances != writers*each || got.Studies != writers*each/10 {
		t.Errorf("stats %+v", got)
	}
}
