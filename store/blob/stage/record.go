package stage

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"lumen/internal/durable"
	"lumen/store/blob"
)

// A record is a head, the name, the data, and zeros up to a multiple of 8.
const (
	headSize = 24
	maxName  = 8*64 + 7
	// room is what a buffer keeps free before the data, so that head, name and
	// data are written in one piece.
	room = (headSize + maxName + 7) / 8 * 8

	version = 1
	// deadAt is where a head says whether its object was deleted: the one byte
	// that is written again. The sum takes it for 0.
	deadAt = 15
)

var (
	magic = [4]byte{'L', 'S', 'T', 'G'}
	free  = [8]byte{'L', 'S', 'T', 'G', 'F', 'R', 'E', 'E'}
	table = crc32.MakeTable(crc32.Castagnoli)
)

// released begins a segment whose objects were all moved. It keeps the epoch:
// records of it are still in the segment, and must never be taken for later ones.
func released(epoch uint64) []byte {
	b := make([]byte, headSize)
	copy(b, free[:])
	binary.BigEndian.PutUint64(b[8:], epoch)
	return b
}

// head is the fixed part of a record.
type head struct {
	epoch    uint64
	dead     bool
	nameSize int
	dataSize int
	sum      uint32 // CRC-32C of the head before it, the name and the data
}

func (h head) size() int64 {
	return (headSize + int64(h.nameSize) + int64(h.dataSize) + 7) / 8 * 8
}

// putRecord completes the record whose data is buf[room:]: it returns the part
// of buf, grown by the padding, that is the record.
func putRecord(buf []byte, epoch uint64, name string) []byte {
	size := len(buf) - room
	start := room - len(name) - headSize
	h := buf[start:room]
	copy(h, magic[:])
	binary.BigEndian.PutUint64(h[4:], epoch)
	h[12], h[13], h[14], h[deadAt] = version, byte(len(name)>>8), byte(len(name)), 0
	binary.BigEndian.PutUint32(h[16:], uint32(size))
	copy(h[headSize:], name)
	sum := crc32.Update(crc32.Checksum(h[:20], table), table, buf[start+headSize:])
	binary.BigEndian.PutUint32(h[20:], sum)
	for (len(buf)-start)%8 != 0 {
		buf = append(buf, 0)
	}
	return buf[start:]
}

// parseHead reads a head; false when it cannot be one of a segment of that size.
func parseHead(b []byte, left int64) (head, bool) {
	if !bytes.Equal(b[:4], magic[:]) {
		return head{}, false
	}
	h := head{
		epoch: binary.BigEndian.Uint64(b[4:]), dead: b[deadAt] != 0,
		nameSize: int(binary.BigEndian.Uint16(b[13:])),
		dataSize: int(binary.BigEndian.Uint32(b[16:])),
		sum:      binary.BigEndian.Uint32(b[20:]),
	}
	ok := b[12] == version && h.nameSize > 0 && h.nameSize <= maxName && h.size() <= left
	return h, ok
}

// found is a record of a segment that was read back.
type found struct {
	name string
	dead bool
	head int64 // offset of the record
	off  int64 // of the data
	size int
}

// content is what a segment holds.
type content struct {
	records []found
	epoch   uint64 // of the records; where there are none, of those before
	used    int64
	// damaged counts the places where records were written whole and are not what
	// they were. The last one may be torn, which is no damage: nobody was told
	// that it is durable.
	damaged int
}

// scan reads a segment back. Its use ends at what is no record of its epoch, if
// none follows: what was there before stays behind the last record.
func scan(f durable.File, size int64) (c content, err error) {
	var fixed [headSize]byte
	if _, err := f.ReadAt(fixed[:], 0); err != nil {
		return c, err
	}
	if bytes.Equal(fixed[:8], free[:]) {
		c.epoch = binary.BigEndian.Uint64(fixed[8:])
		return c, nil
	}
	if fixed == [headSize]byte{} {
		return c, nil
	}
	if h, ok := parseHead(fixed[:], size); ok {
		c.epoch = h.epoch
	} else if c.epoch, err = lastEpoch(f, size); err != nil {
		return c, err
	}
	torn := false
	for c.used+headSize <= size {
		r, next, ok, err := readRecord(f, c.used, size, c.epoch)
		if err != nil {
			return c, err
		}
		if next > c.used && !torn { // a head of this epoch
			if torn = !ok; ok {
				c.records = append(c.records, r)
			}
			c.used = next
			continue
		}
		// The end, unless there is a record behind what is broken here.
		from := c.used
		if torn && next > c.used {
			from = c.used - 8
		}
		at, err := findRecord(f, from+8, size, c.epoch)
		if err != nil {
			return c, err
		}
		if at < 0 {
			break
		}
		c.damaged++
		c.used, torn = at, false
	}
	if len(c.records) == 0 && c.used == 0 {
		c.damaged++ // what is there is neither free nor anything that can be told
	}
	return c, nil
}

// readRecord reads the record at off. Next is where the next one begins, off
// where there is no head of that epoch; ok is false when the record is not whole.
func readRecord(f durable.File, off, size int64, epoch uint64) (r found, next int64, ok bool, err error) {
	var fixed [headSize]byte
	if _, err := f.ReadAt(fixed[:], off); err != nil {
		return r, off, false, err
	}
	h, ok := parseHead(fixed[:], size-off)
	if !ok || h.epoch != epoch {
		return r, off, false, nil
	}
	body := make([]byte, h.nameSize+h.dataSize) // within the segment: parseHead
	if _, err := f.ReadAt(body, off+headSize); err != nil && err != io.EOF {
		return r, off, false, err
	}
	fixed[deadAt] = 0
	sum := crc32.Update(crc32.Checksum(fixed[:20], table), table, body)
	name := string(body[:h.nameSize])
	r = found{name, h.dead, off, off + headSize + int64(h.nameSize), h.dataSize}
	return r, off + h.size(), sum == h.sum && blob.ValidName(name), nil
}

// findRecord returns the offset of the first whole record of an epoch from an
// offset on, -1 when there is none.
func findRecord(f durable.File, from, size int64, epoch uint64) (int64, error) {
	pattern := binary.BigEndian.AppendUint64(magic[:len(magic):len(magic)], epoch)
	return search(f, from, size, pattern, func(at int64) (bool, error) {
		_, _, ok, err := readRecord(f, at, size, epoch)
		return ok, err
	})
}

// lastEpoch returns the largest epoch that a whole record in the segment has.
func lastEpoch(f durable.File, size int64) (last uint64, err error) {
	_, err = search(f, 0, size, magic[:], func(at int64) (bool, error) {
		var fixed [headSize]byte
		if _, err := f.ReadAt(fixed[:], at); err != nil {
			return false, err
		}
		h, ok := parseHead(fixed[:], size-at)
		if !ok || h.epoch <= last {
			return false, nil
		}
		_, _, ok, err := readRecord(f, at, size, h.epoch)
		if ok {
			last = h.epoch
		}
		return false, err
	})
	return last, err
}

// search looks for pattern at multiples of 8 until accept takes one.
func search(f durable.File, from, size int64, pattern []byte, accept func(at int64) (bool, error)) (int64, error) {
	const step = 1 << 20
	buf := make([]byte, step+len(pattern))
	for base := from; base+headSize <= size; base += step {
		window := buf[:min(int64(len(buf)), size-base)]
		if _, err := f.ReadAt(window, base); err != nil && err != io.EOF {
			return -1, err
		}
		for i := 0; ; i++ {
			n := bytes.Index(window[i:], pattern)
			if n < 0 || i+n >= step {
				break
			}
			i += n
			if at := base + int64(i); at%8 == 0 && at+headSize <= size {
				if ok, err := accept(at); ok || err != nil {
					return at, err
				}
			}
		}
	}
	return -1, nil
}
