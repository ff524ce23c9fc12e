package dicom

import (
	"fmt"
	"strings"
)

// Finding is a kind of deviation from the standard that was tolerated.
type Finding uint8

// The findings. What was done about each is said beside it.
const (
	OddLength        Finding = iota // value of odd length: kept
	OutOfOrder                      // element after one with a higher tag: kept, sorted
	Duplicate                       // second element with the same tag: the first one counts
	UnknownVR                       // VR that the standard does not have: read as UN
	ImplicitElement                 // element without VR in an explicit stream: read as implicit
	WrongSyntax                     // the stream, or an item, is in another uncompressed syntax than it should be: read as that
	StrayDelimiter                  // delimitation item where nothing is open: skipped
	MissingDelimiter                // the stream ends before open sequences do: closed
	Overrun                         // item or sequence longer than what holds it: its own length counts
	CutShort                        // the stream ends inside a value: what is there was kept
	TrailingBytes                   // a few bytes after the last element: skipped
	Preamble                        // a file without preamble or with a malformed File Meta group: read
	ZlibWrapped                     // zlib instead of deflate stream: read
	TableMismatch                   // offset table that does not fit the fragments: markers were used
	NoItem                          // sequence whose value is no items: read as UN
	LeftOut                         // elements or a sequence beyond what Limits let be kept: not in the DataSet
	findingKinds
)

var findingNames = [findingKinds]string{"odd_length", "out_of_order", "duplicate", "unknown_vr", "implicit_element",
	"wrong_syntax", "stray_delimiter", "missing_delimiter", "overrun", "cut_short", "trailing_bytes", "preamble",
	"zlib_wrapped", "table_mismatch", "no_item", "left_out"}

// String returns the finding's name in lower case with underscores, fit for a
// metric label.
func (f Finding) String() string {
	if f >= findingKinds {
		return "unknown"
	}
	return findingNames[f]
}

// Findings counts tolerated deviations by kind. It is comparable; the zero
// value has none.
type Findings [findingKinds]uint32

// Add counts one finding of kind k.
func (f *Findings) Add(k Finding) {
	if f[k] != ^uint32(0) {
		f[k]++
	}
}

// Has reports whether k was found.
func (f Findings) Has(k Finding) bool { return f[k] > 0 }

// Any reports whether anything was found.
func (f Findings) Any() bool { return f != Findings{} }

// String lists what was found: "odd_length=2 duplicate=1".
func (f Findings) String() string {
	var list []string
	for k, n := range f {
		if n > 0 {
			list = append(list, fmt.Sprintf("%s=%d", Finding(k), n))
		}
	}
	return strings.Join(list, " ")
}
