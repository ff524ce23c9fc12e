package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
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

func TestFrames(t *testing.T) {
	image := func(frames, rows, columns, bits int, pixels []byte) func(*dicom.DataSet) {
		return func(d *dicom.DataSet) {
			d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
			d.SetInt(dict.Rows, rows)
			d.SetInt(dict.Columns, columns)
			d.SetInt(dict.BitsAllocated, bits)
			vr := dict.OW
			if bits <= 8 {
				vr = dict.OB
			}
			d.SetBytes(dict.PixelData, vr, pixels)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*dicom.DataSet)
		want   [][]byte
	}{
		{"whole bytes", image(2, 2, 2, 8, []byte{1, 2, 3, 4, 5, 6, 7, 8}), [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}},
		{"words", image(2, 1, 2, 16, []byte{1, 2, 3, 4, 5, 6, 7, 8}), [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}},
		// 3 frames of 3x3 bits: 101100111 000111000 111111111, low-order bit first.
		{"bits across bytes", image(3, 3, 3, 1, []byte{0b11001101, 0b01110001, 0b11111100, 0b111, 0, 0}),
			[][]byte{{0b11001101, 0b1}, {0b00111000, 0b0}, {0b11111111, 0b1}}},
		// 2 frames of 3 bits in one byte: 110 011.
		{"bits within a byte", image(2, 1, 3, 1, []byte{0b110011, 0}), [][]byte{{0b011}, {0b110}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", c.change), explicitLE), store.Stored)
			n.wantFrames(c.want)
		})
	}
}

// wantFrames checks every frame of the only instance of study 1.1, whole and in
// ranges, and the ones before and after them.
func (n *node) wantFrames(want [][]byte) {
	t := n.t
	t.Helper()
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	i := r.Instances()[0]
	count, err := i.NumberOfFrames(t.Context())
	if err != nil || count != len(want) {
		t.Fatalf("%d frames, %v, want %d", count, err, len(want))
	}
	opened := int64(0)
	for f, w := range want {
		frame, size, err := i.Frame(t.Context(), f+1)
		if err != nil {
			t.Fatal(err)
		}
		opened++
		if got := readAll(t, frame); !bytes.Equal(got, w) || size != int64(len(w)) {
			t.Errorf("frame %d = %x (size %d), want %x", f+1, got, size, w)
		}
		if size, err := i.FrameSize(t.Context(), f+1); err != nil || size != int64(len(w)) {
			t.Errorf("size of frame %d = %d, %v", f+1, size, err)
		}
		for off := range int64(len(w)) {
			for _, length := range []int64{-1, 0, 1, 2, int64(len(w)) - off} {
				part, err := i.FrameRange(t.Context(), f+1, off, length)
				if err != nil {
					t.Fatal(err)
				}
				opened++
				end := int64(len(w))
				if length >= 0 {
					end = min(end, off+length)
				}
				if got := readAll(t, part); !bytes.Equal(got, w[off:end]) {
					t.Errorf("frame %d, %d bytes from %d = %x, want %x", f+1, length, off, got, w[off:end])
				}
			}
		}
	}
	for _, f := range []int{-1, 0, len(want) + 1} {
		if _, _, err := i.Frame(t.Context(), f); !errors.Is(err, store.ErrNoFrame) {
			t.Errorf("frame %d: %v", f, err)
		}
	}
	r.Close(nil)
	ends := n.events(store.EventRetrieveEnd)
	if c := ends[len(ends)-1].Counts; c.Frames != opened || c.Instances != 1 {
		t.Errorf("end = %+v, want %d frames", c, opened)
	}
}

// encapsulated returns a data set whose pixel data are the given fragments
// after an offset table for frames that begin at the fragments named in first.
func encapsulated(t testing.TB, frames int, first []int, fragments ...[]byte) []byte {
	b := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.Delete(dict.PixelData)
		d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
	}), explicitLE)
	item := func(value []byte) {
		n := len(value)
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		b = append(b, value...)
	}
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	var table []byte
	for _, f := range first {
		at := 0
		for _, fragment := range fragments[:f] {
			at += 8 + len(fragment)
		}
		table = append(table, byte(at), byte(at>>8), byte(at>>16), byte(at>>24))
	}
	item(table)
	for _, f := range fragments {
		item(f)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func TestFramesOfFragments(t *testing.T) {
	n := newNode(t)
	jpeg := syntax(dicom.JPEGBaseline8Bit)
	sent := encapsulated(t, 2, []int{0, 2}, []byte("abcd"), []byte("ef"), []byte("ghijkl"))
	if _, err := n.ingest(jpeg, sent); err != nil {
		t.Fatal(err)
	}
	n.wantFrames([][]byte{[]byte("abcdef"), []byte("ghijkl")})
}

// A large frame table is not in the row, which every search reads, but in the
// blob.
func TestManyFragments(t *testing.T) {
	n := newNode(t)
	const frames = 3000
	fragments := make([][]byte, frames)
	first := make([]int, frames)
	for i := range fragments {
		fragments[i], first[i] = fmt.Appendf(nil, "%06d", i), i
	}
	if _, err := n.ingest(syntax(dicom.JPEGBaseline8Bit), encapsulated(t, frames, first, fragments...)); err != nil {
		t.Fatal(err)
	}
	row, _, _ := n.index.Locate(t.Context(), "1.1.1.1")
	if !row.FramesInBlob || row.Frames.Len() != 0 {
		t.Error("the row has the frame table")
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	for _, f := range []int{1, 1500, frames} {
		frame, _, err := r.Instances()[0].Frame(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, frame); !bytes.Equal(got, fragments[f-1]) {
			t.Errorf("frame %d = %q", f, got)
		}
	}
}

func TestDeflated(t *testing.T) {
	n := newNode(t)
	ts := syntax(dicom.DeflatedExplicitVRLittleEndian)
	pixels := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6}, 2)
	plain := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.SetString(dict.NumberOfFrames, "2")
		d.SetBytes(dict.PixelData, dict.OW, pixels)
	}), explicitLE)
	sent := deflate(t, plain)
	if _, err := n.ingest(ts, sent); err != nil {
		t.Fatal(err)
	}
	n.wantFrames([][]byte{pixels[:6], pixels[6:]})
	if !bytes.Equal(n.stored("1.1"), sent) {
		t.Error("the bytes differ")
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	header, err := r.Instances()[0].Header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, header); !bytes.Equal(got, sent) {
		t.Errorf("the header of a deflated data set has %d bytes, want all %d", len(got), len(sent))
	}
}

func TestADamagedBlobIsNotServed(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.SetBytes(dict.PixelData, dict.OW, make([]byte, 200_000))
	}), explicitLE), store.Stored)
	name := n.instanceBlobs()[0]
	whole, err := n.blobs.Open(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b := readAll(t, whole)
	b[100_000] ^= 1
	if err := n.blobs.Put(t.Context(), name, int64(len(b)), func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		t.Fatal(err)
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	data, err := r.Instances()[0].DataSet(t.Context())
	if err == nil {
		var got []byte
		got, err = io.ReadAll(data)
		data.Close()
		if len(got) >= 100_000 {
			t.Errorf("%d bytes were served", len(got))
		}
	}
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("error = %v", err)
	}
	report, err := n.archive.Check(t.Context(), store.CheckOptions{})
	if err != nil || report.Count != 1 || report.Problems[0].Object != name {
		t.Errorf("check = %+v, %v", report, err)
	}
	if err := n.blobs.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if report, err := n.archive.Check(t.Context(), store.CheckOptions{Quick: true}); err != nil || report.Count != 1 {
		t.Errorf("check without the blob = %+v, %v", report, err)
	}
}

func TestCheckMissesABlobThatIsKeptAside(t *testing.T) {
	n := newNode(t)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE), store.Stored)
	n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientID, "X") }), explicitLE), store.Quarantined)
	if err := n.blobs.Delete(t.Context(), n.events(store.EventQuarantined)[0].Blob); err != nil {
		t.Fatal(err)
	}
	if report, err := n.archive.Check(t.Context(), store.CheckOptions{}); err != nil || report.Count != 1 {
		t.Errorf("check = %+v, %v", report, err)
	}
}
