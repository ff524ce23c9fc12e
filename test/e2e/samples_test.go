package e2e_test

import (
	"flag"
	"sync"
	"testing"

	"lumen/internal/peertest"
	"lumen/internal/shareddata"
)

// update writes testdata/expected.tsv anew from what storescu can send and what
// a node answered. Review the difference before you commit it.
var update = flag.Bool("update", false, "write testdata/expected.tsv anew")

const expectedFile = "testdata/expected.tsv"

// What is expected of a file of the collection.
const (
	stored  = "stored"  // storescu sends it, the node keeps it
	refused = "refused" // storescu sends it, but it lacks a UID without which there is no place for it
	unsent  = "unsent"  // storescu or storescp cannot handle it: our own client sends it
)

// sample is one file of the collection and what storescu makes of it.
type sample struct {
	shareddata.Entry
	profile string // storescu configuration
	written []byte // the file that storescp +B wrote
	oracle  part10 // what is in it
	sent    bool
	facts   facts // what pydicom says of the oracle
}

// verdict says what must become of s.
func (s *sample) verdict() string {
	switch {
	case !s.sent:
		return unsent
	case s.facts.Study == "" || s.facts.Series == "" || s.facts.Instance == "":
		return refused
	}
	return stored
}

var collection struct {
	once    sync.Once
	samples []*sample
}

// samples sends every valid file of the collection to storescp, once for all tests.
func samples(t *testing.T) []*sample {
	t.Helper()
	peertest.Needs(t, "storescu", "storescp")
	entries := shareddata.Valid(t)
	collection.once.Do(func() {
		ch := make(chan *sample)
		var workers sync.WaitGroup
		for range 2 {
			r := startReceiver(t, "ORACLE")
			workers.Go(func() {
				for s := range ch {
					s.ask(t, r)
				}
			})
		}
		for _, e := range entries {
			s := &sample{Entry: e}
			collection.samples = append(collection.samples, s)
			ch <- s
		}
		close(ch)
		workers.Wait()
		describeAll(t, collection.samples)
	})
	return collection.samples
}

// ask fills in what storescp receives when s is sent to it.
func (s *sample) ask(t *testing.T, r receiver) {
	file, err := parsePart10(s.Bytes(t))
	if err != nil {
		return // storescu needs the File Meta to know what it may propose
	}
	s.profile = profile(t, file.SOPClass, file.TransferSyntax)
	_, code := s.send(t, r.port)
	received := r.take(t)
	if code != 0 || len(received) != 1 {
		return
	}
	for _, b := range received {
		s.written = b
		if s.oracle, err = parsePart10(b); err != nil {
			t.Errorf("%s: storescp wrote: %v", s.Name, err)
			return
		}
		s.sent = true
	}
}

// send is the storescu command for s.
func (s *sample) send(t *testing.T, port string) (string, int) {
	return run(t, "storescu", "-xf", s.profile, "P", "-aet", "E2E", "127.0.0.1", port, s.Path)
}
