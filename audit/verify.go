package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"lumen/internal/durable"
)

// Verify recomputes the journal in dir from its records and checks every
// checkpoint, also while a log appends to it. vkey is the verifier key; when
// it is empty the one in the folder is used, and the report says that this
// proves nothing against someone who could write there. known are checkpoints
// that were kept elsewhere: the journal must be a continuation of each.
//
// The report is complete when the error is nil or wraps [ErrTampered], which it
// does when there are problems; any other error means that the journal could
// not be read. Memory is bounded whatever the journal's length.
func Verify(ctx context.Context, fsys durable.FS, dir, vkey string, known ...[]byte) (Report, error) {
	return verify(ctx, fsys, dir, vkey, known, nil)
}

// Find verifies a journal as [Verify] does and returns, of the same pass, all
// entries whose leaf matches, payloads sealed. So when the error is nil they are
// all that there are: with one patient's token an auditor sees that nothing
// about that patient was withheld.
func Find(ctx context.Context, fsys durable.FS, dir, vkey string, match func(Leaf) bool) ([]Entry, Report, error) {
	var found []Entry
	report, err := verify(ctx, fsys, dir, vkey, nil, func(e Entry) {
		if match(e.Leaf) {
			e.Encoded, e.Sealed = bytes.Clone(e.Encoded), bytes.Clone(e.Sealed)
			found = append(found, e)
		}
	})
	return found, report, err
}

func verify(ctx context.Context, fsys durable.FS, dir, vkey string, known [][]byte, visit func(Entry)) (Report, error) {
	v := &verification{ctx: ctx, fsys: fsys, dir: dir, visit: visit}
	defer v.witness.close()
	err := v.run(vkey, known)
	if err == nil {
		err = v.report.Err()
	}
	if err != nil {
		err = fmt.Errorf("verify journal: %w", err)
	}
	return v.report, err
}

// verification is one pass over a journal.
type verification struct {
	ctx    context.Context
	fsys   durable.FS
	dir    string
	visit  func(Entry)
	key    note.Verifier
	report Report

	edge     edge              // of the records so far, a placeholder for each that cannot be read
	spoiled  bool              // the tree cannot be right any more, and why was reported
	good     uint64            // records under the last checkpoint that agreed
	missing  map[uint64]string // records that were passed over and may come out of order, and where
	brackets []bracket
	agreed   bool    // the tree is the one that the newest checkpoint signs
	recorded bool    // the segments have the newest checkpoint
	claims   []claim // checkpoints to be compared when the tree has their size
	witness  witness
}

// claim is a checkpoint from outside of the segments.
type claim struct {
	Checkpoint
	where string
}

func (v *verification) problem(kind Kind, record int64, where, format string, args ...any) {
	p := Problem{Kind: kind, Where: where, Detail: fmt.Sprintf(format, args...)}
	if record >= 0 {
		p.Record = &record
	}
	v.report.add(p)
}

func (v *verification) run(vkey string, known [][]byte) error {
	if err := v.useKey(vkey); err != nil {
		return err
	}
	// The checkpoint first: what is read later cannot be older than it.
	if err := v.readCheckpoint(); err != nil {
		return err
	}
	for i, signed := range known {
		v.claim(signed, fmt.Sprintf("known checkpoint %d", i+1))
	}
	segments, err := v.segments()
	if err != nil {
		return err
	}
	v.report.Segments = len(segments)
	v.witness = witness{fsys: v.fsys, dir: v.dir, wanted: v.report.Checkpoint.Size}
	v.missing = map[uint64]string{}
	v.checkClaims()
	for i, s := range segments {
		if err := v.segment(s, i == len(segments)-1); err != nil {
			return err
		}
	}
	v.finish()
	return nil
}

func (v *verification) useKey(vkey string) error {
	inFolder, err := durable.ReadFile(v.fsys, filepath.Join(v.dir, keyFile), 4096)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if vkey == "" {
			return errors.New("there is no journal here: it has no key.pub")
		}
		v.problem(Missing, -1, keyFile, "the public key is not in the folder")
	case err != nil:
		return err
	}
	folder := strings.TrimSpace(string(inFolder))
	if vkey == "" {
		vkey, v.report.KeyFromFolder = folder, true
	} else if vkey = strings.TrimSpace(vkey); err == nil && folder != vkey {
		v.problem(ForeignKey, -1, keyFile, "the key in the folder is not the one that was given")
	}
	if v.key, err = note.NewVerifier(vkey); err != nil {
		return fmt.Errorf("%q is not a verifier key: name+hash+base64", vkey)
	}
	v.report.Key, v.report.Origin = vkey, v.key.Name()
	return nil
}

func (v *verification) readCheckpoint() error {
	signed, err := durable.ReadFile(v.fsys, filepath.Join(v.dir, checkpointFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		v.problem(Missing, -1, checkpointFile, "there is no checkpoint: how many records there must be is unknown")
		return nil
	}
	if err != nil {
		return err
	}
	if c, ok := v.claim(signed, checkpointFile); ok {
		v.report.Checkpoint = c
	}
	return nil
}

// claim checks a checkpoint's signature and keeps it for comparison.
func (v *verification) claim(signed []byte, where string) (Checkpoint, bool) {
	c, ok := v.signature(signed, -1, where)
	if ok {
		v.claims = append(v.claims, claim{c, where})
	}
	return c, ok
}

func (v *verification) signature(signed []byte, record int64, where string) (Checkpoint, bool) {
	v.report.Checkpoints++
	c, err := OpenCheckpoint(signed, v.key)
	if err == nil {
		return c, true
	}
	kind := Signature
	if errors.Is(err, errForeignKey) {
		kind = ForeignKey
	}
	v.problem(kind, record, where, "checkpoint: %v", err)
	return Checkpoint{}, false
}

// segments are those that were begun, in order; what is wrong with their names
// and headers is reported.
func (v *verification) segments() ([]segment, error) {
	list, err := listSegments(v.fsys, v.dir)
	if errors.Is(err, fs.ErrNotExist) {
		v.problem(Missing, -1, segmentsDir, "there are no segments")
		return nil, nil
	}
	if errors.Is(err, ErrTampered) {
		v.problem(Inserted, -1, segmentsDir, "a file is named like a segment and is none")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for len(list) > 0 && !list[len(list)-1].used && list[len(list)-1].err == nil {
		list = list[:len(list)-1] // in reserve
	}
	for i := range list {
		s := &list[i]
		if s.err != nil { // perhaps it was being written
			again, err := readSegment(v.fsys, v.dir, s.number)
			if err != nil {
				return nil, err
			}
			*s = again
		}
	}
	next := uint32(0)
	for _, s := range list {
		for ; next < s.number; next++ {
			v.problem(Removed, -1, v.name(next), "the segment is missing")
			v.spoiled = true
		}
		next = s.number + 1
	}
	return list, nil
}

func (v *verification) name(segment uint32) string {
	return fmt.Sprintf("%s/%08d.seg", segmentsDir, segment)
}
