package wado

import "io"

// swapped turns big endian values into little endian ones, as DICOMweb has
// them (PS3.18 8.7.3.3.1).
type swapped struct {
	src  io.ReadCloser
	unit int // bytes of one number: 2, 4 or 8
	held int // bytes of an unfinished number at the start of tail
	tail [8]byte
}

// swap wraps what an Open function returned.
func swap(src io.ReadCloser, unit int, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return &swapped{src: src, unit: unit}, nil
}

// Read implements io.Reader; b must hold at least one number.
func (s *swapped) Read(b []byte) (int, error) {
	if len(b) < s.unit {
		return 0, io.ErrShortBuffer
	}
	n := copy(b, s.tail[:s.held])
	m, err := s.src.Read(b[n : len(b)-len(b)%s.unit])
	n += m
	whole := n - n%s.unit
	s.held = copy(s.tail[:], b[whole:n])
	for i := 0; i < whole; i += s.unit {
		for lo, hi := i, i+s.unit-1; lo < hi; lo, hi = lo+1, hi-1 {
			b[lo], b[hi] = b[hi], b[lo]
		}
	}
	if err == io.EOF && s.held > 0 {
		err = io.ErrUnexpectedEOF
	}
	return whole, err
}

// Close implements io.Closer.
func (s *swapped) Close() error { return s.src.Close() }
