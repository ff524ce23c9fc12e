package durable

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is an [FS] in memory that remembers what was synced. It models the
// strictest reading of POSIX: content is durable after a Sync of the file, a
// name after a SyncDir of its folder. The root "/" exists; paths are absolute
// or relative to it. The zero value is not usable: see [NewMem].
type Mem struct {
	mu       sync.Mutex
	root     *memNode
	epoch    int // counts crashes: a File from before one is dead
	capacity int64
	used     int64
}

type memNode struct {
	dir     map[string]*memNode // nil for a file
	durable map[string]*memNode // the names that a crash leaves
	data    []byte
	synced  []byte
	perm    fs.FileMode
	mtime   time.Time
}

// NewMem returns an empty file system that holds capacity bytes of content; 0
// is without limit.
func NewMem(capacity int64) *Mem { return &Mem{root: newMemDir(0o755), capacity: capacity} }

func newMemDir(perm fs.FileMode) *memNode {
	return &memNode{dir: map[string]*memNode{}, durable: map[string]*memNode{}, perm: perm, mtime: time.Now()}
}

// Crash is a power failure. Without rng all that was not synced is gone. With
// it, every changed page, size and name is kept or lost at random, as disks do.
// Open files are dead afterwards: their methods return [fs.ErrClosed].
func (m *Mem) Crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.used = 0
	m.root.crash(rng, map[*memNode]bool{}, &m.used)
}

func (n *memNode) crash(rng *rand.Rand, seen map[*memNode]bool, used *int64) {
	if seen[n] {
		return
	}
	seen[n] = true
	if n.dir == nil {
		n.data = survive(n.synced, n.data, rng)
		n.synced = slices.Clone(n.data)
		*used += int64(len(n.data))
		return
	}
	if rng != nil {
		names := maps.Clone(n.dir)
		maps.Copy(names, n.durable)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if n.dir[name] == n.durable[name] || rng.IntN(2) == 0 {
				continue
			}
			if n.dir[name] == nil {
				delete(n.durable, name)
			} else {
				n.durable[name] = n.dir[name]
			}
		}
	}
	n.dir = maps.Clone(n.durable)
	for _, name := range slices.Sorted(maps.Keys(n.dir)) {
		n.dir[name].crash(rng, seen, used)
	}
}

// survive mixes what was synced with what was written since.
func survive(synced, data []byte, rng *rand.Rand) []byte {
	if rng == nil {
		return slices.Clone(synced)
	}
	size := len(synced)
	if rng.IntN(2) == 0 {
		size = len(data)
	}
	out := make([]byte, size)
	const page = 4096
	for at := 0; at < size; at += page {
		from := synced
		if rng.IntN(2) == 0 {
			from = data
		}
		if at < len(from) {
			copy(out[at:min(at+page, size)], from[at:])
		}
	}
	return out
}

func split(name string) []string {
	clean := strings.Trim(filepath.ToSlash(filepath.Clean("/"+name)), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

// find returns the node of name; it and its folder are nil where missing.
func (m *Mem) find(name string) (dir, node *memNode, base string) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, m.root, "/"
	}
	dir = m.root
	for _, p := range parts[:len(parts)-1] {
		if dir = dir.dir[p]; dir == nil || dir.dir == nil {
			return nil, nil, ""
		}
	}
	base = parts[len(parts)-1]
	return dir, dir.dir[base], base
}

func pathError(op, name string, err error) error {
	return &os.PathError{Op: op, Path: name, Err: err}
}

// OpenFile implements [FS].
func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, base := m.find(name)
	writing := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case n == nil && (dir == nil || flag&os.O_CREATE == 0):
		return nil, pathError("open", name, syscall.ENOENT)
	case n == nil:
		n = &memNode{perm: perm, mtime: time.Now()}
		dir.dir[base] = n
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", name, syscall.EEXIST)
	case n.dir != nil && writing:
		return nil, pathError("open", name, syscall.EISDIR)
	}
	if flag&os.O_TRUNC != 0 && writing {
		m.used -= int64(len(n.data))
		n.data = nil
	}
	return &memFile{fs: m, node: n, name: name, epoch: m.epoch, writing: writing,
		reading: flag&os.O_WRONLY == 0, appending: flag&os.O_APPEND != 0}, nil
}

// Rename implements [FS].
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, n, oldBase := m.find(oldName)
	to, target, newBase := m.find(newName)
	switch {
	case from == nil || n == nil || to == nil:
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: syscall.ENOENT}
	case target == n:
		return nil
	case target != nil && (target.dir != nil || n.dir != nil):
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: syscall.EEXIST}
	}
	m.release(target)
	delete(from.dir, oldBase)
	to.dir[newBase] = n
	return nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, base := m.find(name)
	switch {
	case n == nil || dir == nil:
		return pathError("remove", name, syscall.ENOENT)
	case len(n.dir) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.release(n)
	delete(dir.dir, base)
	return nil
}

func (m *Mem) release(n *memNode) {
	if n != nil {
		m.used -= int64(len(n.data))
	}
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(name string, perm fs.FileMode) error {
	return mkdirAll(filepath.Clean(name), perm, m.mkdir, m.Stat, m.SyncDir)
}

func (m *Mem) mkdir(name string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, base := m.find(name)
	switch {
	case n != nil:
		return pathError("mkdir", name, syscall.EEXIST)
	case dir == nil:
		return pathError("mkdir", name, syscall.ENOENT)
	}
	dir.dir[base] = newMemDir(perm)
	return nil
}

// ReadDir implements [FS].
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, _ := m.find(name)
	if n == nil || n.dir == nil {
		return nil, pathError("readdir", name, syscall.ENOENT)
	}
	var entries []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.dir)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.dir[base].stat(base)))
	}
	return entries, nil
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, base := m.find(name)
	if n == nil {
		return nil, pathError("stat", name, syscall.ENOENT)
	}
	return n.stat(base), nil
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, _ := m.find(name)
	if n == nil || n.dir == nil {
		return pathError("open", name, syscall.ENOENT)
	}
	n.durable = maps.Clone(n.dir)
	return nil
}

// Free implements [FS]; without a capacity it reports 1 TiB.
func (m *Mem) Free(string) (free, total int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return 1<<40 - m.used, 1 << 40, nil
	}
	return max(m.capacity-m.used, 0), m.capacity, nil
}

func (n *memNode) stat(base string) fs.FileInfo {
	mode := n.perm
	if n.dir != nil {
		mode |= fs.ModeDir
	}
	return memInfo{base, int64(len(n.data)), mode, n.mtime}
}

type memInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mtime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
