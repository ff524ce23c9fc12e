package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"lumen/internal/peertest"
)

const (
	videoSize  = 1 << 30  // bytes of the one fragment
	maxGrowth  = 32 << 20 // bytes of anonymous memory
	videoStudy = "2.25.77.1"
)

// A video of 1 GiB goes in and comes out, by C-MOVE and by WADO-RS, while the
// node's anonymous memory grows by 32 MiB at most.
func TestVideoInConstantMemory(t *testing.T) {
	peertest.Needs(t, "movescu", "storescp")
	sink := startReceiver(t, "SINK", "--ignore")
	n := startNode(t, "destinations:\n- {title: SINK, address: \"127.0.0.1:"+sink.port+"\"}\n")
	n.warmUp(t)

	memory := n.watchMemory(t)
	digest := sha256.New()
	c, err := n.associate(videoEndoscopic, mpeg4)
	if err != nil {
		t.Fatal(err)
	}
	status, err := c.store(videoEndoscopic, videoStudy+".1.1", io.TeeReader(video(), digest))
	if err != nil || status != 0 {
		t.Fatalf("C-STORE: %04x, %v", status, err)
	}
	c.abort()
	memory.check(t, "C-STORE")

	memory = n.watchMemory(t)
	host, port := n.hostPort()
	out, code := run(t, "movescu", "-v", "-S", "-aem", "SINK", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+videoStudy, host, port)
	if code != 0 || !regexp.MustCompile(`Completed Suboperations *: 1|Received Final Move Response \(Success\)`).MatchString(out) {
		t.Errorf("movescu: %s", tail(out, 1000))
	}
	memory.check(t, "C-MOVE")

	memory = n.watchMemory(t)
	if got := n.digestOf(t, n.url("/dicom-web/studies/%s", videoStudy)); got != [32]byte(digest.Sum(nil)) {
		t.Error("WADO-RS gives other bytes")
	}
	memory.check(t, "WADO-RS")
}

// video is a data set with one large fragment, made as it is read.
func video() io.Reader {
	var head, tail builder
	head.put(tagSOPClass, "UI", videoEndoscopic)
	head.put(tagSOPInstance, "UI", videoStudy+".1.1")
	head.put(tagModality, "CS", "ES")
	head.put(tagPatientName, "PN", "Video^Long")
	head.put(tagPatientID, "LO", "V1")
	head.put(tagStudy, "UI", videoStudy)
	head.put(tagSeries, "UI", videoStudy+".1")
	head.head(tagPixelData, "OB", undefinedLength)
	head.item(itemTag, 0)
	head.item(itemTag, videoSize)
	tail.item(sequenceDelimiter, 0)
	return io.MultiReader(&head, io.LimitReader(new(noise), videoSize), &tail)
}

// noise reads as bytes that do not repeat within a chunk of 16 KiB.
type noise struct{ n uint32 }

func (z *noise) Read(p []byte) (int, error) {
	for i := range p {
		z.n = z.n*1664525 + 1013904223
		p[i] = byte(z.n >> 24)
	}
	return len(p), nil
}

// digestOf retrieves one instance and hashes its data set as it comes.
func (n *node) digestOf(t *testing.T, url string) [32]byte {
	t.Helper()
	rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set("Accept", asStored)
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	_, params, err := mime.ParseMediaType(rsp.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(rsp.Status, err)
	}
	part, err := multipart.NewReader(rsp.Body, params["boundary"]).NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	start := make([]byte, 144)
	if _, err := io.ReadFull(part, start); err != nil {
		t.Fatal(err)
	}
	var meta builder
	meta.Write(start[140:])
	length := int64(meta.Bytes()[0]) | int64(meta.Bytes()[1])<<8
	if _, err := io.CopyN(io.Discard, part, length); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, part); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// warmUp lets the node allocate what any first use allocates.
func (n *node) warmUp(t *testing.T) {
	t.Helper()
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.abort()
	s := still{Study: "2.25.76", Series: "2.25.76.1", Instance: "2.25.76.1.1", Name: "Warm^Up", ID: "W", Size: 1 << 20}
	data := s.dataSet(rngFor(t))
	if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(data)); err != nil || status != 0 {
		t.Fatalf("C-STORE: %04x, %v", status, err)
	}
	n.retrieve(n.url("/dicom-web/studies/%s", s.Study))
}

// memoryWatch samples the anonymous memory of a process.
type memoryWatch struct {
	start, peak int64
	stop        chan struct{}
	done        sync.WaitGroup
}

func (n *node) watchMemory(t *testing.T) *memoryWatch {
	t.Helper()
	pid := n.cmd.Process.Pid
	start, err := rssAnon(pid)
	if err != nil {
		t.Fatal(err)
	}
	w := &memoryWatch{start: start, peak: start, stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				if now, err := rssAnon(pid); err == nil {
					w.peak = max(w.peak, now)
				}
			}
		}
	})
	return w
}

func (w *memoryWatch) check(t *testing.T, during string) {
	t.Helper()
	close(w.stop)
	w.done.Wait()
	t.Logf("%s: anonymous memory %d MiB, at most %d MiB", during, w.start>>20, w.peak>>20)
	if w.peak-w.start > maxGrowth {
		t.Errorf("%s: anonymous memory grows by %d MiB", during, (w.peak-w.start)>>20)
	}
}

var rssAnonLine = regexp.MustCompile(`RssAnon:\s*(\d+) kB`)

// rssAnon is the anonymous resident memory of a process in bytes.
func rssAnon(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := rssAnonLine.FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("no RssAnon in the status of process %d", pid)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	return kib << 10, err
}
