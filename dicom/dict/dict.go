package dict

import (
	"sort"
	"sync"
)

// Tag identifies an attribute: the group in the high 16 bits, the element in
// the low ones (PS3.5 section 7.1).
type Tag uint32

// NewTag makes the tag (group,element).
func NewTag(group, element uint16) Tag { return Tag(group)<<16 | Tag(element) }

// Group returns the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Element returns the element number.
func (t Tag) Element() uint16 { return uint16(t) }

// Private reports whether the group is odd (PS3.5 section 7.8).
func (t Tag) Private() bool { return t&0x10000 != 0 }

// PrivateCreator reports whether t reserves a block of private elements:
// (gggg,0010-00FF) with an odd group.
func (t Tag) PrivateCreator() bool { return t.Private() && t&0xFF00 == 0 && t&0xFF >= 0x10 }

// GroupLength reports whether t is a group length, (gggg,0000).
func (t Tag) GroupLength() bool { return t&0xFFFF == 0 }

// String returns the tag as "(0010,0020)".
func (t Tag) String() string {
	const hex = "0123456789ABCDEF"
	b := [11]byte{0: '(', 5: ',', 10: ')'}
	for i, at := range [8]int{1, 2, 3, 4, 6, 7, 8, 9} {
		b[at] = hex[t>>(28-4*i)&15]
	}
	return string(b[:])
}

// Attribute is one row of the data dictionary.
type Attribute struct {
	Tag     Tag
	VR      VR // the first one where the standard allows several: US of "US or SS", OW of "OB or OW"
	Or      VR // the other one where the standard allows two, else 0
	VM      string
	Keyword string
	Name    string
	Retired bool
}

// LookupTag finds the attribute of a tag. Repeating groups (50xx, 60xx, 7Fxx)
// and (0020,31xx) are found under any of their tags; group lengths and private
// creators are answered as the dictionary's generic entries. Other private
// tags are unknown.
func LookupTag(t Tag) (Attribute, bool) {
	if i, ok := find(t); ok {
		row := &rows[i]
		return Attribute{Tag: t, VR: row.vr, Or: row.or, VM: row.vm, Keyword: row.keyword,
			Name: row.name, Retired: row.retired}, true
	}
	switch {
	case t.GroupLength():
		return Attribute{Tag: t, VR: UL, VM: "1", Keyword: "GroupLength", Name: "Group Length"}, true
	case t.PrivateCreator():
		return Attribute{Tag: t, VR: LO, VM: "1", Keyword: "PrivateCreator", Name: "Private Creator"}, true
	}
	return Attribute{}, false
}

// VRs returns the one or two value representations that the dictionary has for
// t: both zero when it is unknown, the second zero when there is one. It is
// [LookupTag] for readers of implicit VR, and allocates nothing.
func VRs(t Tag) (vr, or VR) {
	if i, ok := find(t); ok {
		return rows[i].vr, rows[i].or
	}
	switch {
	case t.GroupLength():
		return UL, 0
	case t.PrivateCreator():
		return LO, 0
	}
	return 0, 0
}

// Keyword returns the keyword of t, or "" when the dictionary has none.
func Keyword(t Tag) string {
	if i, ok := find(t); ok {
		return rows[i].keyword
	}
	return ""
}

// find looks t up in the generated hash table (open addressing, one probe as a
// rule), then under the first tag of the repeating group that it may be in.
func find(t Tag) (int, bool) {
	if i, ok := probe(t); ok {
		return i, true
	}
	if base, ok := repeating(t); ok {
		return probe(base)
	}
	return 0, false
}

func probe(t Tag) (int, bool) {
	for h := slot(t); ; h = (h + 1) & (1<<hashBits - 1) {
		i := int(hashed[h])
		if i == 0 {
			return 0, false
		}
		if tags[i-1] == t {
			return i - 1, true
		}
	}
}

// slot must agree with the generator.
func slot(t Tag) uint32 { return uint32(t) * 0x9E3779B1 >> (32 - hashBits) }

// repeating returns the tag under which the dictionary lists a repeating one.
func repeating(t Tag) (Tag, bool) {
	switch g := t.Group(); {
	case g&1 != 0:
		return 0, false
	case g>>8 == 0x50, g>>8 == 0x60, g>>8 == 0x7F && g != 0x7FE0:
		return t &^ 0x00FF0000, true
	case g == 0x0020 && t.Element()>>8 == 0x31:
		return t &^ 0xFF, true
	}
	return 0, false
}

var byKeyword = sync.OnceValue(func() map[string]Tag {
	m := make(map[string]Tag, len(rows))
	for i := range rows {
		m[rows[i].keyword] = tags[i]
	}
	return m
})

// LookupKeyword finds the tag of a keyword such as "PatientID" (case counts).
// For a repeating group it is the first tag, such as (6000,3000).
func LookupKeyword(keyword string) (Tag, bool) {
	t, ok := byKeyword()[keyword]
	return t, ok
}

// UIDType says what a UID of the standard identifies (PS3.6 table A-1).
type UIDType uint8

// The kinds of UIDs that Lumen tells apart.
const (
	TypeOther UIDType = iota
	TypeTransferSyntax
	TypeStorageSOPClass
	TypeSOPClass
	TypeSOPInstance
	TypeFrameOfReference
)

// UIDEntry is one row of the UID dictionary.
type UIDEntry struct {
	UID     string
	Name    string
	Keyword string
	Type    UIDType
	Retired bool
}

// LookupUID finds a UID of the standard.
func LookupUID(uid string) (UIDEntry, bool) {
	i := sort.Search(len(uids), func(i int) bool { return uids[i].UID >= uid })
	if i < len(uids) && uids[i].UID == uid {
		return uids[i], true
	}
	return UIDEntry{}, false
}

// StorageSOPClasses returns the UIDs of all storage SOP classes of the table,
// retired ones included, sorted.
func StorageSOPClasses() []string {
	var list []string
	for i := range uids {
		if uids[i].Type == TypeStorageSOPClass {
			list = append(list, uids[i].UID)
		}
	}
	return list
}
