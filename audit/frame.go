package audit

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is what a segment is filled with: a header of 32 bytes, a body, and
// zeros up to a multiple of 8. See docs/formats/journal.md.
const (
	frameHeader  = 32
	frameVersion = 0
	frameAlign   = 8
	maxBodySize  = 16 << 20

	frameEntry      = 'E' // body: leaf length 2, leaf, sealed payload
	frameCheckpoint = 'C' // body: a signed note over all leaves before it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one decoded frame.
type frame struct {
	kind    byte
	offset  int64  // of the header, in the segment
	index   uint64 // leaves before it in the journal
	durable int64  // offset in the segment below which all was durable when it was written
	body    []byte
}

// end is the offset of the next frame.
func (f frame) end() int64 { return f.offset + frameSize(len(f.body)) }

func frameSize(body int) int64 {
	return (frameHeader + int64(body) + frameAlign - 1) &^ (frameAlign - 1)
}

// appendFrame encodes a frame.
func appendFrame(b []byte, kind byte, segment uint32, index uint64, durable int64, body []byte) []byte {
	at := len(b)
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(len(body)))
	b = append(b, 0, 0, 0, 0, kind, frameVersion, 0, 0)
	b = be.AppendUint32(b, segment)
	b = be.AppendUint64(b, index)
	b = be.AppendUint64(b, uint64(durable))
	b = append(b, body...)
	be.PutUint32(b[at+4:], frameSum(b[at:]))
	for len(b)-at < int(frameSize(len(body))) {
		b = append(b, 0)
	}
	return b
}

// frameSum is the CRC-32C of a frame without its padding and its checksum.
func frameSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[8:])
}

// damage says where a segment stops making sense.
type damage struct {
	offset int64
	reason string
}

func (d *damage) Error() string { return fmt.Sprintf("offset %d: %s", d.offset, d.reason) }

// frames reads the frames of a segment one after the other. The body of a frame
// is valid until the next call of next.
type frames struct {
	r       io.ReaderAt
	segment uint32
	size    int64 // of the segment
	offset  int64 // of the next frame
	buf     []byte
	base    int64 // offset of buf[0]
}

const readAhead = 256 << 10

func newFrames(r io.ReaderAt, segment uint32, size, offset int64) *frames {
	return &frames{r: r, segment: segment, size: size, offset: offset}
}

// window returns n bytes at off, reading ahead. The caller has checked that
// they are inside of the segment.
func (s *frames) window(off int64, n int) ([]byte, error) {
	if off >= s.base && off+int64(n) <= s.base+int64(len(s.buf)) {
		return s.buf[off-s.base:][:n], nil
	}
	want := min(max(int64(n), readAhead), s.size-off)
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf = s.buf[:want]
	s.base = off
	got, err := s.r.ReadAt(s.buf, off)
	s.buf = s.buf[:got]
	if got >= n {
		return s.buf[:n], nil
	}
	if err == io.EOF {
		return nil, &damage{off, "the file is shorter than its segment"}
	}
	return nil, err
}

// forget drops what was read ahead: another process may have written since.
func (s *frames) forget() { s.buf = s.buf[:0] }

// next returns io.EOF at the end of what was written, and a *damage where there
// is something that is no frame.
func (s *frames) next() (frame, error) {
	f, err := s.at(s.offset)
	if err == nil {
		s.offset = f.end()
	}
	return f, err
}

func (s *frames) at(off int64) (frame, error) {
	if off+frameHeader > s.size {
		return frame{}, io.EOF
	}
	h, err := s.window(off, frameHeader)
	if err != nil {
		return frame{}, err
	}
	n := int64(binary.BigEndian.Uint32(h))
	switch {
	case n == 0 && allZero(h):
		return frame{}, io.EOF
	case n == 0 || n > maxBodySize || off+frameSize(int(n)) > s.size:
		return frame{}, &damage{off, "a record's length is impossible"}
	case h[8] != frameEntry && h[8] != frameCheckpoint || h[9] != frameVersion || h[10] != 0 || h[11] != 0:
		return frame{}, &damage{off, "a record's header is unknown"}
	case binary.BigEndian.Uint32(h[12:]) != s.segment:
		return frame{}, &damage{off, "a record belongs to another segment"}
	}
	b, err := s.window(off, int(frameSize(int(n))))
	if err != nil {
		return frame{}, err
	}
	if frameSum(b[:frameHeader+n]) != binary.BigEndian.Uint32(b[4:]) {
		return frame{}, &damage{off, "a record's checksum does not match"}
	}
	if !allZero(b[frameHeader+n:]) {
		return frame{}, &damage{off, "a record's padding is not zero"}
	}
	return frame{
		kind: b[8], offset: off,
		index:   binary.BigEndian.Uint64(b[16:]),
		durable: int64(binary.BigEndian.Uint64(b[24:])),
		body:    b[frameHeader : frameHeader+n],
	}, nil
}

// seek looks for the next whole frame at or after off, to go on behind damage.
func (s *frames) seek(off int64) (frame, bool, error) {
	for off = (off + frameAlign - 1) &^ (frameAlign - 1); off+frameHeader <= s.size; off += frameAlign {
		h, err := s.window(off, 16)
		if err != nil {
			return frame{}, false, err
		}
		if h[8] != frameEntry && h[8] != frameCheckpoint || binary.BigEndian.Uint32(h[12:]) != s.segment {
			continue
		}
		f, err := s.at(off)
		if err == nil {
			s.offset = f.end()
			return f, true, nil
		}
		if _, ok := err.(*damage); !ok && err != io.EOF {
			return frame{}, false, err
		}
	}
	return frame{}, false, nil
}

// lastNonZero returns the offset behind the last byte at or after off that is
// not zero; off when there is none.
func (s *frames) lastNonZero(off int64) (int64, error) {
	last := off
	for off < s.size {
		n := int(min(readAhead, s.size-off))
		b, err := s.window(off, n)
		if err != nil {
			return 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if b[i] != 0 {
				last = off + int64(i) + 1
				break
			}
		}
		off += int64(n)
	}
	return last, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
