package dicom

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// FrameTable says where each frame of a data set lies. The zero value has none.
type FrameTable struct {
	// Encapsulated: frame n is fragments[first[n]:first[n+1]].
	fragments []Extent
	first     []uint32

	// Native: count frames of frame bits each in bits bits of value.
	offset, bits, frame int64
	count               int
}

// Len returns the number of frames.
func (t FrameTable) Len() int {
	if t.first != nil {
		return len(t.first)
	}
	return t.count
}

// Frame returns the extents of frame n, counted from 0, which make the frame
// when they are put together. Where frames do not fill whole bytes (native
// frames of 1 bit a pixel), bits is the frame's length in bits and shift the
// number of low-order bits in the first byte that belong to the frame before;
// else both are 0. The error wraps [ErrNoFrame].
func (t FrameTable) Frame(n int) (extents []Extent, shift uint8, bits int64, err error) {
	if n < 0 || n >= t.Len() {
		return nil, 0, 0, fmt.Errorf("dicom: frame %d of %d: %w", n, t.Len(), ErrNoFrame)
	}
	if t.first != nil {
		end := len(t.fragments)
		if n+1 < len(t.first) {
			end = int(t.first[n+1])
		}
		return t.fragments[t.first[n]:end:end], 0, 0, nil
	}
	from := int64(n) * t.frame
	to := min(from+t.frame, t.bits)
	shift = uint8(from % 8)
	if t.frame%8 != 0 {
		bits = to - from
	}
	offset := t.offset + from/8
	return []Extent{{offset, t.offset + (to+7)/8 - offset}}, shift, bits, nil
}

const (
	tableEmpty        = 0
	tableNative       = 1
	tableEncapsulated = 2
)

// AppendBinary appends a compact form of the table (docs/FORMATS.md): two to
// five bytes for a fragment, two dozen for all native frames.
func (t FrameTable) AppendBinary(b []byte) ([]byte, error) {
	switch {
	case t.first != nil:
		b = append(b, tableEncapsulated)
		b = binary.AppendUvarint(b, uint64(len(t.fragments)))
		var end int64
		for _, f := range t.fragments {
			b = binary.AppendUvarint(b, uint64(f.Offset-end))
			b = binary.AppendUvarint(b, uint64(f.Length))
			end = f.End()
		}
		b = binary.AppendUvarint(b, uint64(len(t.first)))
		var last uint32
		for _, f := range t.first {
			b = binary.AppendUvarint(b, uint64(f-last))
			last = f
		}
	case t.count > 0:
		b = append(b, tableNative)
		for _, v := range []int64{t.offset, t.bits, t.frame, int64(t.count)} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	default:
		b = append(b, tableEmpty)
	}
	return b, nil
}

// MarshalBinary returns the compact form of the table.
func (t FrameTable) MarshalBinary() ([]byte, error) { return t.AppendBinary(nil) }

var errTable = errors.New("dicom: malformed frame table")

// UnmarshalBinary reads what AppendBinary wrote. It checks that the table is
// consistent, and allocates no more than twenty times the size of b.
func (t *FrameTable) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return errTable
	}
	kind := b[0]
	d := varints{b: b[1:]}
	var r FrameTable
	switch kind {
	case tableEmpty:
	case tableNative:
		r.offset, r.bits, r.frame = d.next(), d.next(), d.next()
		r.count = int(d.next())
		if r.frame < 1 || r.count < 1 || r.bits < 1 || int64(r.count-1) > (r.bits-1)/r.frame {
			return errTable
		}
	case tableEncapsulated:
		n := d.count()
		r.fragments = make([]Extent, n)
		var end int64
		for i := range r.fragments {
			r.fragments[i] = Extent{end + d.next(), d.next()}
			end = r.fragments[i].End()
			if end < 0 {
				return errTable
			}
		}
		n = d.count()
		r.first = make([]uint32, n)
		var last int64
		for i := range r.first {
			step := d.next()
			if last += step; last >= int64(len(r.fragments)) || i > 0 && step == 0 {
				return errTable
			}
			r.first[i] = uint32(last)
		}
	default:
		return errTable
	}
	if d.bad || len(d.b) > 0 {
		return errTable
	}
	*t = r
	return nil
}

// varints reads numbers that fit an int64.
type varints struct {
	b   []byte
	bad bool
}

func (d *varints) next() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<62 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// count reads the number of entries that follow, of at least a byte each.
func (d *varints) count() int {
	n := d.next()
	if n > int64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}
