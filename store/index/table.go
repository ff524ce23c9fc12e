package index

import (
	"slices"
	"sort"
	"sync"
)

// table is the study table at one moment: all studies in order, in blocks. It
// is immutable; a change makes a new table that shares the untouched blocks.
// So a search walks it without a lock for as long as it likes.
type table struct {
	blocks  []*block
	studies int
}

// change replaces the study at old by new. Either may be absent.
type change struct {
	old *orderKey
	new *columns
}

// blockOf returns the block that holds key, or would.
func (t *table) blockOf(key *orderKey) int {
	i := sort.Search(len(t.blocks), func(i int) bool {
		b := t.blocks[i]
		return b.keys[b.len()-1].compare(key) >= 0
	})
	return min(i, len(t.blocks)-1)
}

// edit is what happens in one place of the order: a study goes, comes, or both.
type edit struct {
	key orderKey
	new *columns // nil: the study goes
}

// apply returns the table after the changes. Each study may be named by one
// change only.
func (t *table) apply(changes []change) *table {
	edits := make([]edit, 0, len(changes))
	for _, c := range changes {
		if c.old != nil && (c.new == nil || *c.old != c.new.key) {
			edits = append(edits, edit{key: *c.old})
		}
		if c.new != nil {
			edits = append(edits, edit{key: c.new.key, new: c.new})
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.key.compare(&b.key) })

	next := &table{blocks: make([]*block, 0, len(t.blocks)+1)}
	done := 0 // blocks of t that are in next
	for len(edits) > 0 {
		at, n := 0, len(edits)
		var old *block
		if len(t.blocks) > 0 {
			at = t.blockOf(&edits[0].key)
			old = t.blocks[at]
			if at < len(t.blocks)-1 {
				last := &old.keys[old.len()-1]
				n = sort.Search(len(edits), func(i int) bool { return edits[i].key.compare(last) > 0 })
			}
			next.blocks = append(next.blocks, t.blocks[done:at]...)
			done = at + 1
		}
		next.blocks = appendEdited(next.blocks, old, edits[:n])
		edits = edits[n:]
	}
	next.blocks = append(next.blocks, t.blocks[done:]...)
	for _, b := range next.blocks {
		next.studies += b.len()
	}
	return next
}

// appendEdited appends old with the edits to blocks, in as many blocks as that
// takes. old may be nil.
func appendEdited(blocks []*block, old *block, edits []edit) []*block {
	if old == nil {
		old = &block{}
	}
	rows, size := old.len(), old.textBytes()
	for _, e := range edits {
		if e.new != nil {
			rows++
			for c := range size {
				size[c] += len(e.new.text(c))
			}
		}
	}
	merged := newBlock(rows, size)
	from := 0
	for _, e := range edits {
		i, found := old.search(&e.key)
		merged.addSpan(old, from, i)
		from = i
		if found {
			from = i + 1
		}
		if e.new != nil {
			merged.add(e.new)
		}
	}
	merged.addSpan(old, from, old.len())

	n := merged.len()
	switch {
	case n == 0:
		return blocks
	case n <= blockRows:
		return append(blocks, merged)
	}
	parts := n/(blockRows*3/4) + 1
	for p := range parts {
		blocks = append(blocks, merged.span(n*p/parts, n*(p+1)/parts))
	}
	return blocks
}

// span returns a block of its own with the rows [i, j).
func (b *block) span(i, j int) *block {
	var size [textColumns]int
	for c := range size {
		t := &b.texts[c]
		size[c] = int(t.ends[j-1]) + 1 - t.start(i) - (j - i)
	}
	s := newBlock(j-i, size)
	s.addSpan(b, i, j)
	return s
}

// modalitySets numbers the sets of modalities that studies have, written as
// the sorted modalities joined with a backslash. There are few, so a study's
// set takes two bytes in the table.
type modalitySets struct {
	mu      sync.Mutex
	numbers map[string]uint16
	sets    []string // by number
}

// unknownSet is the number of every set past the ones that two bytes can name:
// a search looks at the record.
const unknownSet uint16 = 0xffff

// number returns the number of a set, a new one when it is new.
func (m *modalitySets) number(set string) uint16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.numbers[set]
	if ok {
		return n
	}
	if len(m.sets) == int(unknownSet) {
		return unknownSet
	}
	if m.numbers == nil {
		m.numbers = make(map[string]uint16)
	}
	n = uint16(len(m.sets))
	m.numbers[set] = n
	m.sets = append(m.sets, set)
	return n
}

// all returns the sets by number, as far as there are any now.
func (m *modalitySets) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sets
}
