package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/seal"
)

func TestIngestKeepsTheBytesExactly(t *testing.T) {
	private := func(d *dicom.DataSet) {
		d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
		d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.UN, bytes.Repeat([]byte("x"), 5000))
	}
	for _, uid := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian} {
		t.Run(uid, func(t *testing.T) {
			n := newNode(t)
			ts := syntax(uid)
			sent := encode(t, still("1.1", "1.1.1", "1.1.1.1", private), ts)
			receipt, err := n.ingest(ts, sent)
			if err != nil {
				t.Fatal(err)
			}
			want := store.Receipt{Outcome: store.Stored, StudyInstanceUID: "1.1", SeriesInstanceUID: "1.1.1",
				SOPInstanceUID: "1.1.1.1", SOPClassUID: dict.UIDVLEndoscopicImageStorage, Size: int64(len(sent))}
			if receipt != want {
				t.Errorf("receipt = %+v, want %+v", receipt, want)
			}
			if got := n.stored("1.1"); !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, sent %d, or they differ", len(got), len(sent))
			}
			if report := n.sound(); report.Instances != 1 || report.Bytes != int64(len(sent)) {
				t.Errorf("check = %+v", report)
			}
		})
	}
}

// The study's key is needed before the first byte is sealed, and is found by
// the Study Instance UID inside: what comes before it must not be lost, not
// grow memory, and not matter.
func TestIngestWhateverComesBeforeTheStudyUID(t *testing.T) {
	block := func(size int) func(*dicom.DataSet) {
		return func(d *dicom.DataSet) {
			d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
			d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.OB, bytes.Repeat([]byte("abcdefgh"), size/8))
		}
	}
	for _, size := range []int{0, 60 << 10, 64 << 10, 70 << 10, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			n := newNode(t)
			sent := encode(t, still("1.1", "1.1.1", "1.1.1.1", block(size)), explicitLE)
			n.mustIngest(sent, store.Stored)
			n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.2"), explicitLE), store.Stored)
			n.mustIngest(sent, store.Duplicate)
			r := n.open(store.Selection{StudyInstanceUID: "1.1", SOPInstanceUIDs: []string{"1.1.1.1"}})
			defer r.Close(nil)
			data, err := r.Instances()[0].DataSet(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(readAll(t, data), sent) {
				t.Error("the bytes differ")
			}
			n.sound()
		})
	}
}

// A deflated header is large when it has been inflated, long before its study
// UID: the bytes that were received are few.
func TestIngestOfALargeDeflatedHeader(t *testing.T) {
	for _, size := range []int{100 << 10, 3 << 20} {
		n := newNode(t)
		sent := deflate(t, encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
			d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
			d.SetBytes(dict.NewTag(0x0009, 0x1001), dict.OB, make([]byte, size))
		}), explicitLE))
		if _, err := n.ingest(syntax(dicom.DeflatedExplicitVRLittleEndian), sent); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(n.stored("1.1"), sent) {
			t.Error("the bytes differ")
		}
	}
}

func TestIngestReadsAnyPieces(t *testing.T) {
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.SetBytes(dict.PixelData, dict.OW, bytes.Repeat([]byte{7, 8}, 100_000))
	}), explicitLE)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one byte at a time":     iotest.OneByteReader,
		"half of what is asked":  iotest.HalfReader,
		"data together with EOF": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			_, err := n.archive.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, wrap(bytes.NewReader(sent)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(n.stored("1.1"), sent) {
				t.Error("the bytes differ")
			}
		})
	}
}

// A file that was cut in its header is kept as one that was cut in its pixel
// data is, if it says whose it is.
func TestIngestKeepsWhatWasCutInItsHeader(t *testing.T) {
	for _, uid := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian} {
		ts, _ := dicom.LookupTransferSyntax(uid)
		whole := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
			comments := []byte("Polyp")
			for i := range 600 { // which does not deflate well
				comments = append(comments, byte('a'+i*i*7919>>5%26))
			}
			d.SetBytes(dict.ImageComments, dict.LT, comments)
		}), ts)
		kept := 0
		for size := 0; size < len(whole); size += 31 {
			n := newNode(t)
			r, err := n.ingest(ts, whole[:size])
			if err != nil {
				if !errors.Is(err, store.ErrUnreadable) {
					t.Fatal(err)
				}
				n.holdsNothing()
				continue
			}
			kept++
			if !bytes.Equal(n.stored("1.1"), whole[:size]) {
				t.Errorf("%s, %d bytes: not as received", ts.Name, size)
			}
			if at := bytes.Index(whole, []byte("Polyp")); at > 0 && size > at && size < at+600 && !r.Findings.Has(dicom.CutShort) {
				t.Errorf("%s, %d bytes: nothing was found", ts.Name, size)
			}
		}
		if kept < 5 {
			t.Errorf("%s: only %d kept", ts.Name, kept)
		}
	}
}

func TestIngestRefuses(t *testing.T) {
	without := func(tag dicom.Tag) []byte {
		return encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.Delete(tag) }), explicitLE)
	}
	with := func(tag dicom.Tag, value string) []byte {
		return encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetBytes(tag, dict.UI, []byte(value)) }), explicitLE)
	}
	good := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	cut := errors.New("connection reset")
	for _, c := range []struct {
		name string
		in   store.Incoming
		data io.Reader
		want error
	}{
		{"another SOP instance than announced", store.Incoming{SOPInstanceUID: "1.1.1.2"}, bytes.NewReader(good), store.ErrMismatch},
		{"another SOP class than announced", store.Incoming{SOPClassUID: dict.UIDCTImageStorage}, bytes.NewReader(good), store.ErrMismatch},
		{"an unknown transfer syntax", store.Incoming{TransferSyntax: dicom.TransferSyntax{UID: "1.2.3", Name: "Ours"}}, bytes.NewReader(good), store.ErrUnreadable},
		{"nothing at all", store.Incoming{}, strings.NewReader(""), store.ErrUnreadable},
		{"no data set", store.Incoming{}, strings.NewReader(strings.Repeat("GET / HTTP/1.1\r\n", 100)), store.ErrUnreadable},
		{"no study UID", store.Incoming{}, bytes.NewReader(without(dict.StudyInstanceUID)), store.ErrNoUID},
		{"no series UID", store.Incoming{}, bytes.NewReader(without(dict.SeriesInstanceUID)), store.ErrNoUID},
		{"no SOP instance UID", store.Incoming{}, bytes.NewReader(without(dict.SOPInstanceUID)), store.ErrNoUID},
		{"no SOP class UID", store.Incoming{}, bytes.NewReader(without(dict.SOPClassUID)), store.ErrNoUID},
		{"a path for a UID", store.Incoming{}, bytes.NewReader(with(dict.StudyInstanceUID, "../../../etc")), store.ErrNoUID},
		{"letters in a UID", store.Incoming{}, bytes.NewReader(with(dict.SOPInstanceUID, "1.1.x")), store.ErrNoUID},
		{"a UID too long", store.Incoming{}, bytes.NewReader(with(dict.SeriesInstanceUID, strings.Repeat("1", 66))), store.ErrNoUID},
		{"a sender that goes away", store.Incoming{}, io.MultiReader(bytes.NewReader(good[:len(good)-3]), iotest.ErrReader(cut)), cut},
		{"a sender that goes away early", store.Incoming{}, io.MultiReader(bytes.NewReader(good[:50]), iotest.ErrReader(cut)), cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			if c.in.TransferSyntax.Name == "" {
				c.in.TransferSyntax = explicitLE
			}
			_, err := n.archive.Ingest(t.Context(), tower, request, c.in, c.data)
			if !errors.Is(err, c.want) {
				t.Errorf("error = %v, want %v", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "1.1.1") {
				t.Errorf("error %q has a UID in it", err)
			}
			n.holdsNothing()
			if len(n.events(store.EventRefused)) != 1 {
				t.Errorf("journal = %v", n.journal.Kinds())
			}
		})
	}
}

// holdsNothing checks that no instance is in the archive, half or whole.
func (n *node) holdsNothing() {
	n.t.Helper()
	if uids := n.find(); len(uids) > 0 {
		n.t.Errorf("a search finds %v", uids)
	}
	if blobs := n.instanceBlobs(); len(blobs) > 0 {
		n.t.Errorf("%d blobs remain", len(blobs))
	}
}

func TestIngestWithoutTheRight(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	viewer := tower
	viewer.Rights = access.Query | access.Retrieve
	other := tower
	other.Tenant = "other"
	for _, p := range []access.Principal{viewer, other, {}} {
		_, err := n.archive.Ingest(t.Context(), p, request, store.Incoming{TransferSyntax: explicitLE}, bytes.NewReader(sent))
		if !errors.Is(err, store.ErrDenied) {
			t.Errorf("error = %v", err)
		}
	}
	if got := n.events(store.EventDenied); len(got) != 3 || got[0].Principal != viewer {
		t.Errorf("denied events = %+v", got)
	}
	n.holdsNothing()
}

// Invariant 8.
func TestSameInstanceAgain(t *testing.T) {
	n := newNode(t)
	d := still("1.1", "1.1.1", "1.1.1.1")
	n.mustIngest(encode(t, d, explicitLE), store.Stored)
	n.mustIngest(encode(t, d, explicitLE), store.Duplicate)
	if r, err := n.ingest(syntax(dicom.ImplicitVRLittleEndian), encode(t, d, syntax(dicom.ImplicitVRLittleEndian))); err != nil || r.Outcome != store.Duplicate {
		t.Errorf("the same content in another syntax: %v, %v", r.Outcome, err)
	}
	if blobs := n.instanceBlobs(); len(blobs) != 1 {
		t.Errorf("%d blobs, want 1", len(blobs))
	}
	if !bytes.Equal(n.stored("1.1"), encode(t, d, explicitLE)) {
		t.Error("what was stored first was replaced")
	}

	changed := still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) { d.SetString(dict.PatientName, "Other^One") })
	n.mustIngest(encode(t, changed, explicitLE), store.Quarantined)
	n.mustIngest(encode(t, changed, explicitLE), store.Quarantined)
	if blobs := n.instanceBlobs(); len(blobs) != 2 {
		t.Errorf("%d blobs after the same conflict twice, want 2", len(blobs))
	}
	if !bytes.Equal(n.stored("1.1"), encode(t, d, explicitLE)) {
		t.Error("what was stored first was replaced")
	}
	alerts := n.events(store.EventQuarantined)
	if len(alerts) != 2 || alerts[0].Blob == "" || alerts[0].Blob != alerts[1].Blob || alerts[0].Outcome == store.OutcomeSuccess {
		t.Errorf("alerts = %+v", alerts)
	}
	if got := n.find(); !slices.Equal(got, []string{"1.1.1.1"}) {
		t.Errorf("a search finds %v", got)
	}
	if report := n.sound(); report.Quarantined != 1 || report.Instances != 1 || report.Unadopted != 0 {
		t.Errorf("check = %+v", report)
	}
}

// Invariant 8, many towers at once: every instance is sent by four of them, one
// of which has other content.
func TestConcurrentIngest(t *testing.T) {
	const instances, senders = 40, 16
	n := newNode(t)
	data := func(i int, other bool) []byte {
		return encode(t, still("1.1", fmt.Sprintf("1.1.%d", i%3), fmt.Sprintf("1.1.9.%d", i), func(d *dicom.DataSet) {
			if other {
				d.SetString(dict.PatientID, "OTHER")
			}
		}), explicitLE)
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		counts = map[store.IngestOutcome]int{}
		work   = make(chan []byte)
	)
	for range senders {
		wg.Go(func() {
			for b := range work {
				r, err := n.ingest(explicitLE, b)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				counts[r.Outcome]++
				mu.Unlock()
			}
		})
	}
	for i := range instances {
		for sender := range 4 {
			work <- data(i, sender == 3)
		}
	}
	close(work)
	wg.Wait()

	if got := n.find(); len(got) != instances || counts[store.Stored] != instances {
		t.Errorf("%d found, %v", len(got), counts)
	}
	// Whichever of the two contents came first, one row and one blob kept aside.
	report := n.sound()
	if report.Instances != instances || report.Quarantined != instances || report.Unadopted != 0 {
		t.Errorf("check = %+v", report)
	}
	if blobs := n.instanceBlobs(); len(blobs) != 2*instances {
		t.Errorf("%d blobs", len(blobs))
	}
	studies := map[string]bool{}
	for _, name := range n.instanceBlobs() {
		studies[name[:65]] = true
	}
	if len(studies) != 1 {
		t.Errorf("one study was sealed under %d keys", len(studies))
	}
}

// Invariant 8: the same instance twice at the same moment. The second one's
// blob is there before the first one's record is: it must wait for the
// decision about the first.
func TestTheSameInstanceTwiceAtOnce(t *testing.T) {
	puts := make(chan struct{}, 2)
	n := newNode(t, func(cfg *store.Config) { cfg.Blobs = &putSignal{cfg.Blobs, puts} })
	var once sync.Once
	n.journal.Before(func(e store.Event) {
		once.Do(func() {
			<-puts
			<-puts
			for range 1000 {
				runtime.Gosched()
			}
		})
	})
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := n.ingest(explicitLE, sent); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, d := n.events(store.EventStored), n.events(store.EventDuplicate); len(s) != 1 || len(d) != 1 {
		t.Errorf("journal = %v", n.journal.Kinds())
	}
	if blobs := n.instanceBlobs(); len(blobs) != 1 {
		t.Errorf("%d blobs", len(blobs))
	}
}

// putSignal tells when the blob of an instance is durable.
type putSignal struct {
	store.Blobs
	done chan struct{}
}

func (b *putSignal) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	err := b.Blobs.Put(ctx, name, size, write)
	if _, _, _, ok := seal.ParseObjectName(name); ok {
		b.done <- struct{}{}
	}
	return err
}

func TestIngestEndsWithItsContext(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	data := io.MultiReader(bytes.NewReader(sent[:100]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, nil
	}), bytes.NewReader(sent[100:]))
	_, err := n.archive.Ingest(ctx, tower, request, store.Incoming{TransferSyntax: explicitLE}, data)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	n.holdsNothing()
}

func TestNothingWorksAfterClose(t *testing.T) {
	n := newNode(t)
	n.archive.Close()
	if _, err := n.ingest(explicitLE, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("ingest: %v", err)
	}
	if _, err := n.archive.Open(t.Context(), tower, viewing, store.Selection{StudyInstanceUID: "1.1"}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("open: %v", err)
	}
	if _, err := n.archive.Search(t.Context(), tower, viewing, store.NewQuery(store.StudyLevel)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("search: %v", err)
	}
}

func TestCloseWaitsForWhatComesIn(t *testing.T) {
	n := newNode(t)
	sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
	reading, closing := make(chan struct{}), make(chan struct{})
	data := io.MultiReader(bytes.NewReader(sent[:100]), readerFunc(func([]byte) (int, error) {
		close(reading)
		<-closing
		return 0, io.EOF
	}), bytes.NewReader(sent[100:]))
	done := make(chan error, 1)
	go func() {
		_, err := n.archive.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE}, data)
		done <- err
	}()
	<-reading
	go close(closing)
	n.archive.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	default:
		if len(n.events(store.EventStored)) == 0 {
			t.Error("Close returned before the ingest was done")
		}
	}
}

// When the stored copy is gone from the disk, or cut, what comes in again is
// not a duplicate but the only copy there is.
func TestWhatWasLostIsStoredAgain(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, n *node, name string){
		"gone": func(t *testing.T, n *node, name string) {
			if err := n.blobs.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		},
		"cut": func(t *testing.T, n *node, name string) {
			r, err := n.blobs.Open(t.Context(), name, 0, 200)
			if err != nil {
				t.Fatal(err)
			}
			part := readAll(t, r)
			if err := errors.Join(n.blobs.Delete(t.Context(), name), n.blobs.Put(t.Context(), name, 200, func(w io.Writer) error {
				_, err := w.Write(part)
				return err
			})); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			sent := encode(t, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)
			n.mustIngest(sent, store.Stored)
			lose(t, n, n.instanceBlobs()[0])
			n.mustIngest(sent, store.Stored)
			n.mustIngest(sent, store.Duplicate)
			if !bytes.Equal(n.stored("1.1"), sent) {
				t.Error("other bytes are stored")
			}
			n.crash()
			if !bytes.Equal(n.stored("1.1"), sent) {
				t.Error("other bytes are stored after a crash")
			}
		})
	}
}
