package wado

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"lumen/dicom"
	"lumen/store"
)

// metadata answers with the data sets of instances as DICOM JSON or XML,
// without their long values (PS3.18 10.4.1.1.2): those are BulkDataURIs. What
// follows the pixel data, as digital signatures and padding, is left out. The
// list is written as the instances are read.
func (s *server) metadata(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	form, ok := accept.choose(modelOffers)
	if !ok {
		return notAcceptable("metadata is given as application/dicom+json or multipart application/dicom+xml")
	}
	return s.withRetrieval(x, t, func(instances []*store.Instance) error {
		out := newModelList(x, form, false)
		err := ahead(x.r.Context(), instances, func(ctx context.Context, b []byte, instance *store.Instance) ([]byte, error) {
			if largeHeader(instance) {
				return b, nil // is written when its turn comes
			}
			return s.appendMetadata(ctx, b, instance, x.base, form)
		}, func(instance *store.Instance, object []byte) error {
			if len(object) == 0 {
				return out.stream(func(w io.Writer) error { return s.writeMetadata(x.r.Context(), w, instance, x.base, form) })
			}
			return out.add(func(b []byte) ([]byte, error) { return append(b, object...), nil })
		})
		if err != nil {
			return err
		}
		return out.close("")
	})
}

// readAhead is how many headers are read at a time: most of the time goes by
// waiting for the object store.
const readAhead = 4

// rendered is the object or document of one instance.
type rendered struct {
	model []byte
	err   error
}

// ahead renders instances, a few at a time, and emits their objects in order.
// It returns the first error, after all that it started has ended.
func ahead(ctx context.Context, instances []*store.Instance,
	render func(ctx context.Context, b []byte, instance *store.Instance) ([]byte, error), emit func(*store.Instance, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()

	lanes := make([]chan rendered, min(readAhead, len(instances))) // lane n has instances n, n+len(lanes) and so on
	free := make(chan []byte, 2*readAhead)                         // buffers to use again
	for n := range lanes {
		lanes[n] = make(chan rendered, 1)
		workers.Go(func() {
			for i := n; i < len(instances); i += len(lanes) {
				r := renderOne(ctx, free, instances[i], render)
				select {
				case lanes[n] <- r:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i := range instances {
		var r rendered
		select {
		case r = <-lanes[i%len(lanes)]:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if r.err != nil {
			return r.err
		}
		if err := emit(instances[i], r.model); err != nil {
			return err
		}
		if cap(r.model) > modelChunk*4 { // of an unusual header
			continue
		}
		select {
		case free <- r.model:
		default:
		}
	}
	return nil
}

// renderOne renders into a free buffer; a panic becomes an error.
func renderOne(ctx context.Context, free <-chan []byte, instance *store.Instance,
	render func(context.Context, []byte, *store.Instance) ([]byte, error)) (r rendered) {
	defer catch(&r.err)
	select {
	case r.model = <-free:
	default:
	}
	r.model, r.err = render(ctx, r.model[:0], instance)
	return r
}

// maxInMemory bounds what is read of one value when metadata is made: values
// that may not be a BulkDataURI, as names and UIDs, are far shorter.
const maxInMemory = 64 << 10

// appendMetadata appends the object or document of one instance. It appends no
// object where the header is more than a data set in memory may be, which small
// ones can be that are malformed: that object is to be written as it is read.
func (s *server) appendMetadata(ctx context.Context, b []byte, instance *store.Instance, base string, form offer) ([]byte, error) {
	header, whole, err := readHeader(ctx, instance, maxInMemory)
	if err != nil || !whole {
		return b, err
	}
	return form.appendModel(b, header, s.modelOptions(instance, base))
}

func (s *server) modelOptions(instance *store.Instance, base string) dicom.JSONOptions {
	prefix := targetOf(instance).url(base) + "/bulkdata"
	return dicom.JSONOptions{
		MaxInline: s.limits.Inline,
		BulkDataURI: func(path []dicom.PathStep, e dicom.Element) string {
			if len(path) > 0 && e.Length < 0 {
				return "" // fragments in an item, as of an icon, have no resource
			}
			return bulkDataURI(prefix, path, e.Tag)
		},
	}
}

// largeHeaderSize is above what headers have but those of enhanced multi-frame
// objects, segmentations, structure sets and the like. Several smaller ones are
// in memory at a time, up to six times as large when they are written out.
const largeHeaderSize = 64 << 10

// largeHeader reports whether the metadata of an instance is written while its
// header is read, so that it is whole and takes no memory whatever its size. A
// deflated one may be of any.
func largeHeader(instance *store.Instance) bool {
	return instance.BodyOffset < 0 || instance.BodyOffset > largeHeaderSize
}

// writeMetadata writes the object or document of one instance in constant
// memory. Of an instance that was cut inside its header, it has what was there.
func (s *server) writeMetadata(ctx context.Context, w io.Writer, instance *store.Instance, base string, form offer) error {
	ts := syntaxOf(instance.TransferSyntaxUID)
	src, err := openHeader(ctx, instance, ts)
	if err != nil {
		return err
	}
	defer src.Close()
	err = form.writeModel(w, dicom.NewReader(src, ts, dicom.Limits{}), s.modelOptions(instance, base), maxInMemory)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// bulkDataURI is the URL at which bulkdata serves a value.
func bulkDataURI(prefix string, path []dicom.PathStep, tag dicom.Tag) string {
	b := []byte(prefix)
	for _, step := range path {
		b = appendTag(append(b, '/'), step.Tag)
		b = strconv.AppendInt(append(b, '/'), int64(step.Item+1), 10)
	}
	return string(appendTag(append(b, '/'), tag))
}

func appendTag(b []byte, t dicom.Tag) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[t>>shift&15])
	}
	return b
}
