package dicom

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"

	"lumen/dicom/dict"
)

// Scan is what an archive must know of a data set that passed by.
type Scan struct {
	// Header has the data set's elements within [Limits], with the dictionary's
	// VR where they came as UN (see [ReadDataSet]). Values longer than
	// Limits.ValueBytes and all pixel data are omitted: they have their Offset
	// and Length. When HeaderBytes run short, the elements of the data set
	// itself in groups up to 0028 are kept before sequences and private ones.
	Header *DataSet
	// Truncated is set when elements are missing in Header, or values within
	// Limits.ValueBytes are omitted, because of a limit or because the stream
	// was cut.
	Truncated bool
	// Size is the number of bytes of the data set as received: for Deflated,
	// those before inflating.
	Size int64
	// Inflated is the number of bytes that all offsets refer to: Size, but for
	// Deflated.
	Inflated int64
	// BodyOffset is where the first element of pixel data, (7FE0,0008),
	// (7FE0,0009) or (7FE0,0010), starts; Size where there is none; -1 for
	// Deflated, where no place in the received bytes divides header and body.
	BodyOffset int64
	// Pixel says where pixel data lies.
	Pixel PixelLayout
	// Digest is the content digest: see [ScanDataSet].
	Digest [32]byte
	// Findings counts what was tolerated.
	Findings Findings

	syntax TransferSyntax
}

// PixelLayout says where the pixel data of a data set lies. The zero value
// means that there is none.
type PixelLayout struct {
	Tag          Tag
	VR           VR
	Encapsulated bool
	ValueOffset  int64 // of the value in the data set
	ValueLength  int64 // in bytes; of fragments with their item headers, without the sequence delimiter

	// Of encapsulated pixel data:
	Fragments         []Extent // without item headers and without the basic offset table
	FragmentsOverflow bool     // there were more than Limits.Fragments, or than memory: only the first ones are here
	BasicOffsets      []uint32 // basic offset table as it is (PS3.5 annex A.4)
	ExtendedOffsets   []uint64 // (7FE0,0001) as it is
	ExtendedLengths   []uint64 // (7FE0,0002) as it is

	marks []mark // for each fragment
}

// Extent is a range of bytes in a data set.
type Extent struct{ Offset, Length int64 }

// End returns the offset after the last byte.
func (e Extent) End() int64 { return e.Offset + e.Length }

// ScanDataSet reads one data set in the transfer syntax ts to the end of src,
// in constant memory. When the data set ends in the middle of something, what
// was there is described and [CutShort] is among the findings; an error of src
// is returned. A *ParseError says that the bytes are no data set in ts, or
// exceed a limit that bounds work; src may not be read to its end then.
//
// The digest is a SHA-256 over the tokens (see docs/FORMATS.md): equal for the
// same content with and without group lengths, in both delimitations, in all
// uncompressed transfer syntaxes.
func ScanDataSet(src io.Reader, ts TransferSyntax, lim Limits) (*Scan, error) {
	return ScanDataSetIn(src, ts, lim, func(int64) int64 { return math.MaxInt64 })
}

// ScanDataSetIn is ScanDataSet in memory that is shared with others. Before the
// scan keeps more bytes than it was granted it calls grow with how many it needs
// in all, and grow returns how many are granted. Where that is less, elements,
// values, fragments and offset tables are left out as at a limit.
func ScanDataSetIn(src io.Reader, ts TransferSyntax, lim Limits, grow func(need int64) (granted int64)) (*Scan, error) {
	counted := countingReader{r: src}
	sc := scanners.Get().(*scanner)
	defer sc.release()
	sc.reset(&counted, ts, lim)
	sc.grow, sc.granted = grow, 0
	err := sc.run()
	if err == nil { // what follows the end of a deflate stream
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{&counted}, sc.reader.buf)
		if err != nil {
			err = readError(err)
		}
	}
	if err != nil {
		return nil, err
	}
	s := sc.scan
	s.Size = counted.n
	s.Inflated = s.Size
	if ts.Deflated {
		s.Inflated = sc.reader.Offset()
		s.BodyOffset = -1
	} else if s.BodyOffset < 0 {
		s.BodyOffset = s.Size
	}
	s.Findings = sc.reader.Findings()
	return s, nil
}

// scanners keeps the buffers of finished scans: most are of small stills.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

type scanner struct {
	reader  Reader
	builder *builder
	digest  digester
	scan    *Scan
	swap    []byte // for values in big endian
	tag     Tag    // of the current token
	grow    func(need int64) (granted int64)
	granted int64
	tables  int64 // bytes of offset tables that are kept
}

func (sc *scanner) reset(src io.Reader, ts TransferSyntax, lim Limits) {
	sc.reader.Reset(src, ts, lim)
	sc.digest.reset()
	sc.builder = newBuilder(&sc.reader)
	sc.builder.fits = sc.fitsElement
	sc.tables = 0
	sc.scan = &Scan{syntax: ts, BodyOffset: -1}
}

func (sc *scanner) release() {
	sc.scan, sc.builder, sc.grow = nil, nil, nil
	sc.reader.release()
	scanners.Put(sc)
}

func (sc *scanner) run() error {
	r := &sc.reader
	for {
		t, err := r.Next()
		if err == nil {
			err = sc.token(t)
		}
		if err == nil {
			continue
		}
		if err != io.EOF && !sc.cut(err) {
			return err
		}
		sc.builder.finish()
		sc.scan.Header = sc.builder.root
		sc.scan.Truncated = sc.scan.Truncated || sc.reader.findings.Has(LeftOut)
		sc.digest.sum(&sc.scan.Digest)
		return nil
	}
}

// cut reports whether err says that the stream ended cleanly inside of a data
// set that had begun.
func (sc *scanner) cut(err error) bool {
	var parse *ParseError
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &parse) || sc.reader.elements < 2 {
		return false
	}
	r := &sc.reader
	if len(r.stack) > 0 && sc.builder.cur != nil && r.stack[0].kind == SequenceStart {
		sc.builder.leaveOut(1)
	}
	if p := &sc.scan.Pixel; p.Tag != 0 && p.ValueLength < 0 {
		p.ValueLength = r.Offset() + int64(r.w-r.r) - p.ValueOffset
	}
	r.findings.Add(CutShort)
	sc.scan.Truncated = true
	sc.digest.mark(digestCut)
	return true
}

func (sc *scanner) token(t Token) error {
	sc.tag = t.Tag
	switch t.Kind {
	case ElementToken:
		return sc.element(t)
	case Fragment:
		return sc.fragment(t)
	case FragmentsStart:
		if t.Depth == 0 && pixelTag(t.Tag) && sc.body(t) {
			sc.scan.Pixel.Encapsulated = true
		}
	case FragmentsEnd:
		if p := &sc.scan.Pixel; t.Depth == 0 && p.Tag == t.Tag && p.ValueLength < 0 {
			p.ValueLength = t.Start - p.ValueOffset
		}
	}
	sc.digest.structure(t)
	sc.builder.structure(t)
	return nil
}

// body notes where pixel data starts; a second one does not count.
func (sc *scanner) body(t Token) bool {
	if sc.scan.Pixel.Tag != 0 {
		return false
	}
	sc.scan.BodyOffset = t.Start
	sc.scan.Pixel = PixelLayout{Tag: t.Tag, VR: t.VR, ValueOffset: t.Offset, ValueLength: t.Length,
		ExtendedOffsets: sc.scan.Pixel.ExtendedOffsets, ExtendedLengths: sc.scan.Pixel.ExtendedLengths}
	return true
}

func (sc *scanner) element(t Token) error {
	pixel := t.Depth == 0 && pixelTag(t.Tag)
	if pixel {
		sc.body(t)
	}
	sc.digest.element(t)
	table := t.Depth == 0 && (t.Tag == dict.ExtendedOffsetTable || t.Tag == dict.ExtendedOffsetTableLengths) &&
		t.Length <= 8*int64(sc.reader.lim.Fragments) && sc.fitsTable(2*t.Length)
	switch keep := sc.keep(t); {
	case pixel || !keep && !table:
		sc.builder.element(t, nil)
		return sc.pass(t, nil)
	default:
		value, err := sc.builder.value(&sc.reader, t)
		if err != nil {
			return err
		}
		sc.digest.value(t, value)
		if table {
			sc.extended(t.Tag, value)
		}
		if !keep {
			value = nil
		}
		sc.builder.element(t, value)
		return nil
	}
}

// keep decides whether a value is kept. Small elements of the data set itself
// in groups up to 0028, which searching and frames need, may use all of
// HeaderBytes, everything else in these groups three quarters, and private and
// later groups half: a large sequence cannot push out what matters.
func (sc *scanner) keep(t Token) bool {
	lim := &sc.reader.lim
	if t.Length > lim.ValueBytes || sc.builder.cur == nil {
		return false
	}
	quarters := sc.quarters(t.Depth, t.Length)
	budget := lim.HeaderBytes - lim.HeaderBytes*(4-quarters)/4
	if sc.builder.bytes+t.Length <= budget && sc.fits(t.Length, quarters) {
		return true
	}
	sc.scan.Truncated = true
	return false
}

// quarters is how much of what may be kept the current token may use.
func (sc *scanner) quarters(depth int, length int64) int64 {
	top := sc.tag
	if depth > 0 {
		top = sc.reader.stack[0].tag
	}
	switch {
	case top.Private() || top.Group() > 0x0028:
		return 2
	case depth > 0 || length > 1024:
		return 3
	}
	return 4
}

// What is kept of an element or item beside its value, and of a fragment, with
// the slack of growing lists.
const (
	elementBytes  = 96
	fragmentBytes = 48
)

// fits asks for room for n bytes more, which may use so many quarters of it.
func (sc *scanner) fits(n, quarters int64) bool {
	b := sc.builder
	need := (b.bytes + int64(b.count)*elementBytes + sc.tables + n) * 4 / quarters
	if need > sc.granted {
		sc.granted = sc.grow(need)
	}
	return need <= sc.granted
}

// fitsElement asks for room for one more element or item.
func (sc *scanner) fitsElement(depth int) bool {
	return sc.fits(elementBytes, sc.quarters(depth, 0))
}

// fitsTable asks for room for n bytes of offsets, and takes it.
func (sc *scanner) fitsTable(n int64) bool {
	if !sc.fits(n, 4) {
		return false
	}
	sc.tables += n
	return true
}

// pass streams a value through the digest; head and tail of it go to seen.
func (sc *scanner) pass(t Token, seen *ends) error {
	r := &sc.reader
	if unit := t.VR.Unit(); r.big && t.Kind == ElementToken && unit > 1 {
		return sc.passSwapped(t, unit)
	}
	for r.left > 0 {
		b, err := r.chunk()
		if err != nil {
			return err
		}
		sc.digest.value(t, b)
		if seen != nil {
			seen.add(b)
		}
	}
	return nil
}

func (sc *scanner) passSwapped(t Token, unit int) error {
	if sc.swap == nil {
		sc.swap = make([]byte, 32<<10)
	}
	for {
		n, err := io.ReadFull(&sc.reader, sc.swap)
		swapBytes(sc.swap[:n], unit)
		sc.digest.value(t, sc.swap[:n])
		if err == io.EOF || err == io.ErrUnexpectedEOF && sc.reader.left == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (sc *scanner) extended(tag Tag, value []byte) {
	list := make([]uint64, 0, len(value)/8)
	for ; len(value) >= 8; value = value[8:] {
		list = append(list, binary.LittleEndian.Uint64(value))
	}
	if tag == dict.ExtendedOffsetTable {
		sc.scan.Pixel.ExtendedOffsets = list
	} else {
		sc.scan.Pixel.ExtendedLengths = list
	}
}

// fragment handles one fragment, or the basic offset table.
func (sc *scanner) fragment(t Token) error {
	sc.digest.element(t)
	p := &sc.scan.Pixel
	if len(sc.reader.stack) != 1 || sc.reader.stack[0].tag != p.Tag || !p.Encapsulated || p.ValueLength >= 0 {
		return sc.pass(t, nil) // not the pixel data of the data set itself, or a second one
	}
	if t.Start == p.ValueOffset {
		return sc.basicOffsets(t)
	}
	if p.FragmentsOverflow || len(p.Fragments) >= sc.reader.lim.Fragments || !sc.fitsTable(fragmentBytes) {
		p.FragmentsOverflow = true
		return sc.pass(t, nil)
	}
	var seen ends
	p.Fragments = append(p.Fragments, Extent{t.Offset, t.Length})
	err := sc.pass(t, &seen)
	if err != nil {
		p.Fragments[len(p.Fragments)-1].Length = sc.reader.Offset() - t.Offset
	}
	p.marks = append(p.marks, seen.mark())
	return err
}

func (sc *scanner) basicOffsets(t Token) error {
	if t.Length > 4*int64(sc.reader.lim.Fragments) {
		sc.scan.Pixel.FragmentsOverflow = true
		return sc.pass(t, nil)
	}
	if !sc.fitsTable(2 * t.Length) { // the fragments may tell
		return sc.pass(t, nil)
	}
	value, err := sc.reader.appendValue(nil)
	if err != nil {
		return err
	}
	sc.digest.value(t, value)
	list := make([]uint32, 0, len(value)/4)
	for ; len(value) >= 4; value = value[4:] {
		list = append(list, binary.LittleEndian.Uint32(value))
	}
	sc.scan.Pixel.BasicOffsets = list
	return nil
}
