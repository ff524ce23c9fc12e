package dicom

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrTranscode is wrapped by errors about transfer syntaxes between which
// there is no way without a pixel codec.
var ErrTranscode = errors.New("no way between these transfer syntaxes without a codec")

// CanTranscode reports whether [Transcode] can turn from into to: when they are
// the same, or neither has encapsulated pixel data.
func CanTranscode(from, to TransferSyntax) bool {
	return from.UID == to.UID || !from.Encapsulated && !to.Encapsulated && !from.Lossy && !to.Lossy
}

// Transcode reads a data set in the transfer syntax from and writes it in to,
// without loss and in constant memory. Between the same syntax, and between
// Explicit VR Little Endian and its deflated form, the bytes of the data set
// stay as they are. Otherwise:
//
//   - sequences and items get undefined length, and group lengths are left out;
//   - VRs come from the dictionary when from has none; what it does not have is UN;
//   - a value whose VR cannot hold its length becomes UN (PS3.5 section 6.2.2);
//   - the bytes of UN stay as they are in big endian;
//   - fragments, which have no place in an uncompressed syntax and would not be
//     found again in implicit VR, are an error that wraps [ErrTranscode];
//   - a data set that ends in the middle of something ends there, too.
//
// dst may have been written to when there is an error.
func Transcode(dst io.Writer, src io.Reader, from, to TransferSyntax, lim Limits) error {
	switch {
	case !CanTranscode(from, to):
		return fmt.Errorf("dicom: from %s to %s: %w", from.Name, to.Name, ErrTranscode)
	case from.UID == to.UID:
		_, err := io.Copy(dst, src)
		return err
	case from.plain() && to.plain():
		return transcodeDeflate(dst, src, from, to, lim)
	}
	r := readers.Get().(*Reader)
	r.Reset(src, from, lim)
	defer func() {
		r.release()
		readers.Put(r)
	}()
	w := NewWriter(dst, to)
	err := transcode(w, r, to)
	switch {
	case err == nil:
		return w.Close()
	case errors.Is(err, io.ErrUnexpectedEOF) && r.srcErr == io.EOF:
		return w.cutShort()
	}
	return err
}

// readers keeps the buffers of those that are done.
var readers = sync.Pool{New: func() any { return new(Reader) }}

// plain reports whether ts is Explicit VR Little Endian, perhaps deflated.
func (ts TransferSyntax) plain() bool { return !ts.ImplicitVR && !ts.BigEndian && !ts.Encapsulated }

func transcodeDeflate(dst io.Writer, src io.Reader, from, to TransferSyntax, lim Limits) error {
	if from.Deflated {
		src = (*inflater)(nil).reset(src, lim.withDefaults(), new(Findings))
	}
	if !to.Deflated {
		_, err := io.Copy(dst, src)
		return err
	}
	z := newDeflater(dst)
	_, err := io.Copy(z, src)
	return cmp.Or(err, z.Close())
}

func transcode(w *Writer, r *Reader, to TransferSyntax) error {
	var swap swapper
	for {
		t, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch t.Kind {
		case SequenceStart, ItemStart:
			t.Length = -1
		case FragmentsStart:
			return fmt.Errorf("dicom: element %v has fragments in an uncompressed syntax: %w", t.Tag, ErrTranscode)
		case ElementToken:
			if t.Tag.GroupLength() && t.Tag.Group() != 0 {
				continue
			}
			if unit := t.VR.Unit(); r.big != to.BigEndian && unit > 1 {
				swap.reset(r, unit)
				if err := w.WriteToken(t, &swap); err != nil {
					return err
				}
				continue
			}
		}
		if err := w.WriteToken(t, r); err != nil {
			return err
		}
	}
}

// swapper reads a value with the bytes of its words reversed.
type swapper struct {
	r    *Reader
	unit int
	buf  [8 << 10]byte
	rest []byte
}

func (s *swapper) reset(r *Reader, unit int) { s.r, s.unit, s.rest = r, unit, nil }

func (s *swapper) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		n, err := io.ReadFull(s.r, s.buf[:])
		if n == 0 {
			return 0, err
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if err != nil && s.r.left > 0 {
			return 0, s.r.cut()
		}
		swapBytes(s.buf[:n], s.unit)
		s.rest = s.buf[:n]
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
