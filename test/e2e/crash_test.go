package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lumen/store/blob/s3/s3test"
)

// acknowledged is an instance that was answered 0x0000.
type acknowledged struct {
	still
	digest [32]byte // of its data set
}

// Whatever was answered 0x0000 before a kill -9 under load is there afterwards,
// byte for byte, with its record in the journal. $LUMEN_CRASHES says how often
// the node is killed.
func TestCrashLosesNothingAcknowledged(t *testing.T) {
	crashes := 8
	if s := os.Getenv("LUMEN_CRASHES"); s != "" {
		var err error
		if crashes, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("folder", func(t *testing.T) { survivesCrashes(t, newNode(t, "", ""), crashes) })
	t.Run("bucket", func(t *testing.T) {
		server := s3test.Start(t)
		n := startNode(t, bucketSettings(t, server))
		n.stop()
		all := survivesCrashes(t, n, crashes/4)
		n.start()
		n.until("the backlog is uploaded", 60*time.Second, func() bool { return n.backlog() == 0 })
		n.stop()
		n.start()
		for _, a := range all {
			a.isThere(t, n)
		}
	})
}

// survivesCrashes kills a node under load, again and again. It returns what was
// acknowledged.
func survivesCrashes(t *testing.T, n *node, crashes int) []acknowledged {
	rng := rand.New(rand.NewPCG(1, uint64(crashes)))
	var all []acknowledged
	for i := range crashes {
		n.start()
		// A study of its own for each crash, and one that all share.
		studies := []string{"2.25.1000", uid(rng)}
		acked := loadUntilKilled(t, n, studies, rng, i)
		n.start()
		for _, a := range acked {
			a.isThere(t, n)
		}
		all = append(all, acked...)
		if t.Failed() {
			t.Fatalf("after crash %d", i+1)
		}
		n.kill() // while it may still be tidying up
	}
	n.start()
	t.Logf("%d instances acknowledged before %d crashes", len(all), crashes)
	if len(all) < crashes {
		t.Errorf("hardly any load: %d instances", len(all))
	}
	for _, a := range all {
		a.isThere(t, n)
	}
	n.clean()
	journal, code := n.lumen("audit", "show")
	if code != 0 {
		t.Fatalf("lumen audit show: %s", tail(journal, 500))
	}
	for _, a := range all {
		if !strings.Contains(journal, a.Instance) {
			t.Error("an acknowledged instance is not in the journal")
		}
	}
	n.stop()
	n.clean()
	return all
}

// loadUntilKilled pushes stills over four associations and kills the node in
// the middle of it.
func loadUntilKilled(t *testing.T, n *node, studies []string, rng *rand.Rand, round int) []acknowledged {
	t.Helper()
	var mu sync.Mutex
	var acked []acknowledged
	var workers sync.WaitGroup
	first := make(chan struct{})
	var once sync.Once
	for w := range 4 {
		rng := rand.New(rand.NewPCG(uint64(round), uint64(w)))
		workers.Go(func() {
			c, err := n.associate(vlEndoscopic, jpegBaseline)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.abort()
			for i := 0; ; i++ {
				study := studies[rng.IntN(len(studies))]
				s := still{Study: study, Series: study + ".1", Instance: uid(rng), Name: "Load^Crash", ID: "L" + strconv.Itoa(round),
					Number: i, Size: 1000 + rng.IntN(200_000)}
				data := s.dataSet(rng)
				status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data))
				if err != nil {
					return // killed
				}
				if status != 0 {
					t.Errorf("C-STORE answers %04x", status)
					return
				}
				mu.Lock()
				acked = append(acked, acknowledged{s, sha256.Sum256(data)})
				mu.Unlock()
				once.Do(func() { close(first) })
			}
		})
	}
	select {
	case <-first:
	case <-time.After(20 * time.Second):
		t.Error("nothing is acknowledged within 20 s")
	}
	time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond) // the crash comes at any moment
	n.kill()
	workers.Wait()
	return acked
}

func (a acknowledged) isThere(t *testing.T, n *node) {
	t.Helper()
	parts := n.retrieve(n.url("/dicom-web/studies/%s/series/%s/instances/%s", a.Study, a.Series, a.Instance))
	if len(parts) != 1 {
		t.Errorf("instance %d of patient %s: %d parts after the crash", a.Number, a.ID, len(parts))
		return
	}
	p, err := parsePart10(parts[0])
	if err != nil {
		t.Error(err)
	} else if sha256.Sum256(p.DataSet) != a.digest {
		t.Errorf("instance %d of patient %s has other bytes after the crash", a.Number, a.ID)
	}
}
