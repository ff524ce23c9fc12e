package dicom

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lumen/dicom/dict"
)

var errUnbalanced = errors.New("dicom: starts and ends of sequences and items are not balanced")

// Writer encodes a data set as a stream in any transfer syntax. What it writes
// is what it is told: it does not sort, check or add anything. Call Close at
// the end: it finishes the stream and reports the first error.
//
// Sequences and items that are started by themselves have undefined length;
// those of [Writer.WriteDataSet] have their length, as DCMTK writes them.
type Writer struct {
	dst      *bufio.Writer
	deflate  *deflater
	order    binary.AppendByteOrder
	implicit bool
	left     int64  // bytes that the current value still needs
	open     []bool // whether each open sequence or item has undefined length
	scratch  []byte
	err      error
}

// NewWriter returns a Writer of a data set in the transfer syntax ts. It
// deflates itself where ts says so.
func NewWriter(dst io.Writer, ts TransferSyntax) *Writer { return newWriter(dst, ts, 32<<10) }

func newWriter(dst io.Writer, ts TransferSyntax, buffer int) *Writer {
	w := &Writer{order: binary.LittleEndian, implicit: ts.ImplicitVR}
	if ts.BigEndian {
		w.order = binary.BigEndian
	}
	if ts.Deflated {
		w.deflate = newDeflater(dst)
		dst = w.deflate
	}
	w.dst = bufio.NewWriterSize(dst, buffer)
	return w
}

// Close finishes the stream: it flushes what is buffered, but does not close
// the destination.
func (w *Writer) Close() error {
	if w.err == nil && w.left != 0 {
		w.err = fmt.Errorf("dicom: a value is %d bytes short", w.left)
	}
	if w.err == nil && len(w.open) > 0 {
		w.err = errUnbalanced
	}
	w.check(w.dst.Flush())
	if w.deflate != nil {
		w.check(w.deflate.Close())
		w.deflate = nil
	}
	return w.err
}

// cutShort finishes the stream in the middle of the data set.
func (w *Writer) cutShort() error {
	err := w.dst.Flush()
	if w.deflate != nil {
		err = cmp.Or(err, w.deflate.Close())
		w.deflate = nil
	}
	return err
}

func (w *Writer) check(err error) {
	if w.err == nil && err != nil {
		w.err = err
	}
}

func (w *Writer) put(b []byte) {
	if w.err == nil {
		_, w.err = w.dst.Write(b)
	}
}

// appendHeader appends an element's header; length -1 is undefined.
func (w *Writer) appendHeader(b []byte, t Tag, vr VR, length int64) ([]byte, error) {
	if length < -1 || length >= undefined {
		return b, fmt.Errorf("dicom: element %v: a length of %d cannot be encoded", t, length)
	}
	b = w.order.AppendUint16(b, t.Group())
	b = w.order.AppendUint16(b, t.Element())
	if w.implicit || t.Group() == 0xFFFE {
		return w.order.AppendUint32(b, uint32(length)), nil
	}
	if !vr.Known() {
		vr = dict.UN
	}
	if !vr.Long() && uint64(length) > 0xFFFF { // PS3.5 section 6.2.2, note 2
		vr = dict.UN
	}
	b = append(b, byte(vr>>8), byte(vr))
	if vr.Long() {
		return w.order.AppendUint32(append(b, 0, 0), uint32(length)), nil
	}
	return w.order.AppendUint16(b, uint16(length)), nil
}

func (w *Writer) header(t Tag, vr VR, length int64) {
	if w.err != nil {
		return
	}
	if w.left != 0 {
		w.err = fmt.Errorf("dicom: the value before %v is %d bytes short", t, w.left)
		return
	}
	w.scratch, w.err = w.appendHeader(w.scratch[:0], t, vr, length)
	w.put(w.scratch)
}

// StartElement writes the header of an element whose value of the given length
// follows by calls of Write, in the byte order of the transfer syntax.
func (w *Writer) StartElement(t Tag, vr VR, length int64) error {
	w.header(t, vr, length)
	if w.err == nil {
		w.left = length
	}
	return w.err
}

// Write writes value bytes of the element or fragment that was started.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.left {
		return 0, fmt.Errorf("dicom: value is %d bytes too long", int64(len(p))-w.left)
	}
	n, err := w.dst.Write(p)
	w.left -= int64(n)
	w.check(err)
	return n, err
}

// StartSequence starts a sequence of undefined length.
func (w *Writer) StartSequence(t Tag) error {
	w.start(t, dict.SQ, -1)
	return w.err
}

// StartItem starts an item of undefined length.
func (w *Writer) StartItem() error {
	w.start(dict.Item, 0, -1)
	return w.err
}

// EndItem ends an item that StartItem started.
func (w *Writer) EndItem() error {
	w.end(dict.ItemDelimitationItem)
	return w.err
}

// EndSequence ends what StartSequence or StartFragments started.
func (w *Writer) EndSequence() error {
	w.end(dict.SequenceDelimitationItem)
	return w.err
}

// StartFragments starts encapsulated pixel data (PS3.5 annex A.4). The first
// fragment is the basic offset table, which may be empty.
func (w *Writer) StartFragments(t Tag, vr VR) error {
	w.start(t, vr, -1)
	return w.err
}

// StartFragment starts a fragment of the given length, whose bytes follow by
// calls of Write.
func (w *Writer) StartFragment(length int64) error {
	w.header(dict.Item, 0, length)
	if w.err == nil {
		w.left = length
	}
	return w.err
}

// WriteElement writes one element, sequences with all their items. It returns
// an error that wraps [ErrOmitted] when a value is not in memory.
func (w *Writer) WriteElement(e Element) error {
	full := elem{tag: e.Tag, vr: e.VR, value: e.Value, length: e.Length}
	if e.VR == dict.SQ {
		full.items = &e.Items
	}
	w.element(&full)
	return w.err
}

// WriteDataSet writes all elements of d.
func (w *Writer) WriteDataSet(d *DataSet) error {
	if d != nil {
		for i := range d.elems {
			w.element(&d.elems[i])
		}
	}
	return w.err
}

func (w *Writer) element(e *elem) {
	if e.items == nil {
		if e.value == nil && e.length != 0 {
			w.check(fmt.Errorf("dicom: element %v: %w", e.tag, ErrOmitted))
			return
		}
		w.header(e.tag, e.vr, int64(len(e.value)))
		unit := 1
		if w.order == binary.AppendByteOrder(binary.BigEndian) {
			unit = e.vr.Unit()
		}
		if unit > 1 {
			w.scratch = append(w.scratch[:0], e.value...)
			swapBytes(w.scratch, unit)
			w.put(w.scratch)
			return
		}
		w.put(e.value)
		return
	}
	length := w.itemsLength(*e.items)
	if length >= undefined {
		length = -1
	}
	w.header(e.tag, dict.SQ, length)
	for _, item := range *e.items {
		size := w.setLength(item)
		if size >= undefined {
			size = -1
		}
		w.header(dict.Item, 0, size)
		w.check(w.WriteDataSet(item))
		if size < 0 {
			w.header(dict.ItemDelimitationItem, 0, 0)
		}
	}
	if length < 0 {
		w.header(dict.SequenceDelimitationItem, 0, 0)
	}
}

// itemsLength is the encoded size of a sequence's items.
func (w *Writer) itemsLength(items []*DataSet) int64 {
	var n int64
	for _, item := range items {
		n += 8 + w.setLength(item)
	}
	return n
}

// setLength is the encoded size of d.
func (w *Writer) setLength(d *DataSet) int64 {
	var n int64
	if d == nil {
		return 0
	}
	for i := range d.elems {
		e := &d.elems[i]
		value := int64(len(e.value))
		if e.items != nil {
			value = w.itemsLength(*e.items)
		}
		n += 8 + value
		if !w.implicit && (e.vr.Long() || !e.vr.Known() || value > 0xFFFF) {
			n += 4
		}
	}
	return n
}

// Encode encodes the whole data set in memory.
func (d *DataSet) Encode(ts TransferSyntax) ([]byte, error) {
	var b appender
	w := newWriter(&b, ts, 512)
	w.check(w.WriteDataSet(d))
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b, nil
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
