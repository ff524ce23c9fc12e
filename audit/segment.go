package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// The names inside of a journal's folder.
const (
	segmentsDir    = "segments"
	hashesDir      = "hashes"
	checkpointFile = "checkpoint"
	keyFile        = "key.pub"
	lockFile       = "lock"
)

const (
	segmentHeader  = 4096
	segmentMagic   = "LUMENJ\x00\x00"
	segmentVersion = 0
	maxOrigin      = 255
	minSegmentSize = 32 << 10
)

// header is the first page of a segment. It is all zeros while the segment is
// in reserve.
type header struct {
	number uint32
	first  uint64 // leaves before this segment
	hashed uint64 // leaves whose hashes were durable in the hash files when the segment was begun
	origin string
	edge   []tlog.Hash // the complete subtrees of the first leaves, largest first
}

func (h header) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, segmentHeader)
	b = append(b, segmentMagic...)
	b = be.AppendUint32(b, segmentVersion)
	b = be.AppendUint32(b, h.number)
	b = be.AppendUint64(b, h.first)
	b = be.AppendUint64(b, h.hashed)
	b = append(b, byte(len(h.origin)), byte(len(h.edge)))
	b = append(b, h.origin...)
	for _, hash := range h.edge {
		b = append(b, hash[:]...)
	}
	b = b[:segmentHeader]
	be.PutUint32(b[segmentHeader-4:], crc32.Checksum(b[:segmentHeader-4], castagnoli))
	return b
}

func parseHeader(b []byte) (header, error) {
	be := binary.BigEndian
	switch {
	case len(b) != segmentHeader:
		return header{}, errors.New("segment header is too short")
	case string(b[:8]) != segmentMagic:
		return header{}, errors.New("not a segment")
	case be.Uint32(b[segmentHeader-4:]) != crc32.Checksum(b[:segmentHeader-4], castagnoli):
		return header{}, errors.New("the checksum of the segment's header does not match")
	case be.Uint32(b[8:]) != segmentVersion:
		return header{}, fmt.Errorf("segment version %d is unknown", be.Uint32(b[8:]))
	}
	h := header{number: be.Uint32(b[12:]), first: be.Uint64(b[16:]), hashed: be.Uint64(b[24:])}
	origin, edge := int(b[32]), int(b[33])
	rest := b[34 : segmentHeader-4]
	if origin+edge*tlog.HashSize > len(rest) {
		return header{}, errors.New("segment header holds too much")
	}
	h.origin, rest = string(rest[:origin]), rest[origin:]
	for range edge {
		h.edge = append(h.edge, tlog.Hash(rest[:tlog.HashSize]))
		rest = rest[tlog.HashSize:]
	}
	if !allZero(rest) {
		return header{}, errors.New("segment header has bytes that mean nothing")
	}
	if len(h.edge) != onesCount(h.first) || h.hashed > h.first {
		return header{}, errors.New("segment header contradicts itself")
	}
	return h, nil
}

// segment is a segment file as it was found.
type segment struct {
	number uint32
	size   int64
	used   bool   // it has a header
	header header // when used
	err    error  // what is wrong with the header: it is neither zero nor valid
}

func segmentName(dir string, number uint32) string {
	return filepath.Join(dir, segmentsDir, fmt.Sprintf("%08d.seg", number))
}

// listSegments reads the headers of all segments, by number.
func listSegments(fsys durable.FS, dir string) ([]segment, error) {
	entries, err := fsys.ReadDir(filepath.Join(dir, segmentsDir))
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || len(digits) != 8 {
			return nil, fmt.Errorf("%w: segments/%s is not the name of a segment", ErrTampered, e.Name())
		}
		s, err := readSegment(fsys, dir, uint32(number))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func readSegment(fsys durable.FS, dir string, number uint32) (segment, error) {
	s := segment{number: number}
	f, err := fsys.OpenFile(segmentName(dir, number), os.O_RDONLY, 0)
	if err != nil {
		return s, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.size = info.Size()
	page := make([]byte, segmentHeader)
	if n, err := f.ReadAt(page, 0); err != nil && err != io.EOF {
		return s, err
	} else if n < len(page) {
		s.err = errors.New("the file is shorter than a header")
		return s, nil
	}
	if allZero(page) {
		return s, nil
	}
	s.header, s.err = parseHeader(page)
	if s.err == nil && s.header.number != number {
		s.err = fmt.Errorf("the header says that it is segment %d", s.header.number)
	}
	s.used = s.err == nil
	return s, nil
}

// createSegment makes a segment of zeros; it is durable when it returns.
func createSegment(fsys durable.FS, dir string, number uint32, size int64) error {
	name := segmentName(dir, number)
	temp := durable.TempName(name)
	if err := writeZeros(fsys, temp, size); err != nil {
		_ = fsys.Remove(temp) // what stays is swept at the next Open
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// writeZeros allocates by writing: a hole would have to be allocated when it is
// filled, which can fail and costs a journal commit of the file system each time.
func writeZeros(fsys durable.FS, name string, size int64) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		off += int64(n)
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// sweep removes what a crash left half-made in a folder.
func sweep(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), durable.TempSuffix) {
			if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
