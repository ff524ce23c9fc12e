package dicom

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// What the content digest hashes: one of these bytes for each token, and
//
//	element    tag (4), length (8), value
//	sequence   tag (4)
//	fragments  tag (4)
//	fragment   length (8), bytes
//
// with all numbers and values little-endian. Group lengths are left out, and
// so is the VR. This is frozen: digests are stored.
const (
	digestElement      = 1
	digestSequence     = 2
	digestItem         = 3
	digestItemEnd      = 4
	digestSequenceEnd  = 5
	digestFragments    = 6
	digestFragment     = 7
	digestFragmentsEnd = 8
	digestCut          = 9
)

// digester gathers the many small writes of a header before it hashes them.
type digester struct {
	hash hash.Hash
	buf  [4096]byte
	n    int
}

func (d *digester) reset() {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Reset()
	d.n = 0
}

func (d *digester) room(n int) []byte {
	if len(d.buf)-d.n < n {
		d.hash.Write(d.buf[:d.n])
		d.n = 0
	}
	d.n += n
	return d.buf[d.n-n : d.n]
}

func (d *digester) mark(kind byte) { d.room(1)[0] = kind }

func (d *digester) structure(t Token) {
	switch t.Kind {
	case SequenceStart, FragmentsStart:
		b := d.room(5)
		b[0] = digestSequence
		if t.Kind == FragmentsStart {
			b[0] = digestFragments
		}
		binary.LittleEndian.PutUint32(b[1:], uint32(t.Tag))
	case ItemStart:
		d.mark(digestItem)
	case ItemEnd:
		d.mark(digestItemEnd)
	case SequenceEnd:
		d.mark(digestSequenceEnd)
	case FragmentsEnd:
		d.mark(digestFragmentsEnd)
	}
}

// element hashes what stands before the value of an element or fragment.
func (d *digester) element(t Token) {
	switch {
	case t.Kind == Fragment:
		b := d.room(9)
		b[0] = digestFragment
		binary.LittleEndian.PutUint64(b[1:], uint64(t.Length))
	case !t.Tag.GroupLength():
		b := d.room(13)
		b[0] = digestElement
		binary.LittleEndian.PutUint32(b[1:], uint32(t.Tag))
		binary.LittleEndian.PutUint64(b[5:], uint64(t.Length))
	}
}

// value hashes a value, or the next part of one.
func (d *digester) value(t Token, b []byte) {
	if t.Kind == ElementToken && t.Tag.GroupLength() {
		return
	}
	if len(b) <= len(d.buf)/4 {
		copy(d.room(len(b)), b)
		return
	}
	d.hash.Write(d.buf[:d.n])
	d.n = 0
	d.hash.Write(b)
}

func (d *digester) sum(to *[32]byte) {
	d.hash.Write(d.buf[:d.n])
	d.n = 0
	d.hash.Sum(to[:0])
}
