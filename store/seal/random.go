package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// window is how many chunks one ranged read of the source asks for at most:
// just under 1 MiB. An open-ended request would fill socket buffers with what
// the reader may never want.
const window = (1<<20 - PrefixSize) / sealedChunk

// RangeOpener opens n bytes of a sealed object from off. A short answer is
// taken for a cut object.
type RangeOpener func(ctx context.Context, off, n int64) (io.ReadCloser, error)

// ReaderAt opens ranges of a sealed object that lies elsewhere. It reads the
// object's prefix once, together with the first range where that begins in the
// first chunk, so keep a ReaderAt when more ranges will follow. It is safe for concurrent use
// and holds no buffers itself.
//
// What it returns is authentic. That the object still has its end is known only
// when a range reached it; the size comes from the caller.
type ReaderAt struct {
	src   RangeOpener
	key   Key
	want  Header
	plain int64

	mu      sync.Mutex
	message *message // nil until the prefix has been read
}

// NewReaderAt prepares for an object of size bytes (sealed) that has the header
// want and was sealed with key. It reads nothing yet.
func NewReaderAt(src RangeOpener, size int64, key Key, want Header) (*ReaderAt, error) {
	plain, err := PlainSize(size)
	if err != nil {
		return nil, err
	}
	return &ReaderAt{src: src, key: key, want: want, plain: plain}, nil
}

// Size is the size of the plaintext in bytes.
func (r *ReaderAt) Size() int64 { return r.plain }

// ReadAt implements [io.ReaderAt]. It cannot be cancelled: see OpenRange.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if len(p) == 0 {
		return 0, nil
	}
	rc, err := r.OpenRange(context.Background(), off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer rc.Close() // read only: nothing is lost by an error here
	n, err := io.ReadFull(rc, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// OpenRange streams n bytes of plaintext from off, or to the end when n is -1;
// what lies past the end is cut off. Ctx governs the stream too. The source is
// asked for at most 1 MiB at once, and again only when that has been consumed.
// The caller closes the stream, which also implements [io.WriterTo].
func (r *ReaderAt) OpenRange(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < -1 {
		return nil, errors.New("negative offset or length")
	}
	s := &rangeReader{ctx: ctx, of: r, skip: int(off % ChunkSize), end: r.plain, next: off / ChunkSize}
	if n >= 0 && n < r.plain-off {
		s.end = off + n
	}
	switch {
	case off > s.end || off == s.end && n >= 0:
		s.stop = s.next // nothing is wanted
	case s.end == r.plain:
		s.stop = r.plain/ChunkSize + 1 // with the last chunk, even where it is empty
	default:
		s.stop = (s.end + ChunkSize - 1) / ChunkSize
	}
	s.bufs = newBuffers()
	if s.fill(); s.err != nil && s.err != io.EOF {
		return nil, errors.Join(s.err, s.Close())
	}
	return s, nil
}

// rangeReader streams plaintext up to end.
type rangeReader struct {
	ctx   context.Context
	of    *ReaderAt
	end   int64  // in the plaintext
	next  int64  // number of the next chunk to open
	stop  int64  // number of the chunk after the last of the range
	until int64  // number of the chunk after the last that src delivers
	skip  int    // bytes of the next batch that are before the range
	plain []byte // opened, not yet read
	src   io.ReadCloser
	bufs  *buffers
	err   error
}

func (s *rangeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.plain) == 0 {
		s.fill()
	}
	if len(s.plain) == 0 {
		return 0, s.err
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

func (s *rangeReader) WriteTo(w io.Writer) (int64, error) {
	return drain(w, func() []byte {
		if len(s.plain) == 0 {
			s.fill()
		}
		p := s.plain
		s.plain = nil
		return p
	}, &s.err)
}

// fill opens the next batch of chunks, or sets err.
func (s *rangeReader) fill() {
	if s.err != nil {
		return
	}
	if s.next >= s.stop {
		s.err = io.EOF
		return
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return
	}
	if s.src == nil {
		if s.err = s.openWindow(); s.err != nil {
			return
		}
	}
	count := min(s.until-s.next, batch)
	size := min(count*sealedChunk, sealedBody(s.of.plain)-s.next*sealedChunk)
	n, err := io.ReadFull(s.src, s.bufs.sealed[:size])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%w: %d of %d bytes at chunk %d", ErrTruncated, n, size, s.next)
	}
	if s.err = err; err != nil {
		return
	}
	plain, err := s.of.message.openChunks(s.bufs.plain[:0], s.bufs.sealed[:size], s.next, &s.bufs.nonce)
	if s.err = err; err != nil {
		return
	}
	plain = plain[:min(int64(len(plain)), s.end-s.next*ChunkSize)]
	s.plain, s.skip = plain[s.skip:], 0
	if s.next += count; s.next == s.until {
		s.err = s.closeWindow()
	}
	if s.err == nil && len(s.plain) == 0 {
		s.err = io.EOF // the last chunk was empty
	}
}

// sealedBody is the size of all chunks of an object with so much plaintext.
func sealedBody(plain int64) int64 { return SealedSize(plain) - PrefixSize }

// openWindow asks the source for the next chunks of the range, and for the
// prefix if that has not been read: with them where they are the first.
func (s *rangeReader) openWindow() error {
	s.until = min(s.stop, s.next+window)
	from := PrefixSize + s.next*sealedChunk
	to := PrefixSize + min(s.until*sealedChunk, sealedBody(s.of.plain))
	with, err := s.of.ready(s.ctx, s.next == 0)
	if err != nil {
		return err
	}
	if with {
		from = 0
	}
	if s.src, err = s.of.src(s.ctx, from, to-from); err != nil {
		return err
	}
	if with {
		return s.of.readPrefix(s.src)
	}
	return nil
}

// ready makes sure that the prefix has been read. Where the caller begins at the
// first chunk it is left to that read instead: then with is true.
func (r *ReaderAt) ready(ctx context.Context, atStart bool) (with bool, err error) {
	r.mu.Lock()
	known := r.message != nil
	r.mu.Unlock()
	if known || atStart {
		return !known, nil
	}
	rc, err := r.src(ctx, 0, PrefixSize)
	if err != nil {
		return false, err
	}
	return false, errors.Join(r.readPrefix(rc), rc.Close())
}

func (r *ReaderAt) readPrefix(src io.Reader) error {
	var prefix [PrefixSize]byte
	if err := readPrefix(src, prefix[:]); err != nil {
		return err
	}
	m, err := openPrefix(prefix[:], r.key, r.want)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.message == nil { // else two read it at once, and it is the same
		r.message = m
	}
	return nil
}

func (s *rangeReader) closeWindow() error {
	if s.src == nil {
		return nil
	}
	src := s.src
	s.src = nil
	return src.Close()
}

// Close ends the stream early or late.
func (s *rangeReader) Close() error {
	if s.bufs == nil {
		return nil
	}
	s.bufs.release()
	s.bufs, s.plain = nil, nil
	if s.err == nil || s.err == io.EOF {
		s.err = errClosed
	}
	return s.closeWindow()
}
