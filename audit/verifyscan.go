package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

func (v *verification) segment(s segment, last bool) error {
	name := v.name(s.number)
	f, err := v.fsys.OpenFile(segmentName(v.dir, s.number), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	if s.size < segmentHeader {
		v.problem(Cut, -1, name, "the file is shorter than a segment's header")
		v.spoiled = true
		return nil
	}
	r := newFrames(f, s.number, s.size, segmentHeader)
	if !v.checkHeader(s, name) && last {
		// A crash while the segment was begun leaves this, and no records.
		if _, found, err := r.seek(segmentHeader); err != nil || !found {
			return err
		}
		r.offset = segmentHeader
	}
	endsSigned, err := v.scan(r, name, last)
	if err != nil {
		return err
	}
	if !last && !endsSigned {
		v.problem(Cut, int64(v.edge.size), name, "a full segment must end with a checkpoint, this one does not")
	}
	return v.rest(r, name, last)
}

// checkHeader compares a segment's header with the records before it.
func (v *verification) checkHeader(s segment, name string) bool {
	switch {
	case s.err != nil:
		v.problem(Altered, -1, name, "%v", s.err)
		return false
	case !s.used:
		v.problem(Altered, -1, name, "the segment has no header, but later ones have")
		return false
	case s.header.origin != v.key.Name():
		v.problem(Altered, -1, name, "the segment is of the journal %q", s.header.origin)
	}
	if s.header.first >= maxIndex {
		v.problem(Altered, -1, name, "the segment begins with a record that no journal has")
		return true
	}
	v.pass(s.header.first, name+", offset 0")
	if v.spoiled || s.header.first != v.edge.size {
		return true
	}
	for i, h := range s.header.edge {
		if h != v.edge.hashes[i] {
			v.problem(Altered, -1, name, "the tree hashes in the segment's header are not those of the records before it")
			return true
		}
	}
	return true
}

// scan reads a segment's frames. endsSigned: the last one is a checkpoint.
func (v *verification) scan(r *frames, name string, last bool) (endsSigned bool, err error) {
	moved := false
	for {
		if err := v.ctx.Err(); err != nil {
			return false, err
		}
		f, err := r.next()
		if err != nil {
			more, err := v.damaged(r, err, name, last)
			if err != nil || !more {
				return endsSigned, err
			}
			continue
		}
		where := fmt.Sprintf("%s, offset %d", name, f.offset)
		if !moved && (f.durable > f.offset || f.durable < segmentHeader) && len(v.missing) == 0 && !v.spoiled {
			moved = true // and so were all behind it: once is enough
			v.problem(Altered, int64(f.index), where, "the record was moved: it says that it stood elsewhere")
		}
		if endsSigned = f.kind == frameCheckpoint; endsSigned {
			v.checkpoint(f, where)
			continue
		}
		if err := v.entry(f, where); err != nil {
			return false, err
		}
	}
}

// damaged looks behind a place that is no frame. more: go on, r stands at the
// next whole frame.
func (v *verification) damaged(r *frames, cause error, name string, last bool) (more bool, err error) {
	var d *damage
	if cause != io.EOF && !errors.As(cause, &d) {
		return false, cause
	}
	broken := r.offset
	f, found, err := r.seek(broken)
	for found && err == nil && last && f.durable <= broken && v.edge.size >= v.report.Checkpoint.Size {
		f, found, err = r.seek(r.offset) // of one group with the damage: nobody was promised it
	}
	if err != nil {
		return false, err
	}
	r.offset = broken
	where := fmt.Sprintf("%s, offset %d", name, broken)
	if !found {
		if d != nil && (!last || v.edge.size < v.report.Checkpoint.Size) {
			v.problem(Altered, int64(v.edge.size), where, "%s", d.reason)
			v.spoiled = true
		}
		return false, nil
	}
	// A log that is running may have written since: look at the place again.
	r.forget()
	if _, err := r.at(broken); err == nil {
		return true, nil
	}
	reason := "there are zeros in its place"
	if d != nil {
		reason = d.reason
	}
	switch {
	case f.index > v.edge.size && f.index < maxIndex:
		if n := f.index - v.edge.size; n > 1 {
			reason = fmt.Sprintf("%s; %d records up to the next whole one cannot be read", reason, n)
		}
		v.problem(Altered, int64(v.edge.size), where, "%s", reason)
		v.jump(f.index)
	default:
		v.problem(Altered, int64(v.edge.size), where, "in front of it something is no record: %s", reason)
	}
	r.offset = f.offset
	return true, nil
}

// rest looks at what follows the last frame of a segment: zeros.
func (v *verification) rest(r *frames, name string, last bool) error {
	end, err := r.lastNonZero(r.offset)
	if err != nil {
		return err
	}
	n := end - r.offset
	switch {
	case n == 0:
	case last:
		v.report.Tail = n
	default:
		v.problem(Altered, -1, fmt.Sprintf("%s, offset %d", name, r.offset), "%d bytes behind the last record belong to nothing", n)
	}
	return nil
}

// maxIndex is more than any journal will have.
const maxIndex = 1 << 56

// jump goes on at a later record. What the tree is from here on is unknown.
func (v *verification) jump(to uint64) {
	v.spoiled = true
	v.witness.skip(to - v.edge.size)
	v.edge = edge{to, make([]tlog.Hash, onesCount(to))}
	v.checkClaims()
}

// pass goes on at a later record; those between may still come out of order.
func (v *verification) pass(to uint64, where string) {
	from := v.edge.size
	if to <= from {
		return
	}
	if n := to - from; n > maxMissing || uint64(len(v.missing))+n > maxMissing {
		v.problem(Removed, int64(from), where, "%d records are missing here, up to record %d", n, to-1)
	} else {
		for i := from; i < to; i++ {
			v.missing[i] = where
		}
	}
	v.jump(to)
}

// maxMissing bounds how many records are remembered as perhaps reordered.
const maxMissing = 4096

// checkpoint checks a checkpoint in a segment: it signs all before it.
func (v *verification) checkpoint(f frame, where string) {
	c, ok := v.signature(f.body, int64(f.index), where)
	if !ok {
		return
	}
	v.recorded = v.recorded || c == v.report.Checkpoint
	switch {
	case c.Size != f.index:
		v.problem(Altered, int64(f.index), where, "the checkpoint signs %d records", c.Size)
	case f.index > v.edge.size && f.index < maxIndex:
		v.pass(f.index, where)
	case f.index != v.edge.size:
		v.problem(Reordered, int64(f.index), where, "its checkpoint stands behind %d records", v.edge.size)
	default:
		v.compareRoot(c, where)
	}
}

// compareRoot compares a checkpoint with the tree that has its size.
func (v *verification) compareRoot(c Checkpoint, where string) {
	if v.spoiled {
		return
	}
	if c.Root == v.edge.root() {
		v.good = c.Size
		v.agreed = v.agreed || c == v.report.Checkpoint
		return
	}
	v.spoiled = true
	v.brackets = append(v.brackets, bracket{v.good, c.Size, where})
}

// checkClaims compares the checkpoints from outside that sign just this many.
func (v *verification) checkClaims() {
	for i := 0; i < len(v.claims); i++ {
		if c := v.claims[i]; c.Size <= v.edge.size {
			if c.Size == v.edge.size {
				v.compareRoot(c.Checkpoint, c.where)
			}
			v.claims = append(v.claims[:i:i], v.claims[i+1:]...)
			i--
		}
	}
}

// entry checks a record and adds it to the tree.
func (v *verification) entry(f frame, where string) error {
	index := int64(f.index)
	encoded, sealed, err := splitEntry(f.body)
	var leaf Leaf
	if err == nil {
		leaf, err = ParseLeaf(encoded)
	}
	switch {
	case err != nil:
		v.problem(Altered, index, where, "%v", err)
	case leaf.Payload == [32]byte{} && len(sealed) == 0:
	case sha256.Sum256(sealed) != leaf.Payload:
		v.problem(Altered, index, where, "its sealed payload is not the one that was signed")
	}
	if err == nil && v.visit != nil {
		v.visit(Entry{Index: f.index, Leaf: leaf, Encoded: encoded, Sealed: sealed})
	}
	if f.index >= maxIndex {
		v.problem(Inserted, index, where, "no journal has a record of this number")
		return nil
	}
	if f.index < v.edge.size {
		if _, ok := v.missing[f.index]; ok {
			delete(v.missing, f.index)
			v.problem(Reordered, index, where, "it stands behind record %d", v.edge.size-1)
		} else {
			v.problem(Inserted, index, where, "there is another record of this number before it")
		}
		v.spoiled = true
		return nil
	}
	v.pass(f.index, where)
	if err == nil {
		v.report.Records++
		if v.report.First.IsZero() {
			v.report.First = leaf.Time
		}
		v.report.Last = leaf.Time
	}
	hash := tlog.RecordHash(encoded)
	if err := v.witness.leaf(hash); err != nil {
		return err
	}
	var emitErr error
	v.edge.push(hash, func(level int, h tlog.Hash) {
		if level > 0 && !v.spoiled && emitErr == nil {
			emitErr = v.witness.upper(level, v.edge.size>>(tileHeight*level), h)
		}
	})
	v.checkClaims()
	return emitErr
}

// finish says what only the whole can tell.
func (v *verification) finish() {
	v.report.Root = v.edge.root()
	if v.spoiled {
		v.report.Root = tlog.Hash{}
	}
	if size := v.report.Checkpoint.Size; v.edge.size > size {
		v.report.Unsigned = v.edge.size - size
	}
	v.reportMissing()
	for _, c := range v.claims {
		v.problem(Cut, int64(v.edge.size), c.where, "the checkpoint signs %d records, the journal ends behind %d: %d are missing",
			c.Size, v.edge.size, c.Size-v.edge.size)
	}
	if c := v.report.Checkpoint; c.Size > 0 && c.Size <= v.edge.size && !v.recorded && !v.spoiled {
		v.problem(Removed, int64(c.Size), segmentsDir, "the segments lack the newest checkpoint, which was written to them first")
	}
	v.reportDifferences()
}

// reportMissing names the records that never came, in runs.
func (v *verification) reportMissing() {
	var gone []uint64
	for i := range v.missing {
		gone = append(gone, i)
	}
	slices.Sort(gone)
	for len(gone) > 0 {
		n := 1
		for n < len(gone) && gone[n] == gone[0]+uint64(n) && v.missing[gone[n]] == v.missing[gone[0]] {
			n++
		}
		detail := fmt.Sprintf("record %d follows on record %d", gone[n-1]+1, int64(gone[0])-1)
		if gone[0] == 0 {
			detail = fmt.Sprintf("record %d is the first", gone[n-1]+1)
		}
		v.problem(Removed, int64(gone[0]), v.missing[gone[0]], "%s, %d missing", detail, n)
		gone = gone[n:]
	}
}

// reportDifferences says where the records are not what was signed. The hash
// files, when their own tree is the signed one, tell which record it is; a
// checkpoint alone tells between which two.
func (v *verification) reportDifferences() {
	newest := v.report.Checkpoint
	genuine := v.witness.finish(newest)
	if genuine && !v.agreed && len(v.witness.differences) > 0 {
		for _, d := range v.witness.differences {
			v.problem(d.kind, int64(d.record), hashesDir+"/0", "%s", d.detail)
		}
		return
	}
	for _, b := range v.brackets {
		v.problem(Altered, int64(b.from), b.where, "the records %d to %d are not those that this checkpoint signs", b.from, b.to-1)
	}
	if len(v.brackets) > 0 {
		return
	}
	for _, d := range v.witness.differences {
		if d.record >= newest.Size && !v.spoiled {
			v.problem(Altered, int64(d.record), hashesDir+"/0", "no checkpoint signs it yet, and its hash was another when it was written")
		} else {
			v.problem(Derived, int64(d.record), hashesDir+"/0", "the hash in this file is not the record's")
		}
	}
	for _, p := range v.witness.upperDifferences {
		v.report.add(p)
	}
}

// bracket is a range of records that a checkpoint does not agree with.
type bracket struct {
	from, to uint64
	where    string
}
