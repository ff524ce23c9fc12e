package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// withHeader returns a data set with so many values of 32 KiB in its header.
func withHeader(t *testing.T, uid string, values int) []byte {
	return encode(t, still("1.1", "1.1.1", uid, func(d *dicom.DataSet) {
		for i := range values {
			d.SetBytes(dict.NewTag(0x0028, uint16(0xA000+i)), dict.OB, bytes.Repeat([]byte{byte(i)}, 32<<10))
		}
	}), explicitLE)
}

// behind returns a data set whose study stands behind size bytes.
func behind(t *testing.T, uid string, size int) []byte {
	return encode(t, still("1.1", "1.1.1", uid, func(d *dicom.DataSet) {
		d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
		d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.OB, bytes.Repeat([]byte("abcdefgh"), size/8))
	}), explicitLE)
}

// headersNode has 4 MiB for large headers, and a count of those cut.
func headersNode(t *testing.T) (n *node, cut func() int) {
	t.Helper()
	registry := prometheus.NewRegistry()
	n = newNode(t, func(cfg *store.Config) {
		cfg.Limits.HeaderTotal = 4 << 20
		cfg.Registerer = registry
	})
	return n, func() int {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "lumen_store_headers_cut_total" {
				return int(f.GetMetric()[0].GetCounter().GetValue())
			}
		}
		t.Fatal("cut headers are not counted")
		return 0
	}
}

// send takes in data within a minute.
func (n *node) send(p access.Principal, data io.Reader) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	r, err := n.archive.Ingest(ctx, p, request, store.Incoming{TransferSyntax: explicitLE}, data)
	if err == nil && r.Outcome != store.Stored {
		err = errors.New("it is not stored")
	}
	return err
}

// stalled are senders that stop inside of what they send until goOn is closed.
type stalled struct {
	goOn chan struct{}
	errs chan error
	sent map[string][]byte
}

// stall begins to send and returns when all stand still. Each sends at bytes.
func (n *node) stall(p access.Principal, sent map[string][]byte, at func([]byte) int) *stalled {
	s := &stalled{make(chan struct{}), make(chan error, len(sent)), sent}
	for _, data := range sent {
		i := at(data)
		wait := readerFunc(func([]byte) (int, error) {
			<-s.goOn
			return 0, io.EOF
		})
		go func() {
			_, err := n.archive.Ingest(n.t.Context(), p, request, store.Incoming{TransferSyntax: explicitLE},
				io.MultiReader(bytes.NewReader(data[:i]), wait, bytes.NewReader(data[i:])))
			s.errs <- err
		}()
	}
	synctest.Wait()
	return s
}

// end lets the senders go on and wants all of it stored as it was sent.
func (s *stalled) end(n *node) {
	n.t.Helper()
	close(s.goOn)
	for range s.sent {
		if err := <-s.errs; err != nil {
			n.t.Error(err)
		}
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	for _, i := range r.Instances() {
		data, err := i.DataSet(n.t.Context())
		if err != nil {
			n.t.Fatal(err)
		}
		if sent, ok := s.sent[i.SOPInstanceUID]; ok && !bytes.Equal(readAll(n.t, data), sent) {
			n.t.Errorf("%s is not as it was sent", i.SOPInstanceUID)
		}
	}
}

func uids(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("1.1.1.", i+1))
	}
	return list
}

// Senders that stop inside of large headers hold up nobody, and at most half of
// the memory: who comes from elsewhere has his header whole, the others have
// theirs cut, and all is stored as it was sent.
func TestStalledHeadersHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, cut := headersNode(t)
		defer n.archive.Close()
		sent := map[string][]byte{}
		for _, uid := range uids(16) {
			sent[uid] = withHeader(t, uid, 30)
		}
		s := n.stall(tower, sent, func(b []byte) int { return len(b) - 40<<10 })

		if err := n.send(tower, bytes.NewReader(encode(t, still("1.1", "1.1.2", "1.1.2.1"), explicitLE))); err != nil {
			t.Errorf("a small header of the same sender: %v", err)
		}
		other := tower
		other.Name = "TOWER2"
		if err := n.send(other, bytes.NewReader(withHeader(t, "1.1.2.2", 30))); err != nil || cut() != 0 {
			t.Errorf("a large header of another sender: %v, %d cut", err, cut())
		}
		if err := n.send(tower, bytes.NewReader(withHeader(t, "1.1.2.3", 30))); err != nil || cut() != 1 {
			t.Errorf("a large header of the same sender: %v, %d cut", err, cut())
		}
		s.end(n)
		if got := cut(); got < 16 || got > 17 { // one of the sixteen may have found room
			t.Errorf("%d headers were cut", got)
		}
		before := cut()
		if err := n.send(tower, bytes.NewReader(withHeader(t, "1.1.2.4", 30))); err != nil || cut() != before {
			t.Errorf("a large header when there is memory again: %v", err)
		}
		n.sound()
	})
}

// What stands before the study is kept until it was sealed, no longer: senders
// that stop in their pixel data hold none of it.
func TestTheBeginningIsGivenBackWhenItWasSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := headersNode(t)
		defer n.archive.Close()
		sent := map[string][]byte{}
		for _, uid := range uids(8) {
			sent[uid] = behind(t, uid, 700<<10)
		}
		first := map[string][]byte{}
		for _, uid := range []string{"1.1.3.1", "1.1.3.2"} { // more than two do not fit at the same moment
			first[uid] = behind(t, uid, 700<<10)
		}
		inBody := func(b []byte) int { return len(b) - 1 }
		n.stall(tower, first, inBody).end(n)
		var all []*stalled
		for uid, data := range sent {
			all = append(all, n.stall(tower, map[string][]byte{uid: data}, inBody))
		}
		for _, s := range all {
			s.end(n)
		}
		if keys := n.studyKeys(); len(keys) != 1 {
			t.Errorf("one study has %d keys: the beginning of a data set found no memory", len(keys))
		}
	})
}

// Where there is no memory for what stands before the study, the data set is
// stored under a key of its own, unless nobody says what it is: then it is not its
// fault.
func TestTheBeginningFindsNoMemory(t *testing.T) {
	n := newNode(t, func(cfg *store.Config) { cfg.Limits.HeaderTotal = 64 << 10 })
	sent := behind(t, "1.1.1.1", 200<<10)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE), store.Stored)
	n.mustIngest(sent, store.Stored)
	if len(n.studyKeys()) != 2 {
		t.Errorf("%d keys, want 2", len(n.studyKeys()))
	}
	n.mustIngest(sent, store.Duplicate)

	anonymous := encode(t, still("1.1", "1.1.1", "1.1.1.3", func(d *dicom.DataSet) {
		d.SetBytes(dict.NewTag(0x0007, 0x0010), dict.LO, []byte("MAKER "))
		d.SetBytes(dict.NewTag(0x0007, 0x1001), dict.OB, make([]byte, 200<<10))
	}), explicitLE)
	if _, err := n.ingest(explicitLE, anonymous); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("error = %v", err)
	}
	in := store.Incoming{TransferSyntax: explicitLE, SOPClassUID: dict.UIDVLEndoscopicImageStorage, SOPInstanceUID: "1.1.1.3"}
	if _, err := n.archive.Ingest(t.Context(), tower, request, in, bytes.NewReader(anonymous)); err != nil {
		t.Errorf("announced: %v", err)
	}
	n.sound()
}

// Frame tables, and elements beside their values, take of the same memory: one
// that finds none is left out, and the instance stored as it was sent.
func TestTablesFindNoMemory(t *testing.T) {
	fragments := func(n int) []byte {
		b := encode(t, still("1.1", "1.1.1", fmt.Sprint("1.1.1.", n), func(d *dicom.DataSet) {
			d.Delete(dict.PixelData)
			d.SetInt(dict.NumberOfFrames, n)
		}), explicitLE)
		b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0)
		for range n {
			b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 4, 0, 0, 0, 0xFF, 0xD8, 0xFF, 0xD9)
		}
		return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
	}
	items := encode(t, still("1.1", "1.1.1", "1.1.1.9", func(d *dicom.DataSet) {
		list := make([]*dicom.DataSet, 60_000)
		for i := range list {
			list[i] = new(dicom.DataSet)
		}
		d.SetItems(dict.ProcedureCodeSequence, list...)
	}), explicitLE)
	n, cut := headersNode(t)
	for _, c := range []struct {
		name string
		ts   string
		data []byte
		cut  int
	}{
		{"2 MiB for a table, and half of all is that", dicom.JPEGBaseline8Bit, fragments(40_000), 0},
		{"3 MiB for a table", dicom.JPEGBaseline8Bit, fragments(60_000), 1},
		{"6 MiB for items", dicom.ExplicitVRLittleEndian, items, 1},
		{"2 MiB for a table again", dicom.JPEGBaseline8Bit, fragments(40_001), 0},
	} {
		before := cut()
		r, err := n.ingest(syntax(c.ts), c.data)
		if err != nil || cut()-before != c.cut {
			t.Errorf("%s: %v, %d cut", c.name, err, cut()-before)
			continue
		}
		open := n.open(store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{r.SOPInstanceUID}})
		defer open.Close(nil)
		i := open.Instances()[0]
		data, err := i.DataSet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readAll(t, data), c.data) {
			t.Errorf("%s: not as it was sent", c.name)
		}
		if frames, err := i.NumberOfFrames(t.Context()); err != nil || c.ts == dicom.JPEGBaseline8Bit && frames > 0 != (c.cut == 0) {
			t.Errorf("%s: %d frames, %v", c.name, frames, err)
		}
	}
	n.sound()
}
