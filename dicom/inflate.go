package dicom

import (
	"bufio"
	"compress/flate"
	"io"
)

// inflater inflates the deflated transfer syntaxes (PS3.5 annex A.5) and
// bounds what a small input can turn into.
type inflater struct {
	src      countingReader
	buffered *bufio.Reader
	flate    io.ReadCloser
	begun    bool
	out      int64
	lim      Limits
	findings *Findings
}

// reset makes z, which may be nil, inflate src and keeps its window.
func (z *inflater) reset(src io.Reader, lim Limits, findings *Findings) *inflater {
	if z == nil {
		z = &inflater{buffered: bufio.NewReader(nil)}
		z.flate = flate.NewReader(z.buffered)
	}
	z.src, z.lim, z.findings = countingReader{r: src}, lim, findings
	z.begun, z.out = false, 0
	z.buffered.Reset(&z.src)
	return z
}

func (z *inflater) Read(p []byte) (int, error) {
	if !z.begun {
		z.begun = true
		z.skipZlibHeader()
		z.flate.(flate.Resetter).Reset(z.buffered, nil) // as flate promises of its readers
	}
	n, err := z.flate.Read(p)
	z.out += int64(n)
	if z.out > z.lim.InflateHeader && z.out/z.lim.InflateRatio > z.src.n {
		return 0, &ParseError{What: "inflates too much", Err: ErrLimit}
	}
	if _, ok := err.(flate.CorruptInputError); ok {
		err = &ParseError{Offset: z.out, What: "deflate stream", Err: ErrSyntax}
	}
	if err == io.ErrUnexpectedEOF && z.src.err == io.EOF {
		err = io.EOF // cut: as a stream that is not deflated would end
	}
	return n, err
}

// skipZlibHeader skips the two bytes of a zlib stream (RFC 1950), which some
// toolkits wrote. Read as deflate they would start a stored block, whose
// length is followed by its complement.
func (z *inflater) skipZlibHeader() {
	b, err := z.buffered.Peek(5)
	if err != nil || b[0] != 0x78 || (uint(b[0])<<8|uint(b[1]))%31 != 0 {
		return
	}
	if b[1]^b[3] == 0xFF && b[2]^b[4] == 0xFF {
		return
	}
	z.findings.Add(ZlibWrapped)
	z.buffered.Discard(2)
}

// countingReader counts what was read of r and remembers how it ended.
type countingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}
