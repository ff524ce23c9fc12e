package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// recover brings the log to where its files say that it was, or makes it.
func (l *Log) recover(ctx context.Context) error {
	fsys, dir := l.cfg.FS, l.cfg.Dir
	for _, d := range []string{filepath.Join(dir, segmentsDir), filepath.Join(dir, hashesDir)} {
		if err := fsys.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	var err error
	if l.lock, err = lockFolder(fsys, dir); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, segmentsDir)} {
		if err := sweep(fsys, d); err != nil {
			return err
		}
	}
	if err := l.checkKey(); err != nil {
		return err
	}
	segments, err := listSegments(fsys, dir)
	if err != nil {
		return err
	}
	used, err := l.usedSegments(segments)
	if err != nil {
		return err
	}
	newest, err := l.newestCheckpoint(len(used) > 0)
	if err != nil {
		return err
	}
	if err := l.keepSpares(segments[len(used):]); err != nil {
		return err
	}
	if len(used) == 0 {
		return l.create(newest)
	}
	return l.resume(ctx, used, newest)
}

// checkKey writes the public key beside the journal, or compares it.
func (l *Log) checkKey() error {
	name := filepath.Join(l.cfg.Dir, keyFile)
	b, err := durable.ReadFile(l.cfg.FS, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return durable.WriteFile(l.cfg.FS, name, []byte(l.cfg.Key.Public()+"\n"), 0o600)
	}
	if err == nil && strings.TrimSpace(string(b)) != l.cfg.Key.Public() {
		err = fmt.Errorf("the journal is signed with another key than %s", l.cfg.Key.Public())
	}
	return err
}

// usedSegments are those with a header. A header that a crash tore belongs to
// a segment without records: it is cleared.
func (l *Log) usedSegments(segments []segment) ([]segment, error) {
	used := 0
	for i := range segments {
		s := &segments[i]
		if s.number != uint32(i) {
			return nil, fmt.Errorf("%w: segment %d is missing", ErrTampered, i)
		}
		if s.err != nil {
			if err := l.clearHeader(*s); err != nil {
				return nil, err
			}
			s.err = nil
		}
		if !s.used {
			continue
		}
		if used != i {
			return nil, fmt.Errorf("%w: segment %d has lost its header", ErrTampered, used)
		}
		if s.header.origin != l.verifier.Name() {
			return nil, fmt.Errorf("segment %d is of the journal %q, not of %q", i, s.header.origin, l.verifier.Name())
		}
		used++
	}
	return segments[:used], nil
}

func (l *Log) clearHeader(s segment) error {
	f, err := l.cfg.FS.OpenFile(segmentName(l.cfg.Dir, s.number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = func() error {
		if s.size >= segmentHeader {
			_, found, err := newFrames(f, s.number, s.size, 0).seek(segmentHeader)
			if err != nil {
				return err
			}
			if found {
				return fmt.Errorf("%w: segment %d has records, but %w", ErrTampered, s.number, s.err)
			}
		}
		if _, err := f.WriteAt(make([]byte, segmentHeader), 0); err != nil {
			return err
		}
		return f.Sync()
	}()
	return errors.Join(err, f.Close())
}

// newestCheckpoint reads the checkpoint file; zero when there is none yet.
func (l *Log) newestCheckpoint(needed bool) (Checkpoint, error) {
	signed, err := durable.ReadFile(l.cfg.FS, filepath.Join(l.cfg.Dir, checkpointFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		if needed {
			return Checkpoint{}, fmt.Errorf("%w: the checkpoint file is missing", ErrTampered)
		}
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := OpenCheckpoint(signed, l.verifier)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: the checkpoint file: %w", ErrTampered, err)
	}
	l.setCheckpoint(signed, c.Size)
	l.keeper.written = c.Size
	return c, nil
}

// keepSpares takes over the segments in reserve. Those of another size than
// today's are made again; the last first, so that no gap can arise.
func (l *Log) keepSpares(rest []segment) error {
	for i := len(rest) - 1; i >= 0; i-- {
		if rest[i].size != l.cfg.SegmentSize {
			for j := len(rest) - 1; j >= i; j-- {
				if err := l.cfg.FS.Remove(segmentName(l.cfg.Dir, rest[j].number)); err != nil {
					return err
				}
				if err := l.cfg.FS.SyncDir(filepath.Join(l.cfg.Dir, segmentsDir)); err != nil {
					return err
				}
			}
			rest = rest[:i]
		}
	}
	for _, s := range rest {
		l.keeper.spares = append(l.keeper.spares, spare{s.number, s.size})
	}
	return nil
}

// create begins a journal. The signed statement that it is empty comes first:
// from then on a missing checkpoint is a sign of tampering.
func (l *Log) create(newest Checkpoint) error {
	if newest.Size > 0 {
		return fmt.Errorf("%w: a checkpoint says that there were %d records, but there are no segments", ErrTampered, newest.Size)
	}
	if newest.Origin == "" {
		signed, err := signCheckpoint(Checkpoint{l.verifier.Name(), 0, l.w.edge.root()}, l.cfg.Key.signer)
		if err != nil {
			return err
		}
		name := filepath.Join(l.cfg.Dir, checkpointFile)
		if err := durable.WriteFile(l.cfg.FS, name, signed, 0o600); err != nil {
			return roomError(err)
		}
		l.setCheckpoint(signed, 0)
	}
	l.keeper.next = uint32(len(l.keeper.spares))
	if err := l.keepReserve(); err != nil {
		return err
	}
	size, err := l.takeSpare(0)
	if err != nil {
		return err
	}
	if err := l.beginSegment(0, size); err != nil {
		return err
	}
	return l.keepReserve()
}

// resume reads the journal from the last segment before which all hashes are
// known to be durable, and goes on behind its last whole record.
func (l *Log) resume(ctx context.Context, used []segment, newest Checkpoint) error {
	last := used[len(used)-1]
	start, err := l.trustedStart(used)
	if err != nil {
		return err
	}
	l.w.edge = edge{start.header.first, append([]tlog.Hash(nil), start.header.edge...)}
	l.hashes.start(l.w.edge.size)
	l.keeper.hashed.Store(l.w.edge.size)
	for _, s := range used {
		l.firsts = append(l.firsts, s.header.first)
	}
	proof := &contradiction{newest: newest, first: l.w.edge.size}
	if err := proof.check(&l.w.edge); err != nil {
		return err
	}
	for _, s := range used[start.number:] {
		if s.header.first != l.w.edge.size {
			return fmt.Errorf("%w: segment %d begins with record %d, but %d were before it",
				ErrTampered, s.number, s.header.first, l.w.edge.size)
		}
		if err := l.resumeSegment(ctx, s, s.number == last.number, proof); err != nil {
			return fmt.Errorf("segment %d: %w", s.number, err)
		}
	}
	if err := proof.end(ctx, l); err != nil {
		return err
	}
	l.size.Store(l.w.edge.size)
	l.recovery.Records = l.w.edge.size
	l.keeper.next = last.number + 1 + uint32(len(l.keeper.spares))
	l.keeper.rotated.Store(len(used) > 1)
	l.keeper.nudge()
	return nil
}

// trustedStart is the last segment whose preceding leaves all have durable
// hashes; the first one when hash files are missing.
func (l *Log) trustedStart(used []segment) (segment, error) {
	hashed := used[len(used)-1].header.hashed
	for level := range maxLevels {
		n, err := hashCount(l.cfg.FS, l.cfg.Dir, level)
		if err != nil {
			return segment{}, err
		}
		if n < hashed>>(tileHeight*level) {
			l.log.Warn("journal hashes are missing and are made again", "level", level)
			return used[0], nil
		}
	}
	start := used[0]
	for _, s := range used {
		if s.header.first <= hashed {
			start = s
		}
	}
	return start, nil
}

// resumeSegment adds a segment's records to the tree. In the last one it cuts
// what was never acknowledged and leaves the file open for appending.
func (l *Log) resumeSegment(ctx context.Context, s segment, last bool, proof *contradiction) error {
	f, err := l.cfg.FS.OpenFile(segmentName(l.cfg.Dir, s.number), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	r := newFrames(f, s.number, s.size, segmentHeader)
	err = l.scan(ctx, r, proof)
	if err == nil && last {
		err = l.cutTail(f, r)
	}
	if err == nil && last {
		l.w.file, l.w.segment, l.w.size, l.w.end = f, s.number, s.size, r.offset
		return nil
	}
	return errors.Join(err, f.Close())
}

// scan reads frames up to the end or to the first damage that a crash explains.
func (l *Log) scan(ctx context.Context, r *frames, proof *contradiction) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := r.next()
		if err == nil && f.index != l.w.edge.size {
			return fmt.Errorf("%w: offset %d: record %d is where record %d should be", ErrTampered, f.offset, f.index, l.w.edge.size)
		}
		if err != nil {
			return l.explain(r, err)
		}
		if f.kind == frameCheckpoint {
			c, err := OpenCheckpoint(f.body, l.verifier)
			if err == nil && (c.Size != l.w.edge.size || c.Root != l.w.edge.root()) {
				err = errors.New("it signs another tree")
			}
			if err != nil {
				return fmt.Errorf("%w: the checkpoint at record %d, offset %d: %w", ErrTampered, f.index, f.offset, err)
			}
			proof.recorded = proof.recorded || c.Size == proof.newest.Size
			continue
		}
		leaf, _, err := splitEntry(f.body)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrTampered, f.index, err)
		}
		l.w.edge.push(tlog.RecordHash(leaf), l.pushHash)
		if err := proof.check(&l.w.edge); err != nil {
			return err
		}
	}
}

// explain tells a torn tail from damage. Whatever was written after a sync
// names the offset up to which that sync reached: so a whole frame behind the
// damage that vouches for it proves that it had been durable.
func (l *Log) explain(r *frames, err error) error {
	var d *damage
	if err != io.EOF && !errors.As(err, &d) {
		return err
	}
	broken := r.offset
	defer func() { r.offset = broken }()
	for at := broken; ; at = r.offset {
		f, found, seekErr := r.seek(at)
		if seekErr != nil {
			return seekErr
		}
		if !found {
			return nil
		}
		if f.durable > broken {
			reason := "it is missing"
			if d != nil {
				reason = d.reason
			}
			return fmt.Errorf("%w: record %d, offset %d: %s, although the records behind it show that it had been written",
				ErrTampered, l.w.edge.size, broken, reason)
		}
	}
}

// cutTail clears what follows the last whole record.
func (l *Log) cutTail(f durable.File, r *frames) error {
	last, err := r.lastNonZero(r.offset)
	if err != nil || last == r.offset {
		return err
	}
	l.recovery.Segment = filepath.Base(f.Name())
	l.recovery.Offset, l.recovery.Discarded = r.offset, last-r.offset
	if _, err := f.WriteAt(make([]byte, last-r.offset), r.offset); err != nil {
		return err
	}
	return f.Sync()
}

// contradiction compares the tree with the newest checkpoint while it grows.
type contradiction struct {
	newest   Checkpoint
	first    uint64 // where the scan began
	seen     bool   // the tree had the checkpoint's size
	recorded bool   // the checkpoint is in the segments that were scanned
}

func (c *contradiction) check(e *edge) error {
	if e.size != c.newest.Size {
		return nil
	}
	c.seen = true
	if root := e.root(); root != c.newest.Root {
		return fmt.Errorf("%w: the checkpoint of %d records has the root %s, the records have %s",
			ErrTampered, c.newest.Size, c.newest.Root, root)
	}
	return nil
}

// end checks what check could not see.
func (c *contradiction) end(ctx context.Context, l *Log) error {
	switch {
	case c.seen && c.newest.Size > c.first && !c.recorded:
		return fmt.Errorf("%w: the checkpoint of %d records is damaged in the segment that it was written to first",
			ErrTampered, c.newest.Size)
	case c.seen:
		return nil
	case c.newest.Size > l.w.edge.size:
		return fmt.Errorf("%w: the checkpoint of %d records was signed, but the journal ends at record %d",
			ErrTampered, c.newest.Size, l.w.edge.size)
	}
	// The checkpoint file is older than the segment that the scan began with:
	// it could not be replaced while the disk was full. The hash files have its tree.
	root, err := tlog.TreeHash(int64(c.newest.Size), hashReader{l.cfg.FS, l.cfg.Dir})
	if err != nil {
		return fmt.Errorf("read hashes of the checkpoint: %w", err)
	}
	if root != c.newest.Root {
		return fmt.Errorf("%w: the checkpoint of %d records has the root %s, the records have %s",
			ErrTampered, c.newest.Size, c.newest.Root, root)
	}
	return nil
}
