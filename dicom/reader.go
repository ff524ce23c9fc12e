package dicom

import (
	"bytes"
	"encoding/binary"
	"io"

	"lumen/dicom/dict"
)

// level is an open sequence, item or list of fragments.
type level struct {
	end      int64 // offset at which it ends; -1: at a delimitation item
	tag      Tag
	vr       VR
	kind     Kind // SequenceStart, ItemStart or FragmentsStart
	unknown  bool // the sequence was UN in explicit VR
	implicit bool // the Reader's state outside of it
	big      bool
	signed   bool
}

// Reader reads a data set as a stream of tokens, in any transfer syntax. It
// allocates its buffer once and nothing per element, and reads ahead of what
// it returns by at most that buffer (64 KiB).
//
// It trusts no length: one that is too large surfaces as
// [io.ErrUnexpectedEOF] in a [ParseError] when the stream ends.
type Reader struct {
	src     io.Reader
	inflate *inflater // of a deflated syntax, kept for the next one
	buf     []byte    // buf[r:w] is read but not consumed
	r, w    int
	base    int64 // offset of buf[0] in the stream
	inPlace bool  // buf is the caller's
	srcErr  error // what src said at last
	err     error // what Next said at last; sticky

	left      int64 // bytes of the current value that are not consumed
	stack     []level
	depth     int  // sequences in stack
	implicit  bool // encoding at this place
	big       bool
	signed    bool // Pixel Representation is 1: "US or SS" is SS
	pending   bool // Next returns tok again
	ofUnknown bool // the next element is the first of an item of a sequence that was UN
	tok       Token
	scratch   []byte
	elements  int64
	lim       Limits
	findings  Findings
}

const readerBuffer = 64 << 10

// NewReader returns a Reader of the data set in src, which is encoded as ts
// says: without preamble and File Meta group (see [ReadFileMeta]). For the
// deflated syntaxes it inflates src itself, and all offsets are those of the
// inflated stream.
func NewReader(src io.Reader, ts TransferSyntax, lim Limits) *Reader {
	r := &Reader{}
	r.Reset(src, ts, lim)
	return r
}

// Reset makes r a Reader of another data set, as [NewReader] does, and keeps
// its buffer. r may be the zero Reader.
func (r *Reader) Reset(src io.Reader, ts TransferSyntax, lim Limits) {
	lim = lim.withDefaults()
	buf := r.buf
	if buf == nil || r.inPlace {
		buf = make([]byte, readerBuffer)
	}
	stack, scratch := r.stack[:0], r.scratch
	if cap(stack) > 1<<10 || cap(scratch) > 4*readerBuffer { // of an unusual data set
		stack, scratch = nil, nil
	}
	*r = Reader{src: src, inflate: r.inflate, buf: buf, stack: stack, scratch: scratch, lim: lim, implicit: ts.ImplicitVR, big: ts.BigEndian}
	if ts.Deflated {
		r.inflate = r.inflate.reset(src, lim, &r.findings)
		r.src = r.inflate
	}
}

// release forgets the source, so that r may wait in a pool.
func (r *Reader) release() {
	r.src = nil
	if r.inflate != nil {
		r.inflate.src.r = nil
	}
}

// NewBytesReader returns a Reader of a data set in memory. It reads b in place
// and has no buffer of its own, unless it inflates.
func NewBytesReader(b []byte, ts TransferSyntax, lim Limits) *Reader {
	if ts.Deflated {
		return NewReader(bytes.NewReader(b), ts, lim)
	}
	return &Reader{buf: b, w: len(b), inPlace: true, srcErr: io.EOF, lim: lim.withDefaults(), implicit: ts.ImplicitVR, big: ts.BigEndian}
}

// Offset returns the offset in the stream of the next byte to be consumed.
func (r *Reader) Offset() int64 { return r.base + int64(r.r) }

// Findings returns what was tolerated up to here.
func (r *Reader) Findings() Findings { return r.findings }

// fill tries to have n bytes unread in the buffer, n <= len(buf).
func (r *Reader) fill(n int) bool {
	for idle := 0; r.w-r.r < n; {
		if r.srcErr != nil {
			return false
		}
		if r.r > 0 {
			copy(r.buf, r.buf[r.r:r.w])
			r.base += int64(r.r)
			r.w -= r.r
			r.r = 0
		}
		m, err := r.src.Read(r.buf[r.w:])
		if m < 0 || m > len(r.buf)-r.w {
			m, err = 0, io.ErrNoProgress
		}
		r.w += m
		if m > 0 {
			idle = 0
		} else if idle++; err == nil && idle > 100 {
			err = io.ErrNoProgress
		}
		r.srcErr = err
	}
	return true
}

// Next skips what is left of the current value and returns the next token, or
// io.EOF at the end of the data set. Its errors are those of the source, or a
// *ParseError; after one it returns the same error again.
func (r *Reader) Next() (Token, error) {
	if r.pending {
		r.pending = false
		return r.tok, nil
	}
	if r.err != nil {
		return Token{}, r.err
	}
	if r.left > 0 {
		if err := r.discard(); err != nil {
			return r.stop(err)
		}
	}
	for {
		if n := len(r.stack); n > 0 {
			top := &r.stack[n-1]
			if top.end >= 0 && r.Offset() >= top.end {
				return r.leave(r.Offset()), nil
			}
			if top.kind != ItemStart {
				if ok, err := r.nextItem(top); ok || err != nil {
					return r.tok, err
				}
				continue
			}
		}
		if ok, err := r.nextElement(); ok || err != nil {
			return r.tok, err
		}
	}
}

// unread makes Next return the current token again. Its value must not have
// been touched.
func (r *Reader) unread() { r.pending = true }

// stop makes err sticky.
func (r *Reader) stop(err error) (Token, error) {
	r.err, r.left, r.tok = err, 0, Token{}
	return Token{}, err
}

func (r *Reader) fail(tag Tag, what string, err error) (bool, error) {
	_, err = r.stop(&ParseError{Offset: r.Offset(), Tag: tag, What: what, Err: err})
	return false, err
}

// word reads a 16-bit number of the stream's byte order.
func (r *Reader) word(b []byte) uint16 {
	if r.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// long reads a 32-bit number of the stream's byte order.
func (r *Reader) long(b []byte) uint32 {
	if r.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

// tag reads a tag: two 16-bit numbers.
func (r *Reader) tag(b []byte) Tag {
	if r.big {
		return Tag(binary.BigEndian.Uint32(b))
	}
	v := binary.LittleEndian.Uint32(b)
	return Tag(v<<16 | v>>16)
}

const undefined = 0xFFFFFFFF

// nextElement reads an element's header. It returns false without an error
// when there was something to skip.
func (r *Reader) nextElement() (bool, error) {
	if r.w-r.r < 12 && !r.fill(12) && r.w-r.r < 8 {
		return r.atEnd()
	}
	if r.elements == 0 {
		r.detect()
	}
	if r.ofUnknown {
		r.detectItem()
	}
	b := r.buf[r.r:r.w]
	tag := r.tag(b)
	if tag >= 0xFFFE0000 {
		return r.strayItem(tag)
	}
	if r.elements++; r.elements > r.lim.Elements {
		return r.fail(tag, "too many elements", ErrLimit)
	}
	var (
		vr     VR
		length uint32
		size   = 8
	)
	if r.implicit {
		vr, length = r.implicitVR(tag), r.long(b[4:])
	} else {
		vr = VR(b[4])<<8 | VR(b[5])
		switch form := formOf(vr); form {
		case shortForm:
			length = uint32(r.word(b[6:]))
		case longForm:
			if len(b) < 12 {
				return r.fail(tag, "header", readError(r.srcErr))
			}
			length, size = r.long(b[8:]), 12
		default:
			var ok bool
			if vr, length, size, ok = r.oddVR(tag, b); !ok {
				return r.fail(tag, "header", readError(r.srcErr))
			}
		}
	}
	start := r.Offset()
	r.r += size
	r.tok = Token{Kind: ElementToken, VR: vr, Tag: tag, Depth: r.depth, Length: int64(length), Start: start, Offset: start + int64(size)}
	if length == undefined || vr == dict.SQ && r.itemFollows(length) {
		return r.open(tag, vr, length)
	}
	if vr == dict.SQ {
		r.findings.Add(NoItem)
		r.tok.VR = dict.UN
	}
	r.left = int64(length)
	if length&1 != 0 {
		r.findings.Add(OddLength)
	}
	if n := len(r.stack); n > 0 {
		if end := r.stack[n-1].end; end >= 0 && r.tok.Offset+r.left > end {
			return r.fail(tag, "value runs past the end of its item", ErrSyntax)
		}
	}
	if tag == dict.PixelRepresentation && length == 2 && r.fill(2) {
		r.signed = r.word(r.buf[r.r:]) == 1
	}
	return true, nil
}

// itemFollows reports whether a value of length bytes can be that of a
// sequence. Some writers give a sequence that they do not know, or an element
// that the dictionary has as one, a value of another kind.
func (r *Reader) itemFollows(length uint32) bool {
	if length < 8 {
		return length == 0
	}
	if !r.fill(4) { // what ends early is told as that
		return true
	}
	tag := r.tag(r.buf[r.r:r.w])
	return tag == dict.Item || tag == dict.ItemDelimitationItem || tag == dict.SequenceDelimitationItem
}

// open starts a sequence or a list of fragments.
func (r *Reader) open(tag Tag, vr VR, length uint32) (bool, error) {
	l := level{end: -1, tag: tag, kind: SequenceStart, implicit: r.implicit, big: r.big, signed: r.signed}
	if length != undefined {
		l.end = r.tok.Offset + int64(length)
		r.clampNote(l.end)
	} else {
		r.tok.Length = -1
	}
	switch {
	case vr == dict.SQ:
	case tag == dict.PixelData || vr == dict.OB || vr == dict.OW:
		l.kind = FragmentsStart
	case r.implicit: // only a sequence can have no length, whatever the dictionary says
		if vr != dict.UN {
			r.findings.Add(UnknownVR)
		}
		vr = dict.SQ
	case vr == dict.UN: // PS3.5 section 6.2.2, note 4: as Implicit VR Little Endian
		vr, r.implicit, r.big, l.unknown = dict.SQ, true, false, true
	default:
		return r.fail(tag, "undefined length", ErrSyntax)
	}
	if r.depth >= maxNesting {
		return r.fail(tag, "sequences too deep", ErrLimit)
	}
	l.vr = vr
	r.tok.Kind, r.tok.VR = l.kind, vr
	r.stack = append(r.stack, l)
	r.depth++
	return true, nil
}

func (r *Reader) clampNote(end int64) {
	if n := len(r.stack); n > 0 && r.stack[n-1].end >= 0 && end > r.stack[n-1].end {
		r.findings.Add(Overrun)
	}
}

// leave closes the innermost level; start is where its delimitation item
// began, or where its length ran out.
func (r *Reader) leave(start int64) Token {
	n := len(r.stack) - 1
	l := r.stack[n]
	r.stack = r.stack[:n]
	r.implicit, r.big, r.signed, r.ofUnknown = l.implicit, l.big, l.signed, false
	r.tok = Token{Tag: l.tag, VR: l.vr, Start: start, Offset: r.Offset()}
	switch l.kind {
	case ItemStart:
		r.tok.Kind = ItemEnd
	case SequenceStart:
		r.tok.Kind = SequenceEnd
		r.depth--
	default:
		r.tok.Kind = FragmentsEnd
		r.depth--
	}
	r.tok.Depth = r.depth
	return r.tok
}

// nextItem reads an item's header inside a sequence or a list of fragments.
func (r *Reader) nextItem(top *level) (bool, error) {
	if r.w-r.r < 8 && !r.fill(8) {
		return r.atEnd()
	}
	b := r.buf[r.r:r.w]
	tag, length := r.tag(b), r.long(b[4:])
	start := r.Offset()
	switch tag {
	case dict.SequenceDelimitationItem:
		r.r += 8
		if top.end >= 0 {
			r.findings.Add(StrayDelimiter)
			return false, nil
		}
		r.leave(start)
		return true, nil
	case dict.ItemDelimitationItem: // some devices close a defined-length item as well
		r.r += 8
		r.findings.Add(StrayDelimiter)
		return false, nil
	case dict.Item:
	default:
		return r.fail(top.tag, "no item where one should be", ErrSyntax)
	}
	if r.elements++; r.elements > r.lim.Elements {
		return r.fail(top.tag, "too many items", ErrLimit)
	}
	r.r += 8
	r.tok = Token{Kind: ItemStart, Tag: tag, Depth: r.depth, Length: int64(length), Start: start, Offset: start + 8}
	if top.kind == FragmentsStart {
		if length == undefined {
			return r.fail(top.tag, "fragment of undefined length", ErrSyntax)
		}
		r.tok.Kind, r.tok.VR, r.left = Fragment, top.vr, int64(length)
		return true, nil
	}
	l := level{end: -1, tag: tag, kind: ItemStart, implicit: r.implicit, big: r.big, signed: r.signed}
	if length == undefined {
		r.tok.Length = -1
	} else {
		l.end = r.tok.Offset + int64(length)
		r.clampNote(l.end)
	}
	r.ofUnknown = top.unknown
	r.stack = append(r.stack, l)
	return true, nil
}

// strayItem handles the tags of group FFFE where an element should be.
func (r *Reader) strayItem(tag Tag) (bool, error) {
	start := r.Offset()
	switch n := len(r.stack); {
	case tag == dict.ItemDelimitationItem && n > 0 && r.stack[n-1].end < 0:
		r.r += 8
		r.leave(start)
		return true, nil
	case tag == dict.SequenceDelimitationItem && n > 1 && r.stack[n-1].end < 0 && r.stack[n-2].end < 0:
		r.findings.Add(MissingDelimiter) // the sequence ends, so its item does
		r.leave(start)
		return true, nil
	case tag == dict.ItemDelimitationItem || tag == dict.SequenceDelimitationItem:
		r.r += 8
		r.findings.Add(StrayDelimiter)
		if r.elements++; r.elements > r.lim.Elements {
			return r.fail(tag, "too many elements", ErrLimit)
		}
		return false, nil
	}
	return r.fail(tag, "item outside of a sequence", ErrSyntax)
}

// atEnd is called when the stream ends where a header should be.
func (r *Reader) atEnd() (bool, error) {
	rest := r.buf[r.r:r.w]
	if r.srcErr != io.EOF {
		_, err := r.stop(readError(r.srcErr))
		return false, err
	}
	if n := len(r.stack); n > 0 {
		if len(rest) == 0 && r.stack[n-1].end < 0 {
			r.findings.Add(MissingDelimiter)
			r.leave(r.Offset())
			return true, nil
		}
		return r.fail(0, "the data set ends inside a sequence", io.ErrUnexpectedEOF)
	}
	for _, c := range rest {
		if c != 0 {
			return r.fail(0, "the data set ends inside an element", io.ErrUnexpectedEOF)
		}
	}
	if len(rest) > 0 {
		r.findings.Add(TrailingBytes)
		r.r = r.w
	}
	_, err := r.stop(io.EOF)
	return false, err
}
