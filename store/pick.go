package store

import (
	"lumen/dicom"
	"lumen/dicom/dict"
)

// Bounds on what one header brings into a record, so that no row outgrows the
// index whatever a peer sends. What does not fit is in the blob only.
const (
	shortAttribute = 256      // values up to this come first
	maxAttribute   = 2 << 10  // bytes of one value, with the items of a sequence
	maxAttributes  = 16 << 10 // bytes of all
	attributeDepth = 4        // sequences nested deeper are left out
	elementHead    = 12       // bytes beside the value, about
)

// pickAttributes copies the index attributes out of a header.
func pickAttributes(header *dicom.DataSet) *dicom.DataSet {
	picked := new(dicom.DataSet)
	left := maxAttributes
	for _, bounds := range [...][2]int{{0, shortAttribute}, {shortAttribute, maxAttribute}} {
		for _, t := range attributeTable().sorted {
			e, ok := header.Get(t)
			if !ok {
				continue
			}
			n, whole := elementSize(e, 0)
			if whole && n <= left && (n > bounds[0] || bounds[0] == 0) && n <= bounds[1] {
				left -= n
				picked.Set(e)
			}
		}
	}
	return picked.Clone() // a row must not keep the header in memory
}

// elementSize is about how many bytes e takes, and whether all of it is there.
func elementSize(e dicom.Element, depth int) (n int, whole bool) {
	if e.VR != dict.SQ {
		return elementHead + len(e.Value), !e.Omitted()
	}
	if depth == attributeDepth {
		return 0, false
	}
	n = elementHead
	for _, item := range e.Items {
		n += elementHead
		for inner := range item.All() {
			m, whole := elementSize(inner, depth+1)
			if n += m; !whole || n > maxAttribute {
				return n, false
			}
		}
	}
	return n, true
}
