package store

import (
	"io"
	"runtime"
	"sync"
)

const (
	// aheadFrom is how many bytes of a data set are written before the rest is
	// written by a goroutine of its own: starting one for a still costs more than
	// it gives.
	aheadFrom = 1 << 20
	// aheadSize and aheadBuffers are what one large data set may be ahead of its
	// writer.
	aheadSize    = 128 << 10
	aheadBuffers = 4
)

// aheadRing is the memory between a scan and its writer.
type aheadRing [aheadBuffers][aheadSize]byte

var aheadRings = sync.Pool{New: func() any { return new(aheadRing) }}

// aheadSlots bounds how many writers run beside their scans: one for each
// processor. With more data sets than that under way there is no processor to
// gain, and each is written by who scans it.
type aheadSlots chan struct{}

func newAheadSlots() aheadSlots { return make(aheadSlots, runtime.GOMAXPROCS(0)) }

// ahead is an io.Writer that lets its caller go on while what it wrote is being
// written to dst: receiving and hashing a large data set on one processor,
// sealing it and handing it to the disk on another. An error of dst may come
// from a later Write, or from end. The caller calls end before it uses dst
// itself, whatever happens.
type ahead struct {
	slots aheadSlots
	dst   io.Writer
	n     int64 // bytes written before the goroutine ran

	ring *aheadRing // nil while there is no goroutine
	buf  []byte     // the part of the ring that is being filled
	full chan []byte
	free chan []byte
	done chan struct{} // closed when the goroutine has ended, which it does early on an error

	err      error // of dst; the goroutine's until done
	panicked any   // what dst panicked with
}

// Write implements io.Writer.
func (w *ahead) Write(p []byte) (int, error) {
	if w.ring == nil {
		if w.n < aheadFrom || !w.start() {
			w.n += int64(len(p))
			return w.dst.Write(p)
		}
	}
	written := 0
	for written < len(p) {
		n := min(len(p)-written, cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[written:written+n]...)
		written += n
		if len(w.buf) < cap(w.buf) {
			break
		}
		w.full <- w.buf // has room for all
		select {
		case w.buf = <-w.free:
		case <-w.done:
			w.buf = nil
			return written, w.end()
		}
	}
	return written, nil
}

// start runs the writer, if there is a slot.
func (w *ahead) start() bool {
	select {
	case w.slots <- struct{}{}:
	default:
		return false
	}
	w.ring = aheadRings.Get().(*aheadRing)
	w.full, w.free = make(chan []byte, aheadBuffers), make(chan []byte, aheadBuffers)
	for i := range w.ring {
		w.free <- w.ring[i][:0]
	}
	w.buf = <-w.free
	w.done = make(chan struct{})
	go w.run()
	return true
}

// run writes until end, or an error. A panic is the caller's: an association
// has its own recover, a goroutine has none.
func (w *ahead) run() {
	defer close(w.done)
	defer func() { w.panicked = recover() }()
	for b := range w.full {
		if _, w.err = w.dst.Write(b); w.err != nil {
			return
		}
		w.free <- b[:0]
	}
}

// end waits until everything is written and returns the error of that. It may
// be called again.
func (w *ahead) end() error {
	if w.ring == nil {
		return w.err
	}
	if len(w.buf) > 0 {
		w.full <- w.buf
	}
	close(w.full)
	<-w.done
	clear(w.ring[:]) // no plaintext stays behind in the pool
	aheadRings.Put(w.ring)
	w.ring, w.buf, w.n = nil, nil, 0
	<-w.slots
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.err
}
