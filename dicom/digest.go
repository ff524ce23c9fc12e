package dicom

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"lumen/dicom/dict"
)

// What the content digest hashes: one of these bytes for each token, and
//
//	element    tag (4), length (8), value
//	text       tag (4), value without the padding at its end, its length (8)
//	sequence   tag (4)
//	fragments  tag (4)
//	fragment   length (8), bytes
//
// with all numbers and values little-endian. Text is what has a text VR in the
// dictionary: the VR of the stream does not count, as implicit VR has none. Of
// spaces and NULs at its end, which whoever writes a data set anew takes away or
// adds (PS3.5 section 6.2), up to 64 are left out. Group lengths are left out, and
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
	digestText         = 10
)

// digester gathers the many small writes of a header before it hashes them.
type digester struct {
	hash hash.Hash
	buf  [4096]byte
	n    int

	text    bool     // the value under way is text
	length  int64    // of what was hashed of it
	padding [64]byte // what may be its end
	padded  int      // bytes of padding
}

func (d *digester) reset() {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Reset()
	d.n, d.text, d.length, d.padded = 0, false, 0, 0
}

func (d *digester) room(n int) []byte {
	if len(d.buf)-d.n < n {
		d.hash.Write(d.buf[:d.n])
		d.n = 0
	}
	d.n += n
	return d.buf[d.n-n : d.n]
}

func (d *digester) mark(kind byte) {
	d.end()
	d.room(1)[0] = kind
}

// end ends a text value: what is held back of it is padding.
func (d *digester) end() {
	if d.text {
		binary.LittleEndian.PutUint64(d.room(8), uint64(d.length))
		d.text, d.length, d.padded = false, 0, 0
	}
}

// isText reports whether the dictionary has a text VR for t.
func isText(t Tag) bool {
	vr, _ := dict.VRs(t)
	return vr.Text()
}

func (d *digester) structure(t Token) {
	d.end()
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
	d.end()
	switch {
	case t.Kind == Fragment:
		b := d.room(9)
		b[0] = digestFragment
		binary.LittleEndian.PutUint64(b[1:], uint64(t.Length))
	case t.Tag.GroupLength():
	case isText(t.Tag):
		d.text = true
		b := d.room(5)
		b[0] = digestText
		binary.LittleEndian.PutUint32(b[1:], uint32(t.Tag))
	default:
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
	if d.text {
		d.textValue(b)
		return
	}
	d.write(b)
}

// textValue holds back the last 64 bytes of what may be padding at the end of
// the value, however the value comes.
func (d *digester) textValue(b []byte) {
	content := len(b)
	for content > 0 && (b[content-1] == ' ' || b[content-1] == 0) {
		content--
	}
	settled := d.padded // bytes of padding that are content after all
	if content == 0 {
		settled = min(d.padded, max(0, d.padded+len(b)-len(d.padding)))
	}
	d.write(d.padding[:settled])
	d.padded = copy(d.padding[:], d.padding[settled:d.padded])
	content = max(content, len(b)-len(d.padding))
	d.write(b[:content])
	d.length += int64(settled + content)
	d.padded += copy(d.padding[d.padded:], b[content:])
}

func (d *digester) write(b []byte) {
	if len(b) <= len(d.buf)/4 {
		copy(d.room(len(b)), b)
		return
	}
	d.hash.Write(d.buf[:d.n])
	d.n = 0
	d.hash.Write(b)
}

func (d *digester) sum(to *[32]byte) {
	d.end()
	d.hash.Write(d.buf[:d.n])
	d.n = 0
	d.hash.Sum(to[:0])
}
