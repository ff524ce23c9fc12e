package seal

import (
	"crypto/rand"
	"errors"
	"io"
)

var (
	errClosed  = errors.New("sealed object is closed")
	errAborted = errors.New("sealed object was given up")
)

// Writer seals a stream. The object is complete only after Close returned nil;
// what was written before is detected as cut short. After an error every
// further call returns it.
type Writer struct {
	dst     io.Writer
	message *message
	plain   *[ChunkSize]byte // a chunk that is not full yet
	partial int
	sealed  *[batch * sealedChunk]byte
	filled  int // bytes of sealed that wait to be written
	chunk   int64
	nonce   nonce
	err     error
}

// NewWriter seals what is written into an object with the given header under
// key. It does not write before the first 128 KiB or Close. The caller calls
// Close; it does not close w.
func NewWriter(w io.Writer, key Key, h Header) (*Writer, error) {
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails
	return newWriter(w, key, h, salt)
}

func newWriter(w io.Writer, key Key, h Header, salt [saltSize]byte) (*Writer, error) {
	header := h.withDefaults().encode()
	if _, err := ParseHeader(header[:]); err != nil {
		return nil, err // a version or suite that is not ours to write
	}
	m, err := derive(key, salt[:], header)
	if err != nil {
		return nil, err
	}
	s := &Writer{dst: w, message: m}
	s.plain = chunkBuffers.Get().(*[ChunkSize]byte)
	s.sealed = sealedBuffers.Get().(*[batch * sealedChunk]byte)
	s.filled = copy(s.sealed[:], header[:])
	s.filled += copy(s.sealed[s.filled:], salt[:])
	s.filled += copy(s.sealed[s.filled:], m.commitment[:])
	return s, nil
}

// Write seals p.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for w.err == nil && len(p) > 0 {
		if w.partial == 0 && len(p) >= ChunkSize {
			w.seal(p[:ChunkSize])
			p, written = p[ChunkSize:], written+ChunkSize
			continue
		}
		n := copy(w.plain[w.partial:], p)
		p, written, w.partial = p[n:], written+n, w.partial+n
		if w.partial == ChunkSize {
			w.seal(w.plain[:])
			w.partial = 0
		}
	}
	return written, w.err
}

// seal appends one chunk to the batch, writing it out first when it is full.
func (w *Writer) seal(chunk []byte) {
	if w.chunk == maxChunks {
		w.err = errors.New("sealed object is larger than 4 PiB")
		return
	}
	if w.filled+len(chunk)+tagSize > len(w.sealed) {
		if w.flush(); w.err != nil {
			return
		}
	}
	out := w.message.aead.Seal(w.sealed[:w.filled], w.nonce.set(w.message, w.chunk), chunk, nil)
	w.filled = len(out)
	w.chunk++
}

func (w *Writer) flush() {
	n, err := w.dst.Write(w.sealed[:w.filled])
	if err == nil && n < w.filled {
		err = io.ErrShortWrite
	}
	w.filled, w.err = 0, err
}

// Close seals the last chunk, which may be empty, and writes what is left. A
// second Close returns the error of the first.
func (w *Writer) Close() error {
	if w.plain == nil {
		if errors.Is(w.err, errClosed) {
			return nil
		}
		return w.err
	}
	if w.err == nil {
		w.seal(w.plain[:w.partial])
	}
	if w.err == nil {
		w.flush()
	}
	w.release()
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}

// Abort gives the buffers back without completing the object. It may follow
// Close, then it does nothing; a Close that follows it returns an error.
func (w *Writer) Abort() {
	if w.plain != nil {
		w.release()
		w.err = errAborted
	}
}

func (w *Writer) release() {
	clear(w.plain[:]) // no plaintext stays behind in the pool
	chunkBuffers.Put(w.plain)
	sealedBuffers.Put(w.sealed)
	w.plain, w.sealed = nil, nil
}
