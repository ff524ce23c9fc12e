package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"lumen/dicom"
	"lumen/store/seal"
)

// Instance is one instance of a [Retrieval]. Its Row has no Attributes: the
// header has them. What it returns is streamed and was authenticated chunk by
// chunk; an error that wraps [ErrCorrupt] says that the stored object is
// damaged. It is safe for concurrent use.
type Instance struct {
	Row
	retrieval *Retrieval

	mu     sync.Mutex
	frames *dicom.FrameTable // from the trailer, when the row lacks it
	moved  bool
}

// DataSet streams the whole data set, Size bytes, exactly as it was received, in
// its stored transfer syntax. The caller closes it.
func (i *Instance) DataSet(ctx context.Context) (io.ReadCloser, error) {
	return i.Range(ctx, 0, i.Size)
}

// Header streams the bytes before the pixel data: all of them when there is
// none, and of a deflated data set, which no place divides.
func (i *Instance) Header(ctx context.Context) (io.ReadCloser, error) {
	if i.BodyOffset < 0 {
		return i.DataSet(ctx)
	}
	return i.Range(ctx, 0, i.BodyOffset)
}

// Range streams n bytes of the data set as it was received from off, or to its
// end when n is -1; what lies past the end is cut off.
func (i *Instance) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < -1 {
		return nil, errors.New("negative offset or length")
	}
	off = min(off, i.Size)
	if n < 0 || n > i.Size-off {
		n = i.Size - off
	}
	blob, err := i.open(ctx)
	if err != nil {
		return nil, err
	}
	r, err := blob.OpenRange(ctx, i.MetaLength+off, n)
	if err != nil {
		return nil, damaged(err)
	}
	i.count()
	return &counted{r: r, of: i.retrieval}, nil
}

// open prepares the blob. Its size follows from the record, so the backend is
// not asked for it.
func (i *Instance) open(ctx context.Context) (*seal.ReaderAt, error) {
	a := i.retrieval.archive
	if blob, ok := a.opened.get(i.Blob); ok {
		return blob, nil
	}
	blob, err := a.openBlob(ctx, i.Blob, seal.SealedSize(i.plainSize()))
	if err != nil {
		return nil, err
	}
	a.opened.put(i.Blob, blob)
	return blob, nil
}

// count notes that something of the instance leaves.
func (i *Instance) count() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.moved {
		i.moved = true
		i.retrieval.moved.Add(1)
	}
}

// counted counts what is read for the end record.
type counted struct {
	r  io.ReadCloser
	of *Retrieval
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.of.bytes.Add(int64(n))
	return n, damaged(err)
}

// WriteTo hands the range's own buffers to w.
func (c *counted) WriteTo(w io.Writer) (int64, error) {
	to, ok := c.r.(io.WriterTo)
	if !ok {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	n, err := to.WriteTo(w)
	c.of.bytes.Add(n)
	return n, damaged(err)
}

func (c *counted) Close() error { return c.r.Close() }

// transferSyntax looks up the stored syntax.
func (i *Instance) transferSyntax() (dicom.TransferSyntax, error) {
	ts, ok := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
	if !ok {
		return ts, fmt.Errorf("%w: transfer syntax of the record", ErrCorrupt)
	}
	return ts, nil
}
