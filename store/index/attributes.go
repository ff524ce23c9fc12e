package index

import (
	"encoding/binary"
	"errors"
	"iter"

	"lumen/dicom"
	"lumen/dicom/dict"
)

var errShort = errors.New("a record ends early")

// maxNesting is how deep sequences may be in a record.
const maxNesting = 16

// appendAttributes appends the elements of d to b: tag 4, VR 2, length as a
// uvarint, value. The value of a sequence is its items, each a length and its
// elements.
func appendAttributes(b []byte, d *dicom.DataSet) []byte {
	for e := range d.All() {
		b = binary.BigEndian.AppendUint32(b, uint32(e.Tag))
		b = binary.BigEndian.AppendUint16(b, uint16(e.VR))
		if e.VR != dict.SQ {
			b = appendBytes(b, e.Value)
			continue
		}
		var items []byte
		for _, item := range e.Items {
			items = appendBytes(items, appendAttributes(nil, item))
		}
		b = appendBytes(b, items)
	}
	return b
}

func appendBytes(b, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// attribute is one encoded element.
type attribute struct {
	tag   dicom.Tag
	vr    dicom.VR
	value []byte
}

// attributes yields the elements of b up to its end or to what cannot be read.
func attributes(b []byte) iter.Seq[attribute] {
	return func(yield func(attribute) bool) {
		for len(b) > 0 {
			a, rest, ok := nextAttribute(b)
			if !ok || !yield(a) {
				return
			}
			b = rest
		}
	}
}

func nextAttribute(b []byte) (a attribute, rest []byte, ok bool) {
	if len(b) < 7 {
		return a, nil, false
	}
	a.tag, a.vr = dicom.Tag(binary.BigEndian.Uint32(b)), dicom.VR(binary.BigEndian.Uint16(b[4:]))
	a.value, rest, ok = cutBytes(b[6:])
	return a, rest, ok
}

// cutBytes takes a length and as many bytes off b.
func cutBytes(b []byte) (value, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	end := used + int(n)
	return b[used:end:end], b[end:], true
}

// parseAttributes returns what appendAttributes wrote. It refers to b.
func parseAttributes(b []byte) (*dicom.DataSet, error) { return parseItem(b, 0) }

func parseItem(b []byte, depth int) (*dicom.DataSet, error) {
	d := new(dicom.DataSet)
	n := 0
	for range attributes(b) {
		n++
	}
	d.Grow(n)
	for len(b) > 0 {
		a, rest, ok := nextAttribute(b)
		if !ok || depth > maxNesting {
			return nil, errShort
		}
		b = rest
		e := dicom.Element{Tag: a.tag, VR: a.vr}
		if a.vr != dict.SQ {
			if len(a.value) > 0 {
				e.Value = a.value
			}
			d.Set(e)
			continue
		}
		for items := a.value; len(items) > 0; {
			var one []byte
			if one, items, ok = cutBytes(items); !ok {
				return nil, errShort
			}
			item, err := parseItem(one, depth+1)
			if err != nil {
				return nil, err
			}
			e.Items = append(e.Items, item)
		}
		d.Set(e)
	}
	return d, nil
}
