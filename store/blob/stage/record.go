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
	// damaged counts records that were written whole and are not what they were.
	// The last one may be torn, which is no damage: nobody was told that it is
	// durable.
	damaged int
}

// scan reads a segment back.
func scan(f durable.File, size int64) (c content, err error) {
	var fixed [headSize]byte
	var buf []byte
	torn := false
	for c.used+headSize <= size {
		if _, err := f.ReadAt(fixed[:], c.used); err != nil {
			return c, err
		}
		h, ok := parseHead(fixed[:], size-c.used)
		switch {
		case ok && (c.used == 0 || h.epoch == c.epoch):
		case c.used > 0 || fixed == [headSize]byte{}:
			return c, nil
		case bytes.Equal(fixed[:8], free[:]):
			c.epoch = binary.BigEndian.Uint64(fixed[8:])
			return c, nil
		default: // what follows cannot be told from what was there before
			c.damaged++
			return c, nil
		}
		if torn { // not the last after all
			c.damaged++
		}
		c.epoch = h.epoch
		if need := h.nameSize + h.dataSize; cap(buf) < need { // within the segment: parseHead
			buf = make([]byte, need)
		}
		body := buf[:h.nameSize+h.dataSize]
		if _, err := f.ReadAt(body, c.used+headSize); err != nil && err != io.EOF {
			return c, err
		}
		fixed[deadAt] = 0
		sum := crc32.Update(crc32.Checksum(fixed[:20], table), table, body)
		name := string(body[:h.nameSize])
		torn = sum != h.sum || !blob.ValidName(name)
		if !torn {
			c.records = append(c.records, found{name, h.dead, c.used, c.used + headSize + int64(h.nameSize), h.dataSize})
		}
		c.used += h.size()
	}
	return c, nil
}
