package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lumen/store/seal"
)

// openBlob prepares to read ranges of a blob's plaintext. Size is that of the
// sealed object.
func (a *Archive) openBlob(ctx context.Context, ref BlobRef, size int64) (*seal.ReaderAt, error) {
	key, err := a.keys.Study(ctx, ref.Study)
	if err != nil {
		return nil, fmt.Errorf("open the study's key: %w", err)
	}
	name := a.name(ref)
	r, err := seal.NewReaderAt(func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		return a.blobs.Open(ctx, name, off, n)
	}, size, key, a.header(seal.KindInstance, ref))
	if err != nil {
		return nil, damaged(err)
	}
	return r, nil
}

func (a *Archive) header(kind seal.Kind, ref BlobRef) seal.Header {
	return seal.Header{Kind: kind, Tenant: a.keys.Tenant(), Study: ref.Study, Blob: ref.ID}
}

// tailGuess is how much of a blob's end is read at once: nearly every trailer
// is smaller.
const tailGuess = 16 << 10

// readRecord reads the trailer of a blob whose sealed object has size bytes.
func (a *Archive) readRecord(ctx context.Context, ref BlobRef, size int64) (Record, error) {
	blob, err := a.openBlob(ctx, ref, size)
	if err != nil {
		return Record{}, err
	}
	total := blob.Size()
	tail, err := readRange(ctx, blob, max(0, total-tailGuess), total)
	if err != nil {
		return Record{}, err
	}
	if len(tail) < footerLength {
		return Record{}, fmt.Errorf("%w: no footer", ErrCorrupt)
	}
	f, err := parseFooter(tail[len(tail)-footerLength:], total)
	if err != nil {
		return Record{}, err
	}
	var sections []byte
	if n := int(f.sections) + footerLength; n <= len(tail) {
		sections = tail[len(tail)-n : len(tail)-footerLength]
	} else if sections, err = readRange(ctx, blob, f.meta+f.size, total-footerLength); err != nil {
		return Record{}, err
	}
	var r Record
	if err := r.UnmarshalBinary(sections); err != nil {
		return Record{}, err
	}
	if r.MetaLength != f.meta || r.Size != f.size || r.TrailerLength != f.sections+footerLength {
		return Record{}, fmt.Errorf("%w: footer and record disagree", ErrCorrupt)
	}
	return r, nil
}

// readRange reads the plaintext from off to end, which are within the blob.
func readRange(ctx context.Context, blob *seal.ReaderAt, off, end int64) ([]byte, error) {
	r, err := blob.OpenRange(ctx, off, end-off)
	if err != nil {
		return nil, damaged(err)
	}
	b := make([]byte, end-off)
	_, err = io.ReadFull(r, b)
	return b, damaged(errors.Join(err, r.Close()))
}

// damaged marks errors of sealed objects that do not open as [ErrCorrupt].
func damaged(err error) error {
	for _, cause := range [...]error{seal.ErrFormat, seal.ErrHeader, seal.ErrKey, seal.ErrCorrupt, seal.ErrTruncated} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return err
}
