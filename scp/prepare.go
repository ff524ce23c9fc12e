package scp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"runtime/debug"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/store"
)

// readAhead is how much of the next object is read (and opened, which is most
// of the work) while the response to the one before is awaited.
const readAhead = 1 << 20

// prepared is an object that can be sent. It is sent from memory as far as it
// was read ahead.
type prepared struct {
	instance *store.Instance
	head     []byte        // of the data set
	rest     io.ReadCloser // after the head; nil when the head is all
	err      error         // the object cannot be read
}

func (p *prepared) close() {
	if p.rest != nil {
		p.rest.Close()
		p.rest = nil
	}
}

// reader gives the whole data set, once.
func (p *prepared) reader() io.Reader {
	if p.rest == nil {
		return bytes.NewReader(p.head)
	}
	return io.MultiReader(bytes.NewReader(p.head), p.rest)
}

// rewind makes reader give the whole data set again.
func (p *prepared) rewind(ctx context.Context) (err error) {
	if p.rest != nil {
		p.rest.Close()
		p.rest, err = p.instance.Range(ctx, int64(len(p.head)), -1)
	}
	return err
}

// request makes the C-STORE request of the object.
func (p *prepared) request(ts dicom.TransferSyntax) dimse.StoreRequest {
	return dimse.StoreRequest{SOPClassUID: p.instance.SOPClassUID, SOPInstanceUID: p.instance.SOPInstanceUID, TransferSyntax: ts}
}

// prepare yields the objects in order, one of them always being read while the
// consumer sends the one before. The consumer closes what it gets. It holds two
// buffers of readAhead bytes, whatever the size and number of objects.
func prepare(ctx context.Context, instances []*store.Instance) iter.Seq[*prepared] {
	return func(yield func(*prepared) bool) {
		ctx, cancel := context.WithCancel(ctx)
		ready := make(chan *prepared)
		free := make(chan []byte, 2)
		free <- nil
		free <- nil
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer close(ready)
			for _, i := range instances {
				p := read(ctx, i, <-free)
				select {
				case ready <- p:
				case <-ctx.Done():
					p.close()
					return
				}
			}
		}()
		defer func() {
			cancel()
			<-done
		}()
		for p := range ready {
			if !yield(p) {
				return
			}
			free <- p.head[:0]
		}
	}
}

// read opens an object and reads its head into b.
func read(ctx context.Context, i *store.Instance, b []byte) (p *prepared) {
	p = &prepared{instance: i}
	defer caught(&p.err)
	r, err := i.DataSet(ctx)
	if err != nil {
		p.err = err
		return p
	}
	want := int(min(i.Size, readAhead))
	if cap(b) < want {
		b = make([]byte, want)
	}
	n, err := io.ReadFull(r, b[:want])
	p.head = b[:n]
	switch {
	case err != nil:
		p.err = err
		r.Close()
	case i.Size > readAhead:
		p.rest = r
	default:
		p.err = r.Close()
	}
	return p
}

// caught is deferred where an object is worked on in a goroutine of its own:
// there a panic would end the process. It makes an error of it, with the stack
// but without the panic's value, which may hold anything.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %T\n%s", dimse.ErrPanic, v, debug.Stack())
	}
}
