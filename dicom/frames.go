package dicom

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lumen/dicom/dict"
)

// Errors about frames.
var (
	// ErrNoFrame is returned for a frame number that the pixel data does not have.
	ErrNoFrame = errors.New("no such frame")
	// ErrFrames is returned when frames cannot be told apart.
	ErrFrames = errors.New("frames cannot be told apart")
)

// mark says what the first and last bytes of a fragment tell.
type mark uint8

const (
	startsImage mark = 1 << iota
	endsImage
)

// ends collects the first and last bytes of a fragment.
type ends struct {
	head [8]byte
	tail [4]byte
	n    int // bytes in head
}

func (e *ends) add(b []byte) {
	if e.n < len(e.head) {
		e.n += copy(e.head[e.n:], b)
	}
	if len(b) >= len(e.tail) {
		copy(e.tail[:], b[len(b)-len(e.tail):])
		return
	}
	copy(e.tail[:], e.tail[len(b):])
	copy(e.tail[len(e.tail)-len(b):], b)
}

// mark looks for the markers with which coded images start and end: SOI and
// EOI of JPEG and JPEG-LS, SOC and EOC of JPEG 2000 and HTJ2K, the signatures
// of JPEG XL, the header of RLE: 1 to 15 segments, of which the first is at 64.
// A fragment may end with a padding byte.
func (e *ends) mark() (m mark) {
	h, t := e.head, e.tail
	switch {
	case h[0] == 0xFF && h[1] == 0xD8 && h[2] == 0xFF,
		h[0] == 0xFF && h[1] == 0x4F && h[2] == 0xFF && h[3] == 0x51,
		h[0] == 0xFF && h[1] == 0x0A,
		[4]byte(h[:4]) == [4]byte{0, 0, 0, 12},
		h == [8]byte{h[0], 0, 0, 0, 64} && h[0]-1 < 15:
		m |= startsImage
	}
	if t[2] == 0xFF && t[3] == 0xD9 || t[1] == 0xFF && t[2] == 0xD9 {
		m |= endsImage
	}
	return m
}

// Frames says where the frames of the pixel data lie. The table is empty when
// there is no pixel data. Of a video there is one frame: the whole stream.
//
// Frames of native pixel data are computed from the image's attributes. Those
// of encapsulated pixel data come from the extended offset table, the basic
// offset table, the number of fragments or the markers in them, whichever
// first fits the fragments; one that does not fit counts as [TableMismatch].
// The error wraps [ErrFrames].
func (s *Scan) Frames() (FrameTable, error) {
	p := &s.Pixel
	if p.Tag == 0 {
		return FrameTable{}, nil
	}
	n, ok := s.Header.Int(dict.NumberOfFrames)
	if !ok || n < 1 {
		n = 1
	}
	if !p.Encapsulated {
		return s.nativeFrames(n)
	}
	if p.FragmentsOverflow {
		return FrameTable{}, fmt.Errorf("dicom: more than %d fragments: %w", len(p.Fragments), ErrFrames)
	}
	t := FrameTable{fragments: p.Fragments}
	if len(p.Fragments) == 0 {
		return t, nil
	}
	var err error
	if t.first, err = s.firstFragments(n); err != nil {
		return FrameTable{}, err
	}
	switch {
	case len(p.ExtendedOffsets) == len(t.first) && len(p.ExtendedLengths) == len(t.first):
		t.leaveOutPadding(func(i int) uint64 { return p.ExtendedLengths[i] })
	case s.syntax.UID == EncapsulatedUncompressedExplicitVRLittleEndian:
		if p, err := s.pixels(); err == nil {
			t.leaveOutPadding(func(int) uint64 { return uint64(p.size()+7) / 8 })
		}
	}
	return t, nil
}

// firstFragments returns the first fragment of each of n frames.
func (s *Scan) firstFragments(n int) ([]uint32, error) {
	p := &s.Pixel
	if s.syntax.Video || n == 1 {
		return []uint32{0}, nil
	}
	if first, ok := p.byOffsets(n); ok {
		return first, nil
	}
	if len(p.BasicOffsets)+len(p.ExtendedOffsets) > 0 {
		s.Findings.Add(TableMismatch)
	}
	if len(p.Fragments) == n {
		return identity(n), nil
	}
	if first, ok := p.byMarkers(n); ok {
		return first, nil
	}
	return nil, fmt.Errorf("dicom: %d fragments for %d frames: %w", len(p.Fragments), n, ErrFrames)
}

func identity(n int) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(i)
	}
	return list
}

// byOffsets uses the offset tables: offsets count from the first byte of the
// first fragment's item header (PS3.5 annex A.4, PS3.3 section C.7.6.3.1.8).
func (p *PixelLayout) byOffsets(n int) ([]uint32, bool) {
	offsets := func(i int) int64 { return int64(p.BasicOffsets[i]) }
	count := len(p.BasicOffsets)
	if len(p.ExtendedOffsets) == n {
		offsets = func(i int) int64 { return int64(p.ExtendedOffsets[i]) }
		count = n
	}
	if count != n {
		return nil, false
	}
	origin := p.Fragments[0].Offset - 8
	first := make([]uint32, 0, min(n, len(p.Fragments)))
	at := 0
	for i := range n {
		for at < len(p.Fragments) && p.Fragments[at].Offset-8-origin < offsets(i) {
			at++
		}
		if at == len(p.Fragments) || p.Fragments[at].Offset-8-origin != offsets(i) || i == 0 && at != 0 {
			return nil, false
		}
		first = append(first, uint32(at))
		at++
	}
	return first, true
}

// leaveOutPadding cuts the byte that pads the last fragment of a frame, where
// the frame is told to be one byte shorter. Other lengths that do not fit are
// not believed.
func (t *FrameTable) leaveOutPadding(want func(frame int) uint64) {
	t.fragments = slices.Clone(t.fragments)
	for i := range t.first {
		end := len(t.fragments)
		if i+1 < len(t.first) {
			end = int(t.first[i+1])
		}
		var length int64
		for _, x := range t.fragments[t.first[i]:end] {
			length += x.Length
		}
		if last := &t.fragments[end-1]; last.Length > 0 && want(i) == uint64(length-1) {
			last.Length--
		}
	}
}

// byMarkers starts a frame at each fragment in which a coded image starts, or,
// when images start inside of images too, at those that follow the end of one.
func (p *PixelLayout) byMarkers(n int) ([]uint32, bool) {
	for _, strict := range []bool{false, true} {
		var first []uint32
		for i, m := range p.marks {
			if m&startsImage != 0 && (!strict || i == 0 || p.marks[i-1]&endsImage != 0) {
				first = append(first, uint32(i))
			}
		}
		if len(first) == n && first[0] == 0 {
			return first, true
		}
	}
	return nil, false
}

// pixels are the dimensions of a native frame (PS3.3 section C.7.6.3).
type pixels struct{ count, samples, bits int64 }

// size is the frame's length in bits.
func (p pixels) size() int64 { return p.count * p.samples * p.bits }

// pixels reads the Image Pixel module.
func (s *Scan) pixels() (pixels, error) {
	d := s.Header
	rows, _ := d.Int(dict.Rows)
	columns, _ := d.Int(dict.Columns)
	samples, ok := d.Int(dict.SamplesPerPixel)
	if !ok {
		samples = 1
	}
	bits, ok := d.Int(dict.BitsAllocated)
	switch {
	case s.Pixel.Tag == dict.FloatPixelData:
		bits = 32
	case s.Pixel.Tag == dict.DoubleFloatPixelData:
		bits = 64
	case !ok:
		return pixels{}, fmt.Errorf("dicom: no Bits Allocated: %w", ErrFrames)
	}
	if rows < 1 || columns < 1 || samples < 1 || bits < 1 || rows > 1<<16 || columns > 1<<16 || samples > 1<<16 || bits > 64 {
		return pixels{}, fmt.Errorf("dicom: no or impossible rows, columns, samples or bits: %w", ErrFrames)
	}
	return pixels{int64(rows) * int64(columns), int64(samples), int64(bits)}, nil
}

// nativeFrames computes the size of a frame. The last frame may be shorter than
// the others when pixel data is; frames beyond it are not in the table.
func (s *Scan) nativeFrames(n int) (FrameTable, error) {
	p, err := s.pixels()
	if err != nil {
		return FrameTable{}, err
	}
	total := s.Pixel.ValueLength * 8
	if available := s.Inflated - s.Pixel.ValueOffset; available*8 < total {
		total = available * 8
	}
	size := p.size()
	if sub := subsampled(s.Header.String(dict.PhotometricInterpretation), p.count, p.bits); sub > 0 && p.samples == 3 &&
		(total+7)/8 < (size*int64(n)+7)/8 {
		size = sub
	}
	t := FrameTable{offset: s.Pixel.ValueOffset, bits: total, frame: size}
	t.count = int(min(int64(n), max(1, (total+size-1)/size)))
	if total <= 0 {
		t.count = 0
	}
	return t, nil
}

// subsampled is the size in bits of a frame whose chrominance has less samples
// than its luminance (PS3.3 section C.7.6.3.1.2), or 0.
func subsampled(photometric string, pixels, bits int64) int64 {
	switch {
	case strings.HasSuffix(photometric, "_422"):
		return pixels * 2 * bits
	case strings.HasSuffix(photometric, "_420"):
		return pixels * 3 / 2 * bits
	}
	return 0
}
