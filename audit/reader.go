package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// Reader reads a journal without locking it: what was there when it was opened,
// also while a log appends. It verifies nothing; [Verify] does.
type Reader struct {
	src        source
	signed     []byte
	checkpoint Checkpoint
	key        note.Verifier
}

// OpenReader opens the journal in dir for reading.
func OpenReader(ctx context.Context, fsys durable.FS, dir string) (*Reader, error) {
	r := &Reader{src: source{fsys: fsys, dir: dir}}
	if err := r.open(ctx); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("there is no journal here")
		}
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context) error {
	vkey, err := durable.ReadFile(r.src.fsys, filepath.Join(r.src.dir, keyFile), 4096)
	if err != nil {
		return err
	}
	if r.key, err = note.NewVerifier(strings.TrimSpace(string(vkey))); err != nil {
		return errors.New("key.pub is not a verifier key")
	}
	if r.signed, err = durable.ReadFile(r.src.fsys, filepath.Join(r.src.dir, checkpointFile), 64<<10); err != nil {
		return err
	}
	if r.checkpoint, err = OpenCheckpoint(r.signed, r.key); err != nil {
		return fmt.Errorf("%w: checkpoint: %w", ErrTampered, err)
	}
	segments, err := listSegments(r.src.fsys, r.src.dir)
	if err != nil {
		return err
	}
	for i, s := range segments {
		if !s.used {
			break
		}
		if s.number != uint32(i) {
			return fmt.Errorf("%w: segment %d is missing", ErrTampered, i)
		}
		r.src.firsts = append(r.src.firsts, s.header.first)
	}
	return r.findEnd(ctx)
}

// findEnd counts the records of the last segment.
func (r *Reader) findEnd(ctx context.Context) error {
	last := len(r.src.firsts) - 1
	if last < 0 {
		return nil
	}
	r.src.size = r.src.firsts[last]
	f, err := r.src.fsys.OpenFile(segmentName(r.src.dir, uint32(last)), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for frames := newFrames(f, uint32(last), info.Size(), segmentHeader); ; {
		fr, err := frames.next()
		var d *damage
		switch {
		case err == io.EOF || errors.As(err, &d) || err == nil && fr.index != r.src.size:
			return ctx.Err() // what follows is not whole (yet)
		case err != nil:
			return err
		case fr.kind == frameEntry:
			r.src.size++
		}
	}
}

// Size is the number of records.
func (r *Reader) Size() uint64 { return r.src.size }

// Checkpoint is the newest signed checkpoint, and what it says.
func (r *Reader) Checkpoint() ([]byte, Checkpoint) { return r.signed, r.checkpoint }

// Entries yields the records from a position on. open may be nil: then payloads
// stay sealed. An error ends the sequence.
func (r *Reader) Entries(ctx context.Context, from uint64, open func(month string, sealed []byte) ([]byte, error)) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { r.src.entries(ctx, from, open, yield) }
}

// Prove returns the proof that the newest checkpoint signs a record. Records
// younger than the checkpoint cannot be proved yet.
func (r *Reader) Prove(ctx context.Context, index uint64) (Proof, error) {
	if index >= r.checkpoint.Size {
		return Proof{}, fmt.Errorf("prove record %d: the newest checkpoint signs %d records", index, r.checkpoint.Size)
	}
	p := Proof{Index: index, Checkpoint: string(r.signed)}
	for e, err := range r.Entries(ctx, index, nil) {
		if err != nil {
			return Proof{}, err
		}
		p.Leaf = e.Encoded
		break
	}
	size := int64(r.checkpoint.Size)
	path, err := tlog.ProveRecord(size, int64(index), hashReader{r.src.fsys, r.src.dir})
	if err == nil {
		err = tlog.CheckRecord(path, size, r.checkpoint.Root, int64(index), tlog.RecordHash(p.Leaf))
	}
	if err != nil {
		return Proof{}, fmt.Errorf("prove record %d: verify the journal: %w", index, err)
	}
	p.Path = path
	return p, nil
}

// ErrNoTile says that the journal has no tile of that name.
var ErrNoTile = errors.New("no such tile")

// Tile returns a resource of C2SP tlog-tiles by its path: "checkpoint",
// "tile/<level>/<n>", "tile/entries/<n>", full or partial ("….p/<width>"). It
// has what the newest checkpoint signs and nothing more.
func (r *Reader) Tile(ctx context.Context, path string) ([]byte, error) {
	if path == "checkpoint" {
		return r.signed, nil
	}
	t, err := parseTilePath(path)
	if err != nil {
		return nil, err
	}
	have := r.checkpoint.Size >> (tileHeight * max(t.level, 0))
	from := t.n * tileWidth
	if t.n > have || from+t.width > have {
		return nil, ErrNoTile
	}
	if t.level >= 0 {
		hashes, err := readHashes(r.src.fsys, r.src.dir, t.level, from, t.width)
		if err != nil {
			return nil, fmt.Errorf("read tile: %w", err)
		}
		var b []byte
		for _, h := range hashes {
			b = append(b, h[:]...)
		}
		return b, nil
	}
	var b []byte
	src := r.src
	src.size = min(src.size, from+t.width)
	for e, err := range func(yield func(Entry, error) bool) { src.entries(ctx, from, nil, yield) } {
		if err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.Encoded)))
		b = append(b, e.Encoded...)
	}
	return b, nil
}

// tile is a parsed path; level -1 is an entry bundle.
type tile struct {
	level int
	n     uint64
	width uint64
}

// parseTilePath accepts exactly the paths of C2SP tlog-tiles: n in groups of
// three digits, all but the last with an x in front.
func parseTilePath(path string) (tile, error) {
	t := tile{width: tileWidth}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return t, ErrNoTile
	}
	level, rest, _ := strings.Cut(rest, "/")
	if t.level = -1; level != "entries" {
		n, err := strconv.ParseUint(level, 10, 6)
		if err != nil || n >= maxLevels || strconv.FormatUint(n, 10) != level {
			return t, ErrNoTile
		}
		t.level = int(n)
	}
	if n, width, partial := strings.Cut(rest, ".p/"); partial {
		w, err := strconv.ParseUint(width, 10, 8)
		if err != nil || w == 0 || strconv.FormatUint(w, 10) != width {
			return t, ErrNoTile
		}
		rest, t.width = n, w
	}
	groups := strings.Split(rest, "/")
	if len(groups) > 6 {
		return t, ErrNoTile
	}
	for i, g := range groups {
		if i < len(groups)-1 {
			if g, ok = strings.CutPrefix(g, "x"); !ok {
				return t, ErrNoTile
			}
		}
		d, err := strconv.ParseUint(g, 10, 16)
		if err != nil || len(g) != 3 || d > 999 || i == 0 && d == 0 && len(groups) > 1 {
			return t, ErrNoTile
		}
		t.n = t.n*1000 + d
	}
	return t, nil
}

// TilePath is the path of the n-th tile of a level (-1: entry bundle) with a
// width of 1 to 256.
func TilePath(level int, n uint64, width int) string {
	number := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	kind := "entries"
	if level >= 0 {
		kind = strconv.Itoa(level)
	}
	path := "tile/" + kind + "/" + number
	if width < tileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}
