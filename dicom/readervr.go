package dicom

import (
	"encoding/binary"

	"lumen/dicom/dict"
)

// The two forms of an element's header in explicit VR (PS3.5 section 7.1.2).
const (
	noForm    = iota // not a VR of the standard
	shortForm        // 16-bit length
	longForm         // two reserved bytes, 32-bit length
)

// forms is indexed by the two letters, five bits each.
var forms = func() (table [1 << 10]uint8) {
	for i := range table {
		vr := VR('A'+i>>5)<<8 | VR('A'+i&31)
		switch {
		case vr.Long():
			table[i] = longForm
		case vr.Known():
			table[i] = shortForm
		}
	}
	return table
}()

func formOf(vr VR) uint8 {
	hi, lo := vr>>8-'A', vr&0xFF-'A'
	if hi > 25 || lo > 25 {
		return noForm
	}
	return forms[hi<<5|lo]
}

// implicitVR looks the VR up (PS3.5 annex A.1). Pixel data, LUT data and
// overlays are OW there.
func (r *Reader) implicitVR(tag Tag) VR {
	vr, or := dict.VRs(tag)
	if vr == 0 {
		return dict.UN
	}
	if or == dict.SS && r.signed {
		return dict.SS
	}
	return vr
}

// oddVR reads the header of an element whose VR the standard does not have;
// ok is false when the stream ends inside it.
//
//   - two capital letters: a VR of the future, which has the long form
//     (PS3.5 section 6.2); a short form is recognised by bytes that are not
//     reserved in the long one.
//   - two spaces, two question marks or the like: a short form with a VR that
//     the writer did not know, as GDCM and old DCMTK wrote it.
//   - else it has none: some devices write private items in implicit VR.
func (r *Reader) oddVR(tag Tag, b []byte) (vr VR, length uint32, size int, ok bool) {
	switch {
	case capital(b[4]) && capital(b[5]):
		r.findings.Add(UnknownVR)
		if b[6]|b[7] != 0 {
			return dict.UN, uint32(r.word(b[6:])), 8, true
		}
		if len(b) < 12 {
			return 0, 0, 0, false
		}
		return dict.UN, r.long(b[8:]), 12, true
	case b[4] == b[5] && (b[4] == ' ' || b[4] == '?' || b[4] == '-'):
		r.findings.Add(UnknownVR)
		return dict.UN, uint32(r.word(b[6:])), 8, true
	}
	r.findings.Add(ImplicitElement)
	return r.implicitVR(tag), r.long(b[4:]), 8, true
}

// keptVR is the VR that the current element t has in a DataSet. What its
// writer did not know may be known here: UN becomes what the dictionary has,
// where that is one VR and the value can be of it (PS3.5 section 6.2.2).
func (r *Reader) keptVR(t Token) VR {
	if t.VR != dict.UN {
		return t.VR
	}
	vr, or := dict.VRs(t.Tag)
	if vr == 0 || or != 0 || vr == dict.SQ {
		return dict.UN
	}
	if unit := int64(vr.Unit()); unit > 1 && (r.big || t.Length%unit != 0) {
		return dict.UN
	}
	return vr
}

func capital(c byte) bool { return 'A' <= c && c <= 'Z' }

// detect looks at the first element's header: whether the stream is in the
// uncompressed syntax that was announced. It may be in another one when a
// gateway changed File Meta and not the data set, or the other way round.
func (r *Reader) detect() {
	b := r.buf[r.r:r.w]
	if r.implicit {
		vr := VR(b[4])<<8 | VR(b[5])
		if formOf(vr) != noForm && plausible(r.tag(b), vr) {
			r.implicit = false
			r.findings.Add(WrongSyntax)
		}
		return
	}
	vr := VR(b[4])<<8 | VR(b[5])
	if formOf(vr) == noForm {
		return // oddVR decides for each element
	}
	if swapped := swapTag(r.tag(b)); !plausible(r.tag(b), vr) && plausible(swapped, vr) {
		r.big = !r.big
		r.findings.Add(WrongSyntax)
	}
}

// detectItem looks at the first element of an item of a sequence that was UN,
// which is in implicit VR (PS3.5 section 6.2.2, note 4): some converters leave
// it in explicit VR.
func (r *Reader) detectItem() {
	r.ofUnknown = false
	b := r.buf[r.r:r.w]
	if vr := VR(b[4])<<8 | VR(b[5]); formOf(vr) != noForm && plausible(r.tag(b), vr) {
		r.implicit = false
		r.findings.Add(WrongSyntax)
	}
}

// plausible reports whether the dictionary has tag with this VR.
func plausible(tag Tag, vr VR) bool {
	v, or := dict.VRs(tag)
	return v == vr || or == vr
}

func swapTag(t Tag) Tag {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(t))
	v := binary.LittleEndian.Uint32(b[:])
	return Tag(v<<16 | v>>16)
}
