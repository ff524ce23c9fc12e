package wado

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// partReader splits a multipart body (RFC 2046 5.1.1) into its parts as they
// arrive. It holds one buffer, whatever the size of the parts. A part whose
// closing delimiter never came ends with io.ErrUnexpectedEOF, never io.EOF, so
// that half an instance cannot pass for a whole one.
type partReader struct {
	src       *bufio.Reader
	delimiter []byte // CR LF "--" boundary
	maxHeader int
	maxParts  int

	parts   int
	clean   int // buffered bytes that are surely content
	started bool
	inPart  bool
	last    bool  // the closing delimiter was read
	err     error // sticky
}

const partBuffer = 256 << 10

var (
	errBoundary   = badRequest("the multipart boundary is missing or malformed")
	errPartHeader = badRequest("a part's header is malformed or too long")
	errPartCount  = tooLarge("too many parts in one request")
)

// maxBoundary is more than the 70 characters of RFC 2046: Orthanc's DICOMweb
// client (plugin 1.7) sends 73.
const maxBoundary = 200

// newPartReader reads parts of src.
func newPartReader(src io.Reader, boundary string, maxParts, maxHeader int) (*partReader, error) {
	if boundary == "" || len(boundary) > maxBoundary || strings.ContainsAny(boundary, "\r\n") {
		return nil, errBoundary
	}
	return &partReader{
		src:       bufio.NewReaderSize(src, partBuffer),
		delimiter: []byte("\r\n--" + boundary),
		maxParts:  maxParts, maxHeader: maxHeader,
	}, nil
}

// next skips what is left of the current part and reads the header of the next
// one. It gives the part's Content-Type, or io.EOF after the closing delimiter.
func (p *partReader) next() (contentType string, err error) {
	if err := p.skip(); err != nil {
		return "", err
	}
	if p.last {
		return "", io.EOF
	}
	if p.parts == p.maxParts {
		return "", p.fail(errPartCount)
	}
	p.parts++
	contentType, err = p.header()
	if err != nil {
		return "", p.fail(err)
	}
	p.inPart = true
	return contentType, nil
}

// skip reads to the next delimiter: the rest of a part, or the preamble.
func (p *partReader) skip() error {
	if p.err != nil {
		return p.err
	}
	if !p.started {
		p.started = true
		// A delimiter at the very start has no CR LF before it.
		if n, last, err := p.delimiterAt(p.delimiter[2:]); err != nil {
			return p.fail(err)
		} else if n > 0 {
			p.last = last
			return p.discard(n)
		}
		p.inPart = true // the preamble reads like a part
	}
	if !p.inPart {
		return nil
	}
	if _, err := io.Copy(io.Discard, readerOnly{p}); err != nil {
		return err
	}
	return nil
}

type readerOnly struct{ io.Reader }

// Read gives bytes of the current part, io.EOF at its delimiter.
func (p *partReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if !p.inPart {
		return 0, io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	if p.clean == 0 {
		if err := p.look(); err != nil {
			return 0, p.fail(err)
		}
	}
	if p.clean > 0 {
		n, err := p.src.Read(b[:min(p.clean, len(b))])
		p.clean -= n
		if err != nil {
			return n, p.fail(err)
		}
		return n, nil
	}
	length, last, err := p.delimiterAt(p.delimiter)
	if err != nil {
		return 0, p.fail(err)
	}
	if length > 0 {
		p.inPart, p.last = false, last
		if err := p.discard(length); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	// It only looked like a delimiter: its first byte is content.
	b[0], err = p.src.ReadByte()
	if err != nil {
		return 0, p.fail(err)
	}
	return 1, nil
}

// look counts the buffered bytes that are surely content: those before the
// next possible start of a delimiter.
func (p *partReader) look() error {
	window, err := p.src.Peek(max(p.src.Buffered(), len(p.delimiter)))
	if err != nil {
		return unexpected(err)
	}
	if p.clean = bytes.Index(window, p.delimiter); p.clean >= 0 {
		return nil
	}
	p.clean = len(window)
	// The window's end may hold the beginning of a delimiter.
	for begun := len(p.delimiter) - 1; begun > 0; begun-- {
		if bytes.HasSuffix(window, p.delimiter[:begun]) {
			p.clean -= begun
			break
		}
	}
	return nil
}

// delimiterAt reports the length of the delimiter line at the current
// position, 0 when there is none, and whether it is the closing one.
func (p *partReader) delimiterAt(delimiter []byte) (length int, last bool, err error) {
	const padding = 64 // blanks allowed after the boundary
	start, err := p.src.Peek(len(delimiter))
	if err != nil && !bytes.HasPrefix(delimiter, start) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, unexpected(err)
	}
	if !bytes.Equal(start, delimiter) {
		return 0, false, nil
	}
	n := len(delimiter)
	end, err := p.src.Peek(n + 2)
	if err != nil {
		return 0, false, unexpected(err)
	}
	if string(end[n:]) == "--" {
		return n + 2, true, nil // what follows is the epilogue: ignored
	}
	for range padding {
		end, err := p.src.Peek(n + 2)
		if err != nil {
			return 0, false, unexpected(err)
		}
		switch {
		case string(end[n:]) == "\r\n":
			return n + 2, false, nil
		case end[n] != ' ' && end[n] != '\t':
			return 0, false, nil
		}
		n++
	}
	return 0, false, nil
}

// header reads the part's header lines and returns its Content-Type.
func (p *partReader) header() (contentType string, err error) {
	for left := p.maxHeader; ; {
		line, err := p.line(left)
		if err != nil {
			return "", err
		}
		left -= len(line) + 2
		if line == "" {
			return contentType, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return "", errPartHeader
		}
		if strings.EqualFold(name, "Content-Type") {
			contentType = strings.TrimSpace(value)
		}
	}
}

// line reads one line of at most limit bytes, CR LF not included.
func (p *partReader) line(limit int) (string, error) {
	var line []byte
	for {
		piece, err := p.src.ReadSlice('\n')
		if len(line)+len(piece) > limit {
			return "", errPartHeader
		}
		line = append(line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", unexpected(err)
		case !bytes.HasSuffix(line, []byte("\r\n")):
			return "", errPartHeader
		}
		return string(line[:len(line)-2]), nil
	}
}

func (p *partReader) discard(n int) error {
	if _, err := p.src.Discard(n); err != nil {
		return p.fail(err)
	}
	return nil
}

func (p *partReader) fail(err error) error {
	p.err = err
	return err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
