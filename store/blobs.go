package store

import (
	"context"
	"io"
	"iter"

	"lumen/store/blob"
)

// What an implementation of [Blobs] returns, wrapped, for the conditions that
// callers branch on. Everything else is an I/O error of the backend.
var (
	// ErrNotFound says that there is no object (or instance, study) of that name.
	ErrNotFound = blob.ErrNotFound
	// ErrNoSpace says that the object did not fit. Nothing of it remains, and a
	// later Put may succeed once there is room again.
	ErrNoSpace = blob.ErrNoSpace
	// ErrAway says that a remote backend cannot be reached now.
	ErrAway = blob.ErrAway
)

// BlobInfo describes one object of a [Blobs].
type BlobInfo = blob.Info

// Blobs keeps immutable objects under random names. Implementations are safe
// for concurrent use, hold memory that does not depend on the size of an
// object, and never see anything but sealed bytes.
//
// A name is one to eight segments of lower-case letters, digits and '-',
// separated by '/': see [blob.ValidName]. No name may be a folder of another
// (with "a/b" there is no "a"); names come from random handles, so nobody has
// to look for collisions. Errors never contain a name.
//
// Nobody above retries for a reason inside an implementation: what can be
// tried again (a remote server that is away) is tried again there, within ctx.
type Blobs interface {
	// Put stores what write writes. It is durable when Put returns nil: the
	// bytes, the name and every folder above it survive a power failure. On any
	// error, that of write included (returned wrapped), nothing remains under
	// name that was not there before. An object that exists is replaced in one
	// step: a concurrent Open sees the whole old or the whole new one. Where the
	// answer of a remote server was lost, the whole new object may be there in
	// spite of an error.
	//
	// Size is the exact number of bytes when the caller knows it, else -1; a
	// write that gives a different number than announced is an error. Write is
	// called once, in the caller's goroutine or another, but never after Put has
	// returned.
	Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error

	// Open reads n bytes from offset off, or to the end when n is -1. A range
	// that reaches past the end is cut there, and one that begins there or
	// later is empty. The caller closes the reader. Ctx governs the reader too.
	// Whoever has an object open when it is deleted may see the rest of it or an
	// error.
	Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)

	// Stat describes an object.
	Stat(ctx context.Context, name string) (BlobInfo, error)

	// List yields the objects whose names start with prefix, which is empty or
	// whole segments ending in '/'. The order is unspecified; what is put or
	// deleted meanwhile may or may not appear; nothing appears before its Put is
	// durable or under a temporary name. An error ends the sequence.
	List(ctx context.Context, prefix string) iter.Seq2[BlobInfo, error]

	// Delete removes an object, durably and with all versions that the backend
	// keeps of it. Removing what is not there is no error.
	Delete(ctx context.Context, name string) error
}

// TwoStep is a [Blobs] in which something else can be done while an object
// becomes durable: two flushes that a disk is given side by side take hardly
// longer than one.
type TwoStep interface {
	// Begin is Put in two steps. When it returns nil write has ended and the object
	// is complete, but it need not be durable yet; nobody else sees it before it
	// is. Wait returns nil when it is durable; an error of it is fatal: what is on
	// the disk is not known. Wait is called once.
	Begin(ctx context.Context, name string, size int64, write func(io.Writer) error) (wait func() error, err error)
}

// begin is Begin where blobs have it, and else Put.
func begin(ctx context.Context, blobs Blobs, name string, write func(io.Writer) error) (wait func() error, err error) {
	if b, ok := blobs.(TwoStep); ok {
		return b.Begin(ctx, name, -1, write)
	}
	return durably, blobs.Put(ctx, name, -1, write)
}

// durably is the wait for what is durable already.
func durably() error { return nil }
