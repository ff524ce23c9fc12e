package seal

import (
	"errors"
	"fmt"
	"io"
)

// Reader opens a sealed stream from its beginning to its end. It returns
// io.EOF only after the whole object has been authenticated to its end; a
// missing end is [ErrTruncated]. After an error every further call returns it.
type Reader struct {
	src     io.Reader
	message *message
	bufs    *buffers
	plain   []byte // opened, not yet read
	next    int64  // number of the next chunk
	last    bool   // the last chunk has been opened
	err     error
}

// buffers are what opening a batch of chunks needs.
type buffers struct {
	plain  *[batch * ChunkSize]byte
	sealed *[batch * sealedChunk]byte
	nonce  nonce
}

func newBuffers() *buffers {
	return &buffers{
		plain:  plainBuffers.Get().(*[batch * ChunkSize]byte),
		sealed: sealedBuffers.Get().(*[batch * sealedChunk]byte),
	}
}

// release gives the buffers back, with the used bytes of plaintext wiped.
func (b *buffers) release() {
	clear(b.plain[:])
	plainBuffers.Put(b.plain)
	sealedBuffers.Put(b.sealed)
}

// NewReader reads the prefix of an object and checks that it has the header
// want and was sealed with key. The caller closes the Reader, which gives its
// buffers back and does not close r.
func NewReader(r io.Reader, key Key, want Header) (*Reader, error) {
	var prefix [PrefixSize]byte
	if err := readPrefix(r, prefix[:]); err != nil {
		return nil, err
	}
	m, err := openPrefix(prefix[:], key, want)
	if err != nil {
		return nil, err
	}
	return &Reader{src: r, message: m, bufs: newBuffers()}, nil
}

func readPrefix(r io.Reader, prefix []byte) error {
	n, err := io.ReadFull(r, prefix)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		if n < len(magic) || string(prefix[:len(magic)]) != magic {
			return fmt.Errorf("%w: %w", ErrFormat, ErrTruncated)
		}
		return ErrTruncated
	}
	return err
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.plain) == 0 {
		r.fill()
	}
	if len(r.plain) == 0 {
		return 0, r.err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo]: io.Copy takes it, and writes 128 KiB at once.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	return drain(w, func() []byte {
		if len(r.plain) == 0 {
			r.fill()
		}
		p := r.plain
		r.plain = nil
		return p
	}, &r.err)
}

// drain writes what next returns until it returns nothing, then reports *end.
func drain(w io.Writer, next func() []byte, end *error) (total int64, err error) {
	for {
		p := next()
		if len(p) == 0 {
			if *end == io.EOF {
				return total, nil
			}
			return total, *end
		}
		n, err := w.Write(p)
		total += int64(n)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, err
		}
	}
}

// fill opens the next batch, or sets err.
func (r *Reader) fill() {
	if r.err != nil {
		return
	}
	if r.last {
		r.err = io.EOF
		return
	}
	n, err := io.ReadFull(r.src, r.bufs.sealed[:])
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		// Only the last chunk is short: an end on a border is a cut.
		if r.last = true; n%sealedChunk < tagSize {
			r.err = ErrTruncated
			return
		}
	case err != nil:
		r.err = err
		return
	}
	if r.next > maxChunks-batch {
		r.err = ErrFormat
		return
	}
	if r.plain, r.err = r.message.openChunks(r.bufs.plain[:0], r.bufs.sealed[:n], r.next, &r.bufs.nonce); r.err != nil {
		r.plain = nil
		return
	}
	r.next += int64((n + sealedChunk - 1) / sealedChunk)
	if r.last && len(r.plain) == 0 {
		r.err = io.EOF
	}
}

// Close gives the buffers back.
func (r *Reader) Close() error {
	if r.bufs != nil {
		r.bufs.release()
		r.bufs, r.plain = nil, nil
		if r.err == nil || errors.Is(r.err, io.EOF) {
			r.err = errClosed
		}
	}
	return nil
}
