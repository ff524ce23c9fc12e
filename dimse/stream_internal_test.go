package dimse

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"lumen/dimse/pdu"
)

// Whatever the peer's maximum length, the size of the object and the way in
// which it is read on both sides, it arrives as it was sent, and of even length.
func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{0, smallestPDU, 9, 100, 1000, 4096, 16 << 10, 128 << 10, 1 << 20}).Draw(t, "maximum length")
		top := 600 << 10
		if limit != 0 {
			top = min(top, limit*100)
		}
		data := bytes.Repeat([]byte("0123456789abcdef~"), top/17+1)[:rapid.IntRange(0, top).Draw(t, "size")]
		var source io.Reader = bytes.NewReader(data)
		switch rapid.IntRange(0, 3).Draw(t, "source") {
		case 1:
			source = iotest.HalfReader(source)
		case 2:
			source = iotest.DataErrReader(source)
		case 3:
			source = io.MultiReader(io.LimitReader(source, 77), source)
		}
		writeTo := rapid.Bool().Draw(t, "write to")

		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		sender := newLink(ours, Limits{}.orDefaults(), false)
		receiver := newLink(theirs, Limits{}.orDefaults(), true)
		sender.machine.state, receiver.machine.state = staData, staData
		sender.maxSend = limit
		done := make(chan error, 1)
		go func() {
			c := command{Field: cStoreRQ, MessageID: 3, SOPClass: "1.2.3", SOPInstance: "1.2.3.4"}
			n, err := sender.sendStream(5, &c, source)
			if err == nil && n != int64(len(data)) {
				err = io.ErrShortWrite
			}
			done <- err
		}()
		var c command
		id, err := receiver.command(&c)
		if err != nil || id != 5 || !c.HasData || c.SOPInstance != "1.2.3.4" {
			t.Fatalf("command %+v in context %d, %v", c, id, err)
		}
		d := dataReader{link: receiver, id: id, max: 1 << 30}
		var got bytes.Buffer
		if writeTo {
			_, err = d.WriteTo(&got)
		} else {
			_, err = got.ReadFrom(iotest.HalfReader(&d))
		}
		want := append(data[:len(data):len(data)], make([]byte, len(data)%2)...)
		if err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d bytes of %d, %v", got.Len(), len(data), err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if receiver.pduLeft != 0 || receiver.pdvLeft != 0 {
			t.Fatal("the message has more than its last fragment")
		}
	})
}

// A fragment is never longer than the peer wants, nor odd before the last.
func TestFragmentsKeepToTheMaximumLength(t *testing.T) {
	for _, limit := range []int{smallestPDU, 9, 10, 4096, 16384, 131072} {
		l := &link{maxSend: limit}
		if n := l.fragment(); n+pdu.PDVHeaderSize > limit || n%2 != 0 || n < 2 {
			t.Errorf("maximum length %d: fragments of %d", limit, n)
		}
	}
}

// counting counts the calls of a connection and of a source.
type counting struct {
	net.Conn
	io.Reader
	writes, reads, bytes int
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	c.bytes += len(b)
	return len(b), nil
}

func (c *counting) Read(b []byte) (int, error) {
	c.reads++
	return c.Reader.Read(b)
}

func (c *counting) SetWriteDeadline(time.Time) error { return nil }

// A peer that takes tiny PDUs only gets many of them, but not each by a call of
// the operating system: neither to write it, nor to read what is in it.
func TestTinyPDUsLeaveTogether(t *testing.T) {
	const size = 100_000
	for _, limit := range []int{smallestPDU, 12, 100, 4096} {
		for name, send := range map[string]func(*link, *counting) error{
			"object": func(l *link, c *counting) error {
				_, err := l.sendStream(1, &command{Field: cStoreRQ}, struct{ io.Reader }{c})
				return err
			},
			"data set": func(l *link, c *counting) error {
				return l.send(1, &command{Field: cFindRQ | response}, make([]byte, size))
			},
		} {
			c := &counting{Reader: bytes.NewReader(make([]byte, size))}
			l := newLink(c, Limits{}.orDefaults(), false)
			l.machine.state, l.maxSend = staData, limit
			if err := send(l, c); err != nil {
				t.Fatal(err)
			}
			fragments := size / l.fragment()
			if c.bytes < size+fragments*pdu.DataHeaderSize {
				t.Errorf("%s, maximum length %d: %d bytes left", name, limit, c.bytes)
			}
			if c.writes > 1+c.bytes/(sendBuffer/2) || c.reads > 50 {
				t.Errorf("%s, maximum length %d: %d fragments in %d writes, from %d reads", name, limit, fragments, c.writes, c.reads)
			}
		}
	}
}
