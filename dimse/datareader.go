package dimse

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"lumen/dimse/pdu"
)

const (
	unexpectedPDV = pdu.AbortUnexpectedPDU
	invalidPDV    = pdu.AbortInvalidItem
)

// ErrTooLarge says that a data set exceeds [Limits].Object or
// [Limits].Identifier.
var ErrTooLarge = errors.New("data set exceeds the limit")

// dataReader streams the data set of one message out of the read buffer. Its
// errors other than io.EOF and ErrTooLarge are the end of the association.
type dataReader struct {
	link *link
	id   byte  // presentation context
	n    int64 // bytes read
	max  int64
	last bool  // the current fragment is the last
	err  error // sticky
}

// fill makes sure that the current fragment has bytes left.
func (d *dataReader) fill() error {
	if d.err != nil {
		return d.err
	}
	for d.link.pdvLeft == 0 {
		if d.last {
			d.err = io.EOF
			return d.err
		}
		if d.err = d.link.nextPDV(); d.err != nil {
			return d.err
		}
		v := d.link.pdv
		if v.Command() || v.ContextID != d.id {
			d.err = d.link.violation(unexpectedPDV, "a fragment of another message inside a data set")
			return d.err
		}
		d.last = v.Last()
	}
	if d.n >= d.max {
		d.err = ErrTooLarge
	}
	return d.err
}

// Read implements io.Reader.
func (d *dataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, d.err
	}
	if err := d.fill(); err != nil {
		return 0, err
	}
	n, err := d.link.in.Read(p[:min(int64(len(p)), int64(d.link.pdvLeft), d.max-d.n)])
	d.link.pdvLeft -= uint32(n)
	d.n += int64(n)
	if err != nil {
		d.err = d.link.lost(err)
	}
	return n, d.err
}

// WriteTo implements io.WriterTo: the bytes go from the read buffer to w
// without another copy.
func (d *dataReader) WriteTo(w io.Writer) (int64, error) {
	start := d.n
	for {
		if err := d.fill(); err == io.EOF {
			return d.n - start, nil
		} else if err != nil {
			return d.n - start, err
		}
		in := d.link.in
		if in.Buffered() == 0 {
			if _, err := in.Peek(1); err != nil {
				d.err = d.link.lost(err)
				return d.n - start, d.err
			}
		}
		part, _ := in.Peek(int(min(int64(in.Buffered()), int64(d.link.pdvLeft), d.max-d.n)))
		n, err := w.Write(part)
		in.Discard(n)
		d.link.pdvLeft -= uint32(n)
		d.n += int64(n)
		if err != nil {
			return d.n - start, err
		}
	}
}

// drain reads what is left. It fails when the association cannot go on: then
// either it is over, or the object is past the limit, which is an abort.
func (d *dataReader) drain() error {
	if _, err := d.WriteTo(io.Discard); errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("%w: %w", d.link.violation(invalidPDV, "the data set is too long"), ErrTooLarge)
	} else if err != nil {
		return err
	}
	return nil
}

// slurp reads a small data set whole; past max bytes it drains the rest and
// fails with ErrTooLarge.
func (l *link) slurp(id byte, max int) ([]byte, error) {
	d := dataReader{link: l, id: id, max: l.lim.Object}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(&d, int64(max)+1)); err != nil {
		return nil, err
	}
	if b.Len() > max {
		if err := d.drain(); err != nil {
			return nil, err
		}
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}
