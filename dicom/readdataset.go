package dicom

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// ReadOptions say how much of a stream becomes a DataSet. Zero fields mean no
// bound; the Reader's [Limits] hold in any case for depth and count.
type ReadOptions struct {
	Until    Tag   // stop before the first element of the data set with this tag or a higher one
	MaxValue int64 // longer values are omitted
	MaxBytes int64 // once this many value bytes are kept, further values are omitted
}

// ReadDataSet reads the data set that r is at the start of. Omitted values
// have their Offset and Length in the stream; fragments are always omitted.
// An element that came as UN has the VR of the dictionary, if that has one.
// A sequence that is too deep, or that would keep too many elements, is left out
// whole, and counted as [LeftOut] in r's findings. On an error the elements
// before it are returned with it.
func ReadDataSet(r *Reader, opt ReadOptions) (*DataSet, error) {
	b := newBuilder(r)
	defer b.finish()
	for {
		t, err := r.Next()
		if err == io.EOF {
			return b.root, nil
		}
		if err != nil {
			return b.root, err
		}
		if opt.Until != 0 && t.Depth == 0 && t.Tag >= opt.Until && t.Kind != SequenceEnd && t.Kind != FragmentsEnd {
			r.unread()
			return b.root, nil
		}
		if t.Kind != ElementToken {
			b.structure(t)
			continue
		}
		keep := (opt.MaxValue <= 0 || t.Length <= opt.MaxValue) &&
			(opt.MaxBytes <= 0 || b.bytes+t.Length <= opt.MaxBytes)
		if !keep || t.Length == 0 {
			b.element(t, nil)
			continue
		}
		value, err := b.value(r, t)
		if err != nil {
			return b.root, err
		}
		b.element(t, value)
	}
}

// ParseDataSet reads a whole data set from memory. Elements do not point into b.
// The error wraps [ErrLimit] when the default limits do not let all of it be
// kept; what was kept is returned with it.
func ParseDataSet(b []byte, ts TransferSyntax) (*DataSet, error) {
	r := NewBytesReader(b, ts, Limits{})
	d, err := ReadDataSet(r, ReadOptions{})
	if err == nil && r.findings.Has(LeftOut) {
		err = fmt.Errorf("dicom: elements were left out: %w", ErrLimit)
	}
	return d, err
}

// builder makes a DataSet of tokens.
type builder struct {
	r     *Reader
	root  *DataSet
	cur   *DataSet // where elements go; nil while a sequence is being left out
	seqs  []*[]*DataSet
	loose map[*DataSet][]elem // elements out of order, as they came
	count int                 // of elements and items that are kept
	bytes int64               // of values that are kept
	arena []byte
	fits  func(depth int) bool // whether there is memory for one more; nil is always

	beforeCount int // what they were before the open sequence of the data set
	beforeBytes int64
}

func newBuilder(r *Reader) *builder {
	d := &DataSet{}
	return &builder{r: r, root: d, cur: d}
}

// value reads a whole value into the arena.
func (b *builder) value(r *Reader, t Token) ([]byte, error) {
	if t.Length > 1024 {
		return r.appendValue(make([]byte, 0, min(t.Length, readerBuffer)))
	}
	if cap(b.arena)-len(b.arena) < int(t.Length) {
		b.arena = make([]byte, 0, min(16<<10, max(1024, 2*cap(b.arena))))
	}
	from := len(b.arena)
	arena, err := r.appendValue(b.arena)
	if err != nil {
		return nil, err
	}
	b.arena = arena
	return arena[from:len(arena):len(arena)], nil
}

// add puts e, which is at depth, into the current data set.
func (b *builder) add(depth int, e elem) bool {
	d := b.cur
	if !b.room(depth) {
		return false
	}
	b.bytes += int64(len(e.value))
	i, found := d.find(e.tag)
	switch {
	case found:
		b.r.findings.Add(Duplicate)
		return false
	case i == len(d.elems):
		d.elems = append(d.elems, e)
	default: // put in its place one by one they would cost the square of their number
		b.r.findings.Add(OutOfOrder)
		if b.loose == nil {
			b.loose = make(map[*DataSet][]elem)
		}
		b.loose[d] = append(b.loose[d], e)
	}
	return true
}

// settle puts the elements of d that came out of order in their places. Of
// those with one tag the first counts; one that came in order came before.
func (b *builder) settle(d *DataSet) {
	loose, ok := b.loose[d]
	if !ok {
		return
	}
	delete(b.loose, d)
	slices.SortStableFunc(loose, func(x, y elem) int { return cmp.Compare(x.tag, y.tag) })
	all := make([]elem, 0, len(d.elems)+len(loose))
	for i, e := range loose {
		if i > 0 && e.tag == loose[i-1].tag {
			b.r.findings.Add(Duplicate)
			continue
		}
		n, _ := d.find(e.tag)
		all = append(append(all, d.elems[:n]...), e)
		d.elems = d.elems[n:]
	}
	d.elems = append(all, d.elems...)
}

// finish settles what is still open. The data set is complete after it.
func (b *builder) finish() {
	for d := range b.loose {
		b.settle(d)
	}
}

// room counts one more element or item at depth. Those in sequences get three
// quarters of what may be kept: the rest is for elements of the data set itself.
func (b *builder) room(depth int) bool {
	limit := b.r.lim.KeptElements
	if depth > 0 {
		limit -= limit / 4
	}
	if b.count < limit && (b.fits == nil || b.fits(depth)) {
		b.count++
		return true
	}
	b.leaveOut(depth)
	return false
}

// leaveOut drops the whole sequence of the data set that holds the current
// element: half a sequence would look like a whole one.
func (b *builder) leaveOut(depth int) {
	b.r.findings.Add(LeftOut)
	if depth == 0 {
		return
	}
	top := b.r.stack[0].tag
	if loose := b.loose[b.root]; len(loose) > 0 && loose[len(loose)-1].tag == top {
		b.loose[b.root] = loose[:len(loose)-1]
	} else {
		b.root.Delete(top) // the last
	}
	b.count, b.bytes = b.beforeCount, b.beforeBytes
	b.cur, b.seqs = nil, b.seqs[:0]
}

// element adds an element; a nil value of one that has a length is omitted.
func (b *builder) element(t Token, value []byte) {
	if b.cur == nil {
		return
	}
	b.add(t.Depth, elem{value: value, offset: t.Offset, length: t.Length, tag: t.Tag, vr: b.r.keptVR(t)})
}

// structure follows the tokens that are no elements.
func (b *builder) structure(t Token) {
	if b.cur == nil { // until the end of the sequence of the data set
		if t.Kind == SequenceEnd && t.Depth == 0 {
			b.cur = b.root
		}
		return
	}
	switch t.Kind {
	case SequenceStart:
		if t.Depth == 0 {
			b.beforeCount, b.beforeBytes = b.count, b.bytes
		}
		items := new([]*DataSet)
		ok := b.add(t.Depth, elem{items: items, offset: t.Offset, length: t.Length, tag: t.Tag, vr: t.VR})
		if b.cur == nil {
			return
		}
		if ok && t.Depth+1 > b.r.lim.Depth {
			b.leaveOut(t.Depth + 1)
			return
		}
		if !ok && t.Depth == 0 { // a duplicate, or one too many
			b.cur = nil
			return
		}
		b.seqs = append(b.seqs, items)
	case ItemStart:
		if !b.room(t.Depth) {
			return
		}
		item := &DataSet{outer: b.cur}
		seq := b.seqs[len(b.seqs)-1]
		*seq = append(*seq, item)
		b.cur = item
	case ItemEnd:
		b.settle(b.cur)
		b.cur = b.cur.outer
	case SequenceEnd:
		b.seqs = b.seqs[:len(b.seqs)-1]
	case FragmentsStart:
		b.add(t.Depth, elem{offset: t.Offset, length: -1, tag: t.Tag, vr: t.VR})
	}
}
