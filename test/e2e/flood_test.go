package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A thousand connections a second that ask for an association and abort it, or
// abort at once: memory stays bounded, and echoes are answered meanwhile.
func TestAThousandAbortsASecond(t *testing.T) {
	const rate, seconds, callers = 1000, 5, 16
	n := startNode(t, "")
	n.warmUp(t)
	w := n.watchMemory(t)
	request := associationRequest("FLOOD")
	abort := pdu(7, []byte{0, 0, 0, 0})
	var made, failed atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < rate*seconds; i += callers {
				<-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / rate)))
				conn, err := net.Dial("tcp", n.dimse)
				if err != nil {
					failed.Add(1)
					continue
				}
				if i%2 == 0 {
					conn.Write(request)
				}
				conn.Write(abort)
				conn.Close()
				made.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	slowest, echoes := time.Duration(0), 0
	for flooding := true; flooding; {
		began := time.Now()
		if out, code := run(t, lumenBinary, "echo", n.dimse); code != 0 {
			t.Errorf("echo in the flood ends with %d: %s", code, out)
		}
		slowest, echoes = max(slowest, time.Since(began)), echoes+1
		select {
		case <-done:
			flooding = false
		default:
		}
	}
	took := time.Since(begin)
	close(w.stop)
	w.done.Wait()
	t.Logf("%.0f connections a second, %d echoes, the slowest took %v; anonymous memory %d MiB, at most %d MiB",
		float64(made.Load())/took.Seconds(), echoes, slowest, w.start>>20, w.peak>>20)
	if made.Load() != rate*seconds {
		t.Errorf("%d connections, %d more failed", made.Load(), failed.Load())
	}
	if took > 3*seconds*time.Second {
		t.Errorf("the node took %v for what came in %d s", took, seconds)
	}
	if echoes < 10 || slowest > 5*time.Second {
		t.Errorf("%d echoes, the slowest took %v", echoes, slowest)
	}
	if growth := w.peak - w.start; growth > attackGrowth {
		t.Errorf("anonymous memory grows by %d MiB", growth>>20)
	}
	n.clean()
}

// associationRequest asks for verification (PS3.8 section 9.3.2).
func associationRequest(title string) []byte {
	body := fmt.Appendf([]byte{0, 1, 0, 0}, "%-16s%-16s", "LUMEN", title)
	body = append(body, make([]byte, 32)...)
	return pdu(1, bytes.Join([][]byte{body, item(0x10, []byte("1.2.840.10008.3.1.1.1")),
		item(0x20, []byte{1, 0, 0, 0}, item(0x30, []byte("1.2.840.10008.1.1")), item(0x40, []byte("1.2.840.10008.1.2"))),
		item(0x50, item(0x51, []byte{0, 0, 0x40, 0}))}, nil))
}

// A full house: 512 associations, of which 32 store at once, are served within
// the memory that an attack may cost. The next is told to come again.
func TestFullHouse(t *testing.T) {
	const all, storing, stills = 512, 32, 5
	n := startNode(t, "limits: {associations_per_peer: 600}\n")
	n.warmUp(t)
	w := n.watchMemory(t)
	var house []*client
	for i := range all {
		c, err := n.associate(vlEndoscopic, jpegBaseline)
		if err != nil {
			t.Fatalf("association %d: %v", i+1, err)
		}
		defer c.abort()
		house = append(house, c)
	}
	oneMore := func() []byte {
		t.Helper()
		conn, err := net.Dial("tcp", n.dimse)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(associationRequest("ONE MORE"))
		answer := make([]byte, 10)
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	rejected := []byte{3, 0, 0, 0, 0, 4, 0, 2, 3, 2} // transient, the presentation provider, local limit exceeded
	if got := oneMore(); !bytes.Equal(got, rejected) {
		t.Errorf("association %d is answered % x, want % x", all+1, got, rejected)
	}
	var wg sync.WaitGroup
	for i, c := range house[:storing] {
		rng := rngFor(t)
		study := fmt.Sprintf("2.25.7100.%d", i)
		wg.Go(func() {
			for k := range stills {
				s := still{Study: study, Series: study + ".1", Instance: fmt.Sprintf("%s.1.%d", study, k), Name: "Full^House", ID: "F", Number: k, Size: 220_000}
				if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(s.dataSet(rng))); err != nil || status != 0 {
					t.Errorf("C-STORE: %04x, %v", status, err)
				}
			}
		})
	}
	wg.Wait()
	if got := oneMore(); !bytes.Equal(got, rejected) {
		t.Errorf("association %d is answered % x, want % x", all+1, got, rejected)
	}
	close(w.stop)
	w.done.Wait()
	t.Logf("anonymous memory %d MiB, at most %d MiB", w.start>>20, w.peak>>20)
	if growth := w.peak - w.start; growth > attackGrowth {
		t.Errorf("anonymous memory grows by %d MiB", growth>>20)
	}
	house[all-1].abort()
	n.until("there is room again", 10*time.Second, func() bool { return oneMore()[0] == 2 })
	n.clean()
}
