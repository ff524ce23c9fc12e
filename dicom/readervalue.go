package dicom

import (
	"io"

	"lumen/dicom/dict"
)

// Read reads value bytes of the current element or fragment, as they are in
// the stream, and returns io.EOF at the value's end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.err != nil {
		return 0, r.err
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.r == r.w && r.srcErr == nil && len(p) >= len(r.buf) { // past the buffer
		n, err := r.src.Read(p)
		r.base += int64(n)
		r.left -= int64(n)
		r.srcErr = err
		if n > 0 {
			return n, nil
		}
	}
	b, err := r.chunk()
	if err != nil {
		return 0, err
	}
	n := copy(p, b)
	r.r -= len(b) - n
	r.left += int64(len(b) - n)
	return n, nil
}

// chunk consumes and returns what the buffer has of the current value: at
// least one byte, valid until the next call. The value's end is io.EOF.
func (r *Reader) chunk() ([]byte, error) {
	if r.left == 0 {
		return nil, io.EOF
	}
	if r.r == r.w && !r.fill(1) {
		return nil, r.cut()
	}
	n := int(min(int64(r.w-r.r), r.left))
	b := r.buf[r.r : r.r+n]
	r.r += n
	r.left -= int64(n)
	return b, nil
}

// cut is the sticky error for a value that the stream does not have whole.
func (r *Reader) cut() error {
	err := readError(r.srcErr)
	if err == io.ErrUnexpectedEOF {
		err = &ParseError{Offset: r.tok.Start, Tag: r.tok.Tag, What: "the data set ends inside a value", Err: err}
	}
	r.err = err
	return err
}

func (r *Reader) discard() error {
	for r.left > 0 {
		if _, err := r.chunk(); err != nil {
			return err
		}
	}
	return nil
}

// Value returns the whole value of the current element or fragment in little
// endian, valid until the next call of Next. It returns [ErrTooLong] when the
// value is longer than limit bytes; the value can still be read then. Memory
// grows with what the stream really has.
func (r *Reader) Value(limit int) ([]byte, error) {
	if r.left > int64(limit) {
		return nil, ErrTooLong
	}
	return r.appendValue(nil)
}

// appendValue appends the value to dst, in little endian. When dst is nil the
// result may lie in the Reader's own memory.
func (r *Reader) appendValue(dst []byte) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	n := int(r.left)
	swap := 1
	if r.big && r.tok.Kind == ElementToken {
		swap = r.tok.VR.Unit()
	}
	if dst == nil && swap == 1 && r.left <= int64(len(r.buf)) && r.fill(n) {
		b := r.buf[r.r : r.r+n : r.r+n]
		r.r += n
		r.left = 0
		return b, nil
	}
	own := dst == nil
	if own {
		dst = r.scratch[:0]
	}
	from := len(dst)
	for r.left > 0 {
		b, err := r.chunk()
		if err != nil {
			return nil, err
		}
		dst = append(dst, b...)
	}
	if own {
		r.scratch = dst[:0]
	}
	swapBytes(dst[from:], swap)
	return dst, nil
}

// swapBytes reverses the bytes of each word of size unit, in place. A rest at
// the end that is no whole word is left as it is.
func swapBytes(b []byte, unit int) {
	switch unit {
	case 2:
		for ; len(b) >= 2; b = b[2:] {
			b[0], b[1] = b[1], b[0]
		}
	case 4:
		for ; len(b) >= 4; b = b[4:] {
			b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
		}
	case 8:
		for ; len(b) >= 8; b = b[8:] {
			b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = b[7], b[6], b[5], b[4], b[3], b[2], b[1], b[0]
		}
	}
}

// pixelTag reports whether tag holds pixel data (PS3.3 section C.7.6.3, C.7.6.24, C.7.6.25).
func pixelTag(tag Tag) bool {
	return tag == dict.PixelData || tag == dict.FloatPixelData || tag == dict.DoubleFloatPixelData
}
