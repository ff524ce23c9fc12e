package store

import (
	"container/list"
	"sync"

	"lumen/store/seal"
)

// maxOpened is how many blobs are kept prepared for ranges, at about 1 KiB each:
// a viewer comes back for the next frame.
const maxOpened = 4096

// openedBlobs keeps the blobs that were read last, with their prefix read and
// their keys derived. The zero value is ready to use.
type openedBlobs struct {
	mu    sync.Mutex
	order list.List // of openedBlob, the one used last first
	byRef map[BlobRef]*list.Element
}

type openedBlob struct {
	ref  BlobRef
	blob *seal.ReaderAt
}

func (o *openedBlobs) get(ref BlobRef) (*seal.ReaderAt, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.byRef[ref]
	if !ok {
		return nil, false
	}
	o.order.MoveToFront(e)
	return e.Value.(openedBlob).blob, true
}

func (o *openedBlobs) put(ref BlobRef, blob *seal.ReaderAt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byRef == nil {
		o.byRef = make(map[BlobRef]*list.Element)
	}
	if _, ok := o.byRef[ref]; ok { // two opened it at once
		return
	}
	o.byRef[ref] = o.order.PushFront(openedBlob{ref, blob})
	if o.order.Len() > maxOpened {
		delete(o.byRef, o.order.Remove(o.order.Back()).(openedBlob).ref)
	}
}
