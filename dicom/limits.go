package dicom

import (
	"errors"
	"fmt"
	"io"

	"lumen/dicom/dict"
)

// Tag and VR are package dict's, under the names that callers use.
type (
	Tag = dict.Tag
	VR  = dict.VR
)

// Limits bound what is kept in memory and what work a stream may cause. A zero
// field means the default.
type Limits struct {
	HeaderBytes   int64 // value bytes kept of one data set; default 4 MiB
	ValueBytes    int64 // longer values are omitted when a data set is scanned; default 64 KiB
	Depth         int   // sequences nested deeper are not kept; default 16
	KeptElements  int   // default 100 000
	Elements      int64 // a stream with more is refused; default 10 million
	Fragments     int   // fragments and table entries kept of pixel data; default 262 144
	InflateRatio  int64 // a deflated stream that grows more is refused; default 100
	InflateHeader int64 // bytes inflated before the ratio counts; default 64 MiB
}

// maxNesting is how deep sequences may be at all. Every level open at once takes
// memory, and 20 bytes make one: without an end, a few megabytes would take
// tens. Real data sets are not nested deeper than a dozen times.
const maxNesting = 4096

// DefaultLimits returns the limits that zero fields stand for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	def(&l.HeaderBytes, 4<<20)
	def(&l.ValueBytes, 64<<10)
	def(&l.Depth, 16)
	def(&l.KeptElements, 100_000)
	def(&l.Elements, 10_000_000)
	def(&l.Fragments, 1<<18)
	def(&l.InflateRatio, 100)
	def(&l.InflateHeader, 64<<20)
	return l
}

func def[T int | int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Errors that callers branch on.
var (
	// ErrLimit is wrapped by errors about a stream that exceeds [Limits].
	ErrLimit = errors.New("limit exceeded")
	// ErrSyntax is wrapped by errors about bytes that are no data set in the
	// transfer syntax they are said to be in.
	ErrSyntax = errors.New("not a data set in this transfer syntax")
	// ErrOmitted is returned for a value that is not in memory.
	ErrOmitted = errors.New("value was omitted when the data set was read")
	// ErrTooLong is returned by [Reader.Value] for a value longer than asked for.
	ErrTooLong = errors.New("value is longer than allowed")
)

// ParseError says where a stream could not be read. It holds no value.
type ParseError struct {
	Offset int64  // of the element or item, in bytes from the start of the stream
	Tag    Tag    // of the element, 0 when it is not known
	What   string // a constant text
	Err    error  // ErrSyntax, ErrLimit or io.ErrUnexpectedEOF
}

func (e *ParseError) Error() string {
	if e.Tag == 0 {
		return fmt.Sprintf("dicom: at offset %d: %s: %v", e.Offset, e.What, e.Err)
	}
	return fmt.Sprintf("dicom: element %v at offset %d: %s: %v", e.Tag, e.Offset, e.What, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// readError passes on what the source said, apart from its clean end, which is
// unexpected here.
func readError(err error) error {
	if err == io.EOF || err == nil {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read data set: %w", err)
}
