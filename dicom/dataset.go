package dicom

import (
	"iter"
	"slices"
	"sort"

	"lumen/dicom/dict"
)

// Element is one data element.
type Element struct {
	Tag    Tag
	VR     VR
	Value  []byte     // raw, little-endian, with its padding; nil when empty or omitted
	Items  []*DataSet // of a sequence
	Offset int64      // of the value in the stream that it was read from
	Length int64      // of the value in that stream; -1 undefined
}

// Omitted reports whether the element has a value that was not read into
// memory: bulk data, to be read by Offset and Length, or fragments.
func (e Element) Omitted() bool { return e.Value == nil && e.Length != 0 && e.VR != dict.SQ }

// elem is an Element in less space.
type elem struct {
	value  []byte
	items  *[]*DataSet // not nil for a sequence
	offset int64
	length int64
	tag    Tag
	vr     VR
}

func (e *elem) element() Element {
	full := Element{Tag: e.tag, VR: e.vr, Value: e.value, Offset: e.offset, Length: e.length}
	if e.items != nil {
		full.Items = *e.items
	}
	return full
}

// DataSet is a set of elements, ordered by tag. The zero value is empty and
// ready to use. It is not safe for concurrent change.
type DataSet struct {
	elems []elem
	outer *DataSet // whose item it is: character set and private creators are inherited
}

// Len returns the number of elements, not counting those in sequences.
func (d *DataSet) Len() int {
	if d == nil {
		return 0
	}
	return len(d.elems)
}

// find returns where t is, or where it would be.
func (d *DataSet) find(t Tag) (int, bool) {
	if d == nil {
		return 0, false
	}
	n := len(d.elems)
	if n == 0 || d.elems[n-1].tag < t {
		return n, false
	}
	i := sort.Search(n, func(i int) bool { return d.elems[i].tag >= t })
	return i, d.elems[i].tag == t
}

// Get returns the element with tag t.
func (d *DataSet) Get(t Tag) (Element, bool) {
	if i, ok := d.find(t); ok {
		return d.elems[i].element(), true
	}
	return Element{}, false
}

// Has reports whether there is an element with tag t, be it empty.
func (d *DataSet) Has(t Tag) bool {
	_, ok := d.find(t)
	return ok
}

// All yields the elements in the order of their tags.
func (d *DataSet) All() iter.Seq[Element] {
	return func(yield func(Element) bool) {
		if d == nil {
			return
		}
		for i := range d.elems {
			if !yield(d.elems[i].element()) {
				return
			}
		}
	}
}

// Delete removes the element with tag t, if there is one.
func (d *DataSet) Delete(t Tag) {
	if i, ok := d.find(t); ok {
		d.elems = slices.Delete(d.elems, i, i+1)
	}
}

// Set puts e in its place and replaces an element with the same tag. Value and
// Items are kept, not copied: an item belongs to one sequence. Where there is no
// VR, it comes from the dictionary.
func (d *DataSet) Set(e Element) {
	if e.VR == 0 {
		if e.VR, _ = dict.VRs(e.Tag); e.VR == 0 {
			e.VR = dict.UN
		}
	}
	if e.Value != nil && e.VR != dict.SQ {
		e.Length = int64(len(e.Value))
	}
	full := elem{value: e.Value, offset: e.Offset, length: e.Length, tag: e.Tag, vr: e.VR}
	if e.VR == dict.SQ {
		for _, item := range e.Items {
			item.outer = d
		}
		items := e.Items // so that only a sequence's element is on the heap
		full.items, full.value = &items, nil
	}
	i, ok := d.find(e.Tag)
	if ok {
		d.elems[i] = full
		return
	}
	d.elems = slices.Insert(d.elems, i, full)
}

// Grow makes room for n more elements.
func (d *DataSet) Grow(n int) { d.elems = slices.Grow(d.elems, n) }

// Item returns item i of the sequence t, or nil.
func (d *DataSet) Item(t Tag, i int) *DataSet {
	items := d.Items(t)
	if i < 0 || i >= len(items) {
		return nil
	}
	return items[i]
}

// Items returns the items of the sequence t.
func (d *DataSet) Items(t Tag) []*DataSet {
	if i, ok := d.find(t); ok && d.elems[i].items != nil {
		return *d.elems[i].items
	}
	return nil
}

// SetItems sets the sequence t.
func (d *DataSet) SetItems(t Tag, items ...*DataSet) {
	d.Set(Element{Tag: t, VR: dict.SQ, Items: items})
}

// Clone returns a deep copy. Of an item it is a data set of its own, with the
// inherited Specific Character Set in it.
func (d *DataSet) Clone() *DataSet {
	c := d.clone(nil)
	if d != nil && d.outer != nil && !d.Has(dict.SpecificCharacterSet) {
		if v := d.characterSetValue(); len(v) > 0 {
			c.Set(Element{Tag: dict.SpecificCharacterSet, VR: dict.CS, Value: slices.Clone(v)})
		}
	}
	return c
}

func (d *DataSet) clone(outer *DataSet) *DataSet {
	c := &DataSet{outer: outer}
	if d == nil {
		return c
	}
	c.elems = slices.Clone(d.elems)
	for i := range c.elems {
		e := &c.elems[i]
		e.value = slices.Clone(e.value)
		if e.items != nil {
			items := make([]*DataSet, len(*e.items))
			for j, item := range *e.items {
				items[j] = item.clone(c)
			}
			e.items = &items
		}
	}
	return c
}
