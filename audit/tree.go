package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

func onesCount(n uint64) int { return bits.OnesCount64(n) }

// The hashes of every eighth level are kept, as in tiles of height 8.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxLevels  = 8
)

// edge is the right edge of a Merkle tree: one hash for each complete subtree,
// largest first, as many as the size has bits set.
type edge struct {
	size   uint64
	hashes []tlog.Hash
}

// push adds a leaf and calls emit for every kept level that got a hash.
func (e *edge) push(leaf tlog.Hash, emit func(level int, h tlog.Hash)) {
	h := leaf
	if emit != nil {
		emit(0, h)
	}
	for i := 0; e.size>>i&1 == 1; i++ {
		last := len(e.hashes) - 1
		h = tlog.NodeHash(e.hashes[last], h)
		e.hashes = e.hashes[:last]
		if emit != nil && (i+1)%tileHeight == 0 {
			emit((i+1)/tileHeight, h)
		}
	}
	e.hashes = append(e.hashes, h)
	e.size++
}

// root is the tree's hash (RFC 6962, section 2.1).
func (e *edge) root() tlog.Hash {
	if e.size == 0 {
		return sha256.Sum256(nil)
	}
	h := e.hashes[len(e.hashes)-1]
	for i := len(e.hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(e.hashes[i], h)
	}
	return h
}

// hashFiles are the hashes of levels 0, 8, 16 ... one file a level, one after
// the other: any tile, full or partial, is a range of such a file. They are
// derived from the segments: written late, not waited for, made again where
// they lack. push never waits for a disk.
type hashFiles struct {
	fsys durable.FS
	dir  string

	mu      sync.Mutex
	pending [maxLevels][]tlog.Hash // not written yet
	count   [maxLevels]uint64      // hashes of a level, with the pending ones

	io    sync.Mutex // held while writing; before mu
	files [maxLevels]durable.File
	dirty bool
}

func hashName(dir string, level int) string {
	return filepath.Join(dir, hashesDir, fmt.Sprintf("%d", level))
}

// start begins at a size: what the files hold beyond it is written again.
func (h *hashFiles) start(size uint64) {
	for level := range h.count {
		h.count[level] = size >> (tileHeight * level)
		h.pending[level] = nil
	}
}

func (h *hashFiles) push(level int, hash tlog.Hash) {
	h.mu.Lock()
	h.pending[level] = append(h.pending[level], hash)
	h.count[level]++
	h.mu.Unlock()
}

// flush writes what is pending. With sync it also makes it durable and returns
// how many leaves' hashes are.
func (h *hashFiles) flush(sync bool) (leaves uint64, err error) {
	h.io.Lock()
	defer h.io.Unlock()
	h.mu.Lock()
	pending, count := h.pending, h.count
	h.pending = [maxLevels][]tlog.Hash{}
	h.mu.Unlock()
	for level, hashes := range pending {
		if len(hashes) == 0 {
			continue
		}
		if err := h.write(level, count[level]-uint64(len(hashes)), hashes); err != nil {
			h.putBack(pending, level)
			return 0, err
		}
		h.dirty = true
	}
	if !sync {
		return 0, nil
	}
	if h.dirty {
		for _, f := range h.files {
			if f == nil {
				continue
			}
			if err := f.Datasync(); err != nil {
				return 0, err
			}
		}
		h.dirty = false
	}
	return count[0], nil
}

// putBack returns what was not written, from a level on.
func (h *hashFiles) putBack(pending [maxLevels][]tlog.Hash, from int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for level := from; level < maxLevels; level++ {
		h.pending[level] = append(pending[level], h.pending[level]...)
	}
}

func (h *hashFiles) write(level int, at uint64, hashes []tlog.Hash) error {
	if h.files[level] == nil {
		f, err := h.fsys.OpenFile(hashName(h.dir, level), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := h.fsys.SyncDir(filepath.Join(h.dir, hashesDir)); err != nil {
			return errors.Join(err, f.Close())
		}
		h.files[level] = f
	}
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	_, err := h.files[level].WriteAt(b, int64(at)*tlog.HashSize)
	return err
}

func (h *hashFiles) close() error {
	h.io.Lock()
	defer h.io.Unlock()
	var errs []error
	for i, f := range h.files {
		if f != nil {
			errs = append(errs, f.Close())
			h.files[i] = nil
		}
	}
	return errors.Join(errs...)
}

// hashCount says how many whole hashes the file of a level holds.
func hashCount(fsys durable.FS, dir string, level int) (uint64, error) {
	info, err := fsys.Stat(hashName(dir, level))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return uint64(info.Size()) / tlog.HashSize, nil
}

// readHashes reads hashes [from, from+n) of a level.
func readHashes(fsys durable.FS, dir string, level int, from, n uint64) ([]tlog.Hash, error) {
	f, err := fsys.OpenFile(hashName(dir, level), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	b := make([]byte, n*tlog.HashSize)
	if got, err := f.ReadAt(b, int64(from)*tlog.HashSize); got < len(b) {
		if err == io.EOF {
			err = errors.New("the hash file is too short")
		}
		return nil, err
	}
	hashes := make([]tlog.Hash, n)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}

// foldHashes is the root of a complete subtree from a power of two of hashes.
func foldHashes(hashes []tlog.Hash) tlog.Hash {
	for len(hashes) > 1 {
		half := make([]tlog.Hash, len(hashes)/2)
		for i := range half {
			half[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = half
	}
	return hashes[0]
}
