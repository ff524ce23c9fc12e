package dicom

import (
	"io"

	"lumen/dicom/dict"
)

// WriteToken writes what a [Reader] returned, and copies the value of an
// element or fragment, of t.Length bytes, from value. Lengths and delimitation
// stay as they were: a data set that passes token by token into a Writer of the
// same transfer syntax stays the same. Values in another byte order must be
// swapped by value; see [Transcode].
func (w *Writer) WriteToken(t Token, value io.Reader) error {
	switch t.Kind {
	case ElementToken:
		w.StartElement(t.Tag, t.VR, t.Length)
		return w.copyValue(value)
	case Fragment:
		w.StartFragment(t.Length)
		return w.copyValue(value)
	case SequenceStart:
		w.start(t.Tag, dict.SQ, t.Length)
	case FragmentsStart:
		w.start(t.Tag, t.VR, -1)
	case ItemStart:
		w.start(dict.Item, 0, t.Length)
	case ItemEnd:
		w.end(dict.ItemDelimitationItem)
	case SequenceEnd, FragmentsEnd:
		w.end(dict.SequenceDelimitationItem)
	}
	return w.err
}

// start begins a sequence, an item or fragments, and remembers whether their
// end needs a delimitation item.
func (w *Writer) start(t Tag, vr VR, length int64) {
	w.header(t, vr, length)
	w.open = append(w.open, length < 0)
}

// end ends what start began.
func (w *Writer) end(delimiter Tag) {
	n := len(w.open) - 1
	if n < 0 {
		w.check(errUnbalanced)
		return
	}
	undefined := w.open[n]
	w.open = w.open[:n]
	if undefined {
		w.header(delimiter, 0, 0)
	}
}

// copyValue copies the bytes that the value needs.
func (w *Writer) copyValue(value io.Reader) error {
	if w.err != nil || w.left == 0 {
		return w.err
	}
	if r, ok := value.(*Reader); ok {
		for w.err == nil && w.left > 0 {
			b, err := r.chunk()
			if err != nil {
				w.check(err)
				return w.err
			}
			w.Write(b)
		}
		return w.err
	}
	_, err := io.CopyN(w, value, w.left)
	w.check(err)
	return w.err
}
