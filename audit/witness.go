package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// witness compares the records with the hash files, in one pass and bounded
// memory. The hash files were written with the records: where their own tree is
// the signed one they tell which records are not what they were.
type witness struct {
	fsys durable.FS
	dir  string

	levels      [maxLevels]hashStream
	tree        edge // of the hash file of the leaves
	over        bool // the file has ended, or the two went too far apart
	actual      []tlog.Hash
	signed      []tlog.Hash // both without what agreed
	actualAt    uint64      // number of actual[0]
	signedAt    uint64      // number of signed[0]
	differences []difference

	wanted           uint64    // the size of the newest checkpoint
	root             tlog.Hash // of tree at that size
	upperDifferences []Problem
}

// difference is a record that is not what its hash in the file says.
type difference struct {
	kind   Kind
	record uint64
	detail string
}

// maxApart is how far the records and the hashes may differ before the
// comparison gives up to find out what happened.
const maxApart = 64

// leaf compares the next record.
func (w *witness) leaf(actual tlog.Hash) error {
	if w.over {
		return nil
	}
	signed, ok, err := w.levels[0].next(w.fsys, w.dir, 0)
	if err != nil {
		return err
	}
	if !ok {
		w.over = true
		return nil
	}
	w.grow(signed)
	if len(w.actual) == 0 && len(w.signed) == 0 && actual == signed {
		w.actualAt++
		w.signedAt++
		return nil
	}
	w.actual, w.signed = append(w.actual, actual), append(w.signed, signed)
	w.align(2)
	if len(w.actual) > maxApart || len(w.signed) > maxApart {
		w.over = true
		w.differ(Altered, w.signedAt, "this record and many behind it are not those that were signed")
	}
	return nil
}

func (w *witness) grow(h tlog.Hash) {
	w.tree.push(h, nil)
	if w.tree.size == w.wanted {
		w.root = w.tree.root()
	}
}

// skip passes over records that cannot be read or are not there.
func (w *witness) skip(n uint64) {
	w.align(1)
	w.classify(min(len(w.actual), len(w.signed)), min(len(w.actual), len(w.signed)))
	w.drop(len(w.actual), len(w.signed))
	for range n {
		if w.over {
			return
		}
		h, ok, err := w.levels[0].next(w.fsys, w.dir, 0)
		if err != nil || !ok {
			w.over = true
			return
		}
		w.grow(h)
		w.signedAt++
		w.actualAt++
	}
}

// align drops what agrees and explains what does not, as soon as so many
// hashes in a row agree again.
func (w *witness) align(run int) {
	for {
		n := 0
		for n < len(w.actual) && n < len(w.signed) && w.actual[n] == w.signed[n] {
			n++
		}
		w.drop(n, n)
		i, j, ok := w.meet(run)
		if !ok {
			return
		}
		w.classify(i, j)
		w.drop(i, j)
	}
}

// meet finds the nearest place from which run hashes agree.
func (w *witness) meet(run int) (i, j int, ok bool) {
	for sum := 1; sum <= len(w.actual)+len(w.signed)-2*run; sum++ {
		for i := 0; i <= sum; i++ {
			j := sum - i
			if i+run > len(w.actual) || j+run > len(w.signed) {
				continue
			}
			if slices.Equal(w.actual[i:i+run], w.signed[j:j+run]) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

func (w *witness) drop(i, j int) {
	w.actual, w.signed = w.actual[i:], w.signed[j:]
	w.actualAt += uint64(i)
	w.signedAt += uint64(j)
}

// classify explains the first i records and the first j hashes, which differ.
func (w *witness) classify(i, j int) {
	actual, signed := w.actual[:i], w.signed[:j]
	var strange, gone []uint64
	for n, h := range actual {
		was := slices.Index(signed, h)
		at := w.actualAt + uint64(n)
		switch {
		case was < 0:
			strange = append(strange, at)
		case w.signedAt+uint64(was) != at:
			w.differ(Reordered, w.signedAt+uint64(was), fmt.Sprintf("it stands in the place of record %d", at))
		}
	}
	for n, h := range signed {
		if !slices.Contains(actual, h) {
			gone = append(gone, w.signedAt+uint64(n))
		}
	}
	for len(strange) > 0 && len(gone) > 0 {
		w.differ(Altered, gone[0], "the record is not the one that was signed")
		strange, gone = strange[1:], gone[1:]
	}
	for _, at := range strange {
		w.differ(Inserted, at, "the record was never signed")
	}
	for _, at := range gone {
		w.differ(Removed, at, "the record that was signed is not there")
	}
}

func (w *witness) differ(kind Kind, record uint64, detail string) {
	if len(w.differences) < maxProblems {
		w.differences = append(w.differences, difference{kind, record, detail})
	}
}

// upper compares a hash of a higher level, the n-th of it.
func (w *witness) upper(level int, n uint64, h tlog.Hash) error {
	got, ok, err := w.levels[level].next(w.fsys, w.dir, level)
	if err != nil || !ok || got == h || len(w.upperDifferences) >= maxProblems {
		return err
	}
	w.upperDifferences = append(w.upperDifferences, Problem{
		Kind: Derived, Where: fmt.Sprintf("%s/%d, offset %d", hashesDir, level, n*tlog.HashSize),
		Detail: "the hash in this file is not that of the records below it",
	})
	return nil
}

// finish explains what is left and says whether the file's tree is the one that
// the checkpoint signs.
func (w *witness) finish(newest Checkpoint) (genuine bool) {
	w.align(1)
	n := min(len(w.actual), len(w.signed))
	w.classify(n, n)
	w.drop(n, n)
	for w.tree.size < newest.Size {
		h, ok, err := w.levels[0].next(w.fsys, w.dir, 0)
		if err != nil || !ok {
			return false
		}
		w.grow(h)
	}
	return newest.Size > 0 && w.root == newest.Root
}

func (w *witness) close() {
	for i := range w.levels {
		w.levels[i].close()
	}
}

// hashStream reads a hash file from its beginning.
type hashStream struct {
	file  durable.File
	ended bool
	off   int64
	buf   []byte
}

func (s *hashStream) next(fsys durable.FS, dir string, level int) (h tlog.Hash, ok bool, err error) {
	if s.ended {
		return h, false, nil
	}
	if s.file == nil {
		s.file, err = fsys.OpenFile(hashName(dir, level), os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			s.ended = true
			return h, false, nil
		}
		if err != nil {
			return h, false, err
		}
	}
	if len(s.buf) < tlog.HashSize {
		b := make([]byte, 2048*tlog.HashSize)
		n, err := s.file.ReadAt(b, s.off)
		if err != nil && err != io.EOF {
			return h, false, err
		}
		s.buf = b[:n-n%tlog.HashSize]
		s.off += int64(len(s.buf))
		if len(s.buf) == 0 {
			s.ended = true
			return h, false, nil
		}
	}
	copy(h[:], s.buf)
	s.buf = s.buf[tlog.HashSize:]
	return h, true, nil
}

func (s *hashStream) close() {
	if s.file != nil {
		_ = s.file.Close() // read only
		s.file = nil
	}
}
