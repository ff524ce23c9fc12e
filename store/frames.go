package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lumen/dicom"
	"lumen/store/seal"
)

// NumberOfFrames is the number of frames that Frame can return. Of a video it is
// one: the whole stream.
func (i *Instance) NumberOfFrames(ctx context.Context) (int, error) {
	t, err := i.frameTable(ctx)
	if err != nil {
		return 0, err
	}
	return t.Len(), nil
}

// Frame streams frame n, counted from 1 as on the wire: size bytes of the pixel
// data as stored, without item headers. Frames of one bit a pixel that begin
// inside a byte are shifted to begin with one, and the bits after their end are
// zero. The error wraps [ErrNoFrame] when there is no such frame. The caller
// closes the stream.
func (i *Instance) Frame(ctx context.Context, n int) (frame io.ReadCloser, size int64, err error) {
	place, err := i.place(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	frame, err = i.openFrame(ctx, place, 0, place.size)
	return frame, place.size, err
}

// FrameSize is the size in bytes of what Frame streams.
func (i *Instance) FrameSize(ctx context.Context, n int) (int64, error) {
	place, err := i.place(ctx, n)
	return place.size, err
}

// FrameRange streams length bytes of frame n from off, or to its end when
// length is -1; what lies past the end is cut off. It counts as a frame.
func (i *Instance) FrameRange(ctx context.Context, n int, off, length int64) (io.ReadCloser, error) {
	if off < 0 || length < -1 {
		return nil, errors.New("negative offset or length")
	}
	place, err := i.place(ctx, n)
	if err != nil {
		return nil, err
	}
	off = min(off, place.size)
	if length < 0 || length > place.size-off {
		length = place.size - off
	}
	return i.openFrame(ctx, place, off, length)
}

// framePlace says where a frame is.
type framePlace struct {
	extents []dicom.Extent
	size    int64 // bytes of the frame as it leaves
	bits    int64 // not 0: the frame's length in bits, which do not fill bytes
	shift   uint8 // bits of the first byte that belong to the frame before
}

func (i *Instance) place(ctx context.Context, n int) (p framePlace, err error) {
	table, err := i.frameTable(ctx)
	if err != nil {
		return p, err
	}
	if p.extents, p.shift, p.bits, err = table.Frame(n - 1); err != nil {
		return p, fmt.Errorf("%w: %w", ErrNoFrame, err)
	}
	if p.size = (p.bits + 7) / 8; p.bits == 0 {
		for _, e := range p.extents {
			p.size += e.Length
		}
	}
	return p, nil
}

// openFrame streams length bytes from off, which are within the frame.
func (i *Instance) openFrame(ctx context.Context, p framePlace, off, length int64) (io.ReadCloser, error) {
	if p.bits == 0 {
		r, err := i.openExtents(ctx, cutExtents(p.extents, off, length))
		if err == nil {
			i.retrieval.frames.Add(1)
		}
		return r, err
	}
	r, err := i.openExtents(ctx, p.extents)
	if err != nil {
		return nil, err
	}
	i.retrieval.frames.Add(1)
	bits := &bitReader{r: r, left: p.size, shift: p.shift, last: byte(0xFF >> ((8 - p.bits%8) % 8))}
	if _, err := io.CopyN(io.Discard, bits, off); err != nil {
		return nil, errors.Join(unexpected(err), r.Close())
	}
	return readCloser{io.LimitReader(bits, length), r}, nil
}

// cutExtents returns the extents of n bytes from off.
func cutExtents(extents []dicom.Extent, off, n int64) []dicom.Extent {
	var cut []dicom.Extent
	for _, e := range extents {
		if off >= e.Length {
			off -= e.Length
			continue
		}
		e = dicom.Extent{Offset: e.Offset + off, Length: min(e.Length-off, n)}
		if e.Length == 0 {
			break
		}
		cut, off, n = append(cut, e), 0, n-e.Length
	}
	return cut
}

// frameTable is the row's, or that of the blob's trailer.
func (i *Instance) frameTable(ctx context.Context) (*dicom.FrameTable, error) {
	if !i.FramesInBlob {
		return &i.Frames, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.frames == nil {
		r, err := i.retrieval.archive.readRecord(ctx, i.Blob, seal.SealedSize(i.plainSize()))
		if err != nil {
			return nil, fmt.Errorf("read the frame table: %w", err)
		}
		i.frames = &r.Frames
	}
	return i.frames, nil
}

// openExtents streams extents of the data set one after the other, in one range
// as long as what lies between them is small.
func (i *Instance) openExtents(ctx context.Context, extents []dicom.Extent) (io.ReadCloser, error) {
	if len(extents) == 0 {
		return i.Range(ctx, 0, 0)
	}
	ts, err := i.transferSyntax()
	if err != nil {
		return nil, err
	}
	if ts.Deflated { // offsets are those of the inflated stream: everything before is read
		return i.inflate(ctx, ts, extents[0])
	}
	if len(extents) == 1 {
		return i.Range(ctx, extents[0].Offset, extents[0].Length)
	}
	r := &extentReader{rest: extents, open: func(off, n int64) (io.ReadCloser, error) { return i.Range(ctx, off, n) }}
	if err := r.next(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// inflate streams one extent of a deflated data set: inside of one element,
// since deflated pixel data is never encapsulated.
func (i *Instance) inflate(ctx context.Context, ts dicom.TransferSyntax, e dicom.Extent) (io.ReadCloser, error) {
	whole, err := i.DataSet(ctx)
	if err != nil {
		return nil, err
	}
	r := dicom.NewReader(whole, ts, i.retrieval.archive.limits.DICOM)
	for {
		token, err := r.Next()
		if err != nil {
			return nil, errors.Join(unexpected(err), whole.Close())
		}
		if token.Kind != dicom.ElementToken || e.Offset < token.Offset || e.End() > token.Offset+token.Length {
			continue
		}
		if _, err := io.CopyN(io.Discard, r, e.Offset-token.Offset); err != nil {
			return nil, errors.Join(unexpected(err), whole.Close())
		}
		return readCloser{io.LimitReader(r, e.Length), whole}, nil
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// maxGap is how much between two extents is read and thrown away rather than
// asked for again: an item header has 8 bytes.
const maxGap = 4 << 10

// extentReader reads extents in ascending order, over ranges that it opens as
// it comes to them.
type extentReader struct {
	open func(off, n int64) (io.ReadCloser, error)
	left int64          // bytes of the current extent
	rest []dicom.Extent // after it
	cur  io.ReadCloser
	pos  int64 // of cur in the data set
	end  int64 // of cur
}

// next goes on to the first byte of the next extent.
func (r *extentReader) next() error {
	e := r.rest[0]
	if r.cur == nil || e.Offset < r.pos || e.End() > r.end {
		if err := r.reopen(); err != nil {
			return err
		}
	}
	skipped, err := io.CopyN(io.Discard, r.cur, e.Offset-r.pos)
	r.pos += skipped
	r.left, r.rest = e.Length, r.rest[1:]
	return unexpected(err)
}

// reopen opens a range from the next extent on, over all that are near.
func (r *extentReader) reopen() error {
	if err := r.Close(); err != nil {
		return err
	}
	from, end := r.rest[0].Offset, r.rest[0].End()
	for _, e := range r.rest[1:] {
		if e.Offset < end || e.Offset-end > maxGap {
			break
		}
		end = e.End()
	}
	cur, err := r.open(from, end-from)
	if err != nil {
		return err
	}
	r.cur, r.pos, r.end = cur, from, end
	return nil
}

func (r *extentReader) Read(p []byte) (int, error) {
	for r.left == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.cur.Read(p[:min(int64(len(p)), r.left)])
	r.pos += int64(n)
	r.left -= int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, unexpected(err)
}

func (r *extentReader) Close() error {
	if r.cur == nil {
		return nil
	}
	cur := r.cur
	r.cur = nil
	return cur.Close()
}

// bitReader shifts a frame that begins inside a byte. Pixels fill bytes from
// the low-order bit (PS3.5 section 8.1.1).
type bitReader struct {
	r     io.Reader
	shift uint8
	left  int64 // bytes to return
	last  byte  // the bits of the last one that belong to the frame

	carry  byte // the byte that the next one begins in
	primed bool
}

func (b *bitReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.shift > 0 && !b.primed {
		var first [1]byte
		if _, err := io.ReadFull(b.r, first[:]); err != nil {
			return 0, unexpected(err)
		}
		b.carry, b.primed = first[0], true
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := io.ReadFull(b.r, p)
	if err != nil && b.shift > 0 && int64(n) == b.left-1 && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		p[n] = 0 // the frame ends in the byte that was read before
		n, err = n+1, nil
	}
	if b.shift > 0 {
		for i, c := range p[:n] {
			p[i] = b.carry>>b.shift | c<<(8-b.shift)
			b.carry = c
		}
	}
	if b.left -= int64(n); b.left == 0 && n > 0 {
		p[n-1] &= b.last
	}
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, unexpected(err)
}

// unexpected is for ends where there should be more: the record says so.
func unexpected(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: shorter than its record says", ErrCorrupt)
	}
	return err
}
