package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// How much of a data set is buffered before its blob is opened. The first is
// enough for nearly every header. The second, of the memory that large headers
// share, is enough for nearly all that come before the Study Instance UID.
const (
	smallPrologue = 64 << 10
	largePrologue = 1 << 20
)

// prologue is the beginning of a data set, read before the rest: a blob cannot
// be opened before its study's key is known, and that is known from the header.
// What was read is kept as it was received, deflated or not, and read again
// from memory in front of the rest.
type prologue struct {
	buf            *[]byte // nil when it was given back
	read           int     // of buf
	share          *headerShare
	studyUID       string // empty when it was not among the first bytes
	sopClassUID    string
	sopInstanceUID string
}

// Read returns the bytes, once: memory is given back with the last of them.
func (p *prologue) Read(b []byte) (int, error) {
	if p.buf == nil {
		return 0, io.EOF
	}
	n := copy(b, (*p.buf)[p.read:])
	if p.read += n; p.read == len(*p.buf) {
		p.release()
	}
	return n, nil
}

// release gives memory back. It may be called again.
func (p *prologue) release() {
	if p.buf == nil {
		return
	}
	if cap(*p.buf) <= smallPrologue {
		prologueBuffers.Put(p.buf)
	}
	p.buf = nil
	p.share.release()
}

var prologueBuffers = sync.Pool{New: func() any { b := make([]byte, 0, smallPrologue); return &b }}

// readPrologue reads until it knows the study, and on to the pixel data as long
// as that costs nothing. It checks what was announced, so that most bad input is
// refused before anything is written.
func (a *Archive) readPrologue(src *source, share *headerShare, in Incoming) (*prologue, error) {
	p := &prologue{buf: prologueBuffers.Get().(*[]byte), share: share}
	*p.buf = (*p.buf)[:0]
	c := &capture{src: src, prologue: p}
	err := p.parse(c, in, a.limits.DICOM)
	switch {
	case src.err != nil:
		err = src.err
	case c.err != nil && !errors.Is(c.err, errPrologueFull):
		err = c.err
	case c.err != nil: // the data set is longer than what is looked at here
		err = nil
	case errors.Is(err, io.ErrUnexpectedEOF) && p.studyUID != "": // it was cut; the scan counts that
		err = nil
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrUnreadable, err)
	case p.studyUID == "":
		err = fmt.Errorf("%w: study instance UID", ErrNoUID)
	}
	if err == nil {
		err = p.check(in)
	}
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

var prologueReaders = sync.Pool{New: func() any { return new(dicom.Reader) }}

// eof is an empty source.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// parse looks at the elements before the pixel data. It stops there, at the
// end, or when the capture is full.
func (p *prologue) parse(c *capture, in Incoming, limits dicom.Limits) error {
	r := prologueReaders.Get().(*dicom.Reader)
	r.Reset(c, in.TransferSyntax, limits)
	defer func() {
		r.Reset(eof{}, dicom.TransferSyntax{}, limits) // lets go of the source
		prologueReaders.Put(r)
	}()
	for {
		token, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if token.Depth > 0 || token.Kind != dicom.ElementToken && token.Kind != dicom.FragmentsStart {
			continue
		}
		var to *string
		switch {
		case token.Tag >= firstPixelTag:
			return nil
		case token.Tag == dict.SOPClassUID:
			to = &p.sopClassUID
		case token.Tag == dict.SOPInstanceUID:
			to = &p.sopInstanceUID
		case token.Tag == dict.StudyInstanceUID:
			to = &p.studyUID
		default:
			continue
		}
		value, err := r.Value(maxUIDValue)
		if err != nil {
			return err
		}
		if *to == "" { // of a repeated element the first counts
			*to = trimUID(value)
		}
		if p.studyUID != "" && cap(*p.buf) > smallPrologue {
			return nil // before it costs more
		}
	}
}

const (
	firstPixelTag = dict.Tag(0x7FE00008) // Float Pixel Data, the first of three
	maxUIDValue   = 128                  // bytes read of a UID element; valid ones have 64
)

func trimUID(value []byte) string { return strings.Trim(string(value), " \x00") }

// check fills in what was announced where the beginning does not tell, and
// refuses what contradicts it.
func (p *prologue) check(in Incoming) error {
	for _, uid := range [...]struct {
		found     *string
		announced string
	}{{&p.sopClassUID, in.SOPClassUID}, {&p.sopInstanceUID, in.SOPInstanceUID}} {
		if *uid.found == "" {
			*uid.found = uid.announced
		}
		if *uid.found == "" && p.share.short {
			return fmt.Errorf("%w: of memory for headers", ErrNoSpace)
		}
		if !dicom.ValidUID(*uid.found) {
			return fmt.Errorf("%w: SOP class or instance UID", ErrNoUID)
		}
		if uid.announced != "" && uid.announced != *uid.found {
			return ErrMismatch
		}
	}
	if p.studyUID != "" && !dicom.ValidUID(p.studyUID) {
		return fmt.Errorf("%w: study instance UID", ErrNoUID)
	}
	return nil
}

var errPrologueFull = errors.New("the beginning of the data set is longer than what is buffered")

// capture keeps what is read through it in a prologue, as far as there is room.
type capture struct {
	src      *source
	prologue *prologue
	err      error // sticky
}

func (c *capture) Read(b []byte) (int, error) {
	if buf := *c.prologue.buf; len(buf) == cap(buf) && c.err == nil {
		c.err = c.grow()
	}
	if c.err != nil {
		return 0, c.err
	}
	buf := c.prologue.buf
	n, err := c.src.Read(b[:min(len(b), cap(*buf)-len(*buf))])
	*buf = append(*buf, b[:n]...)
	return n, err
}

// grow makes room for as much again while the study is not known.
func (c *capture) grow() error {
	p := c.prologue
	size := 2 * cap(*p.buf)
	if p.studyUID != "" || size > largePrologue || p.share.grow(int64(size)) < int64(size) {
		return errPrologueFull
	}
	larger := append(make([]byte, 0, size), *p.buf...)
	if cap(*p.buf) <= smallPrologue {
		prologueBuffers.Put(p.buf)
	}
	p.buf = &larger
	return nil
}

// errSource is wrapped by what the sender of a data set is to blame for, or
// the network: it stopped before the end.
var errSource = errors.New("read the data set")

// source is where a data set comes from. It tells the end of the stream from
// its failures, which stay, and stops what is too large for the limit or for
// the disk.
type source struct {
	ctx   context.Context
	r     io.Reader
	space *space
	limit int64

	n         int64 // bytes read
	announced int64 // of them, to space
	err       error // sticky; nil after a clean end
}

// spaceStep is how many bytes are read between two looks at the free space.
const spaceStep = 1 << 20

func (s *source) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(b)
	s.n += int64(n)
	switch {
	case err != nil && err != io.EOF:
		s.err = fmt.Errorf("%w: %w", errSource, err)
	case s.n > s.limit:
		s.err = ErrTooLarge
	case s.ctx.Err() != nil:
		s.err = s.ctx.Err()
	case s.n-s.announced >= spaceStep:
		s.err = s.space.take(s.n - s.announced)
		s.announced = s.n
	}
	if s.err != nil {
		return n, s.err
	}
	return n, err
}

// tee seals what is scanned.
type tee struct {
	src    io.Reader
	sealed io.Writer
	n      int64
	err    error // of sealed, sticky
}

func (t *tee) Read(b []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.src.Read(b)
	t.n += int64(n)
	if _, t.err = t.sealed.Write(b[:n]); t.err != nil {
		return 0, t.err
	}
	return n, err
}
