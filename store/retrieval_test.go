package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// Invariant 2: the record is durable when Open returns, so before a byte left.
func TestNothingLeavesBeforeItsRecord(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	n.open(store.Selection{StudyInstanceUID: "1.1"})
	if _, err := n.archive.Search(t.Context(), tower, viewing, store.NewQuery(store.StudyLevel)); err != nil {
		t.Fatal(err)
	}
	durable := n.journal.Crash().Events() // without what was only posted
	if len(durable) != 3 || durable[1].Kind != store.EventRetrieveBegin || durable[2].Kind != store.EventQuery {
		t.Fatalf("durable events = %+v", durable)
	}
	begin := durable[1]
	if begin.Principal != tower || begin.Request != viewing || begin.StudyInstanceUID != "1.1" || begin.PatientID != "P-4711" {
		t.Errorf("begin = %+v", begin)
	}
}

func TestRetrievalsWithinAMinuteGoByOneRecord(t *testing.T) {
	n := newNode(t)
	for i, study := range []string{"1.1", "1.2"} {
		n.mustIngest(encode(t, still(study, study+".1", fmt.Sprintf("%s.1.%d", study, i)), explicitLE), store.Stored)
	}
	sel := store.Selection{StudyInstanceUID: "1.1"}
	view := func(p access.Principal, rq store.Request, sel store.Selection, outcome error) {
		t.Helper()
		r, err := n.archive.Open(t.Context(), p, rq, sel)
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Instances()[0].Range(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, data)
		r.Close(outcome)
		r.Close(nil)
	}
	begun := func() int { return len(n.events(store.EventRetrieveBegin)) }

	view(tower, viewing, sel, nil)
	view(tower, viewing, sel, errors.New("connection reset"))
	otherPort := viewing
	otherPort.Peer, otherPort.ID = "192.0.2.9:50001", "r2"
	n.clock.advance(59 * time.Second)
	view(tower, otherPort, sel, nil)
	if begun() != 1 {
		t.Errorf("%d begin records for one viewer within a minute", begun())
	}
	for i, change := range []func(*access.Principal, *store.Request, *store.Selection){
		func(p *access.Principal, _ *store.Request, _ *store.Selection) { p.Name = "OTHER" },
		func(_ *access.Principal, rq *store.Request, _ *store.Selection) { rq.Protocol = "C-MOVE" },
		func(_ *access.Principal, rq *store.Request, _ *store.Selection) { rq.Destination = "ELSEWHERE" },
		func(_ *access.Principal, rq *store.Request, _ *store.Selection) { rq.Peer = "192.0.2.10:50000" },
		func(_ *access.Principal, _ *store.Request, sel *store.Selection) { sel.StudyInstanceUID = "1.2" },
	} {
		p, rq, s := tower, viewing, sel
		change(&p, &rq, &s)
		view(p, rq, s, nil)
		if begun() != 2+i {
			t.Errorf("change %d: %d begin records, want %d", i, begun(), 2+i)
		}
	}
	n.clock.advance(time.Second)
	view(tower, viewing, sel, nil)
	if begun() != 7 {
		t.Errorf("%d begin records after a minute, want 7", begun())
	}

	n.archive.Close()
	ends := n.events(store.EventRetrieveEnd)
	var total store.Counts
	for _, e := range ends {
		total.Instances += e.Counts.Instances
		total.Bytes += e.Counts.Bytes
	}
	// One for each begin record, and one for the two that went by the first.
	if len(ends) != 8 || total != (store.Counts{Instances: 9, Bytes: 90}) {
		t.Errorf("%d ends, total %+v", len(ends), total)
	}
	shared := slices.IndexFunc(ends, func(e store.Event) bool { return e.Counts.Instances == 2 })
	if shared < 0 || ends[shared].Outcome != store.OutcomeSeriousFailure || ends[shared].Counts.Bytes != 20 {
		t.Errorf("the shared end is missing or wrong: %+v", ends)
	}
}

// Whoever asks what left of one patient must find it, also where a device put
// several patients into one study.
func TestEveryPatientOfAStudyIsRecorded(t *testing.T) {
	n := newNode(t)
	put := func(instance, patient string) {
		n.mustIngest(encode(t, still("1.1", "1.1.1", instance, func(d *dicom.DataSet) {
			d.SetString(dict.PatientID, patient)
		}), explicitLE), store.Stored)
	}
	recorded := func() (patients []string) {
		for _, e := range n.journal.Crash().Events() {
			if e.Kind == store.EventRetrieveBegin {
				patients = append(patients, e.PatientID)
				if e.StudyInstanceUID != "1.1" || e.Request != viewing {
					t.Errorf("begin = %+v", e)
				}
			}
		}
		slices.Sort(patients)
		return patients
	}
	put("1.1.1.1", "A")
	put("1.1.1.2", "B")
	put("1.1.1.3", "B")
	put("1.1.1.4", "")
	n.open(store.Selection{StudyInstanceUID: "1.1"}).Close(nil)
	if got := recorded(); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("recorded %q", got)
	}
	n.open(store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.1.1.2"}}).Close(nil)
	if got := recorded(); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("recorded %q after a part was retrieved again", got)
	}
	put("1.1.1.5", "C")
	n.open(store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.1.1.5"}}).Close(nil)
	if got := recorded(); !slices.Equal(got, []string{"A", "B", "C"}) {
		t.Errorf("recorded %q after a patient joined", got)
	}
}

func TestOpenSelects(t *testing.T) {
	n := newNode(t)
	for i, uids := range [][3]string{{"1.1", "1.1.1", "1.1.1.1"}, {"1.1", "1.1.1", "1.1.1.2"}, {"1.1", "1.1.2", "1.1.2.1"}, {"1.2", "1.2.1", "1.2.1.1"}} {
		n.mustIngest(encode(t, still(uids[0], uids[1], uids[2], func(d *dicom.DataSet) {
			d.SetInt(dict.InstanceNumber, 9-i)
			d.SetString(dict.SeriesNumber, uids[1][4:])
		}), explicitLE), store.Stored)
	}
	for _, c := range []struct {
		name string
		sel  store.Selection
		want []string
	}{
		{"a study", store.Selection{StudyInstanceUID: "1.1"}, []string{"1.1.1.2", "1.1.1.1", "1.1.2.1"}},
		{"a series", store.Selection{StudyInstanceUID: "1.1", SeriesInstanceUID: "1.1.2"}, []string{"1.1.2.1"}},
		{"an instance", store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.1.1.1"}}, []string{"1.1.1.1"}},
		{"an instance of another series", store.Selection{StudyInstanceUID: "1.1", SeriesInstanceUID: "1.1.2", SOPInstanceUIDs: []string{"1.1.1.1"}}, nil},
		{"an unknown study", store.Selection{StudyInstanceUID: "1.3"}, nil},
		{"everything", store.Selection{}, nil},
		{"a path", store.Selection{StudyInstanceUID: "../1.1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := n.archive.Open(t.Context(), tower, viewing, c.sel)
			if len(c.want) == 0 {
				if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("error = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range r.Instances() {
				got = append(got, i.SOPInstanceUID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	blind := tower
	blind.Rights = access.Store | access.Query
	if _, err := n.archive.Open(t.Context(), blind, viewing, store.Selection{StudyInstanceUID: "1.1"}); !errors.Is(err, store.ErrDenied) {
		t.Errorf("without the right: %v", err)
	}
	blind.Rights = access.Store | access.Retrieve
	if _, err := n.archive.Search(t.Context(), blind, viewing, store.NewQuery(store.StudyLevel)); !errors.Is(err, store.ErrDenied) {
		t.Errorf("search without the right: %v", err)
	}
}

func TestRange(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		pixels := make([]byte, 100_000)
		for i := range pixels {
			pixels[i] = byte(i * 7 >> 3)
		}
		d.SetBytes(dict.PixelData, dict.OW, pixels)
	}), explicitLE)
	n.mustIngest(sent, store.Stored)
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	i := r.Instances()[0]
	size := int64(len(sent))
	for _, c := range [][2]int64{{0, -1}, {0, size}, {0, 0}, {0, 1}, {size - 1, 1}, {size, 1}, {size + 10, -1}, {16000, 20000}, {size - 5, 100}, {i.BodyOffset, -1}} {
		data, err := i.Range(t.Context(), c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		from := min(c[0], size)
		to := size
		if c[1] >= 0 {
			to = min(size, from+c[1])
		}
		if !bytes.Equal(readAll(t, data), sent[from:to]) {
			t.Errorf("range %v differs", c)
		}
	}
	header, err := i.Header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, err := i.Range(t.Context(), i.BodyOffset, -1)
	if err != nil {
		t.Fatal(err)
	}
	h, b := readAll(t, header), readAll(t, body)
	if !bytes.Equal(slices.Concat(h, b), sent) || len(b) < 100_000 || len(h) > 1000 {
		t.Errorf("header %d bytes, body %d bytes", len(h), len(b))
	}
	for _, c := range [][2]int64{{-1, 5}, {0, -2}} {
		if _, err := i.Range(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("range %v was opened", c)
		}
	}
}

// The right to query is none to fill the disk of the journal: of a long list of
// keys the record has the beginning, and what tells it from any other.
func TestLongQueriesAreRecordedInPart(t *testing.T) {
	n := newNode(t)
	ask := func(list string) map[string]string {
		t.Helper()
		q := store.NewQuery(store.StudyLevel)
		if err := q.Match(dict.StudyInstanceUID, list); err != nil {
			t.Fatal(err)
		}
		if _, err := n.archive.Search(t.Context(), tower, viewing, q); err != nil {
			t.Fatal(err)
		}
		events := n.events(store.EventQuery)
		return events[len(events)-1].Detail
	}
	short := ask("1.2.3")
	if short["keys"] != "(0020,000D)=1.2.3" || short["keys_sha256"] != "" {
		t.Errorf("a short query is recorded as %v", short)
	}
	uids := strings.Repeat(`1.2.3\`, 1<<16)
	long, other := ask(uids+"4"), ask(uids+"5")
	size := 0
	for name, value := range long {
		size += len(name) + len(value)
	}
	if size > 5<<10 || !strings.HasPrefix(long["keys"], "(0020,000D)=1.2.3") || long["keys_bytes"] != strconv.Itoa(len("(0020,000D)=")+len(uids)+1) {
		t.Errorf("a query of %d bytes is recorded in %d: %.99v", len(uids), size, long)
	}
	if long["keys_sha256"] == "" || long["keys_sha256"] == other["keys_sha256"] {
		t.Error("two long queries cannot be told apart")
	}
}
