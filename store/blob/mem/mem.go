// Package mem keeps objects in memory, for tests and for trying things out.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lumen/store/blob"
)

// Blobs implements store.Blobs. The zero value is empty and ready to use.
type Blobs struct {
	// Capacity is how many bytes fit; 0 is without limit. Set it before use.
	Capacity int64

	mu      sync.Mutex
	objects map[string]object
	used    int64
}

type object struct {
	data []byte
	time time.Time
}

// Put implements store.Blobs.
func (b *Blobs) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var data bytes.Buffer
	if err := write(&data); err != nil {
		return fmt.Errorf("write object: %w", err)
	}
	if size >= 0 && int64(data.Len()) != size {
		return blob.ErrSize
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	used := b.used - int64(len(b.objects[name].data)) + int64(data.Len())
	if b.Capacity > 0 && used > b.Capacity {
		return blob.ErrNoSpace
	}
	if b.objects == nil {
		b.objects = map[string]object{}
	}
	b.objects[name], b.used = object{data.Bytes(), time.Now()}, used
	return nil
}

// Open implements store.Blobs.
func (b *Blobs) Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	o, err := b.find(ctx, name)
	if err != nil {
		return nil, err
	}
	data := o.data[min(off, int64(len(o.data))):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return &reader{ctx: ctx, data: bytes.NewReader(data)}, nil
}

func (b *Blobs) find(ctx context.Context, name string) (object, error) {
	if !blob.ValidName(name) {
		return object{}, blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	if !ok {
		return object{}, blob.ErrNotFound
	}
	return o, nil
}

// Stat implements store.Blobs.
func (b *Blobs) Stat(ctx context.Context, name string) (blob.Info, error) {
	o, err := b.find(ctx, name)
	return blob.Info{Name: name, Size: int64(len(o.data)), ModTime: o.time}, err
}

// List implements store.Blobs. It yields what was there when it began.
func (b *Blobs) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !blob.ValidPrefix(prefix) {
			yield(blob.Info{}, blob.ErrName)
			return
		}
		b.mu.Lock()
		objects := maps.Clone(b.objects)
		b.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			if !yield(blob.Info{Name: name, Size: int64(len(objects[name].data)), ModTime: objects[name].time}, nil) {
				return
			}
		}
	}
}

// Delete implements store.Blobs.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= int64(len(b.objects[name].data))
	delete(b.objects, name)
	return nil
}

type reader struct {
	ctx    context.Context
	data   *bytes.Reader
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.data.Read(p)
}

func (r *reader) Close() error {
	r.closed = true
	return nil
}
