package wado

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// firstPixelTag is where an instance's header ends and its pixel data begins:
// Float, Double Float or plain Pixel Data (PS3.3 C.7.6.24, C.7.6.25, C.7.6.3).
const firstPixelTag = dict.FloatPixelData

// isPixelData reports whether t is one of the three pixel data elements.
func isPixelData(t dicom.Tag) bool {
	return t == dict.PixelData || t == dict.FloatPixelData || t == dict.DoubleFloatPixelData
}

// openHeader opens the instance's stream so that no more of it is read than
// the header and the pixel data element's own header. Of a deflated data set
// that cannot be told beforehand.
func openHeader(ctx context.Context, instance *store.Instance, ts dicom.TransferSyntax) (io.ReadCloser, error) {
	const elementHeader = 12 // bytes at most
	if ts.Deflated {
		return instance.DataSet(ctx)
	}
	return instance.Range(ctx, 0, min(instance.BodyOffset+elementHeader, instance.Size))
}

// headerReaders keep their buffers from one header to the next.
var headerReaders = sync.Pool{New: func() any { return new(dicom.Reader) }}

// readHeader reads an instance's header; values longer than maxValue are
// omitted, with their place in the stream. The pixel data element is among
// them. It is not whole when it has more elements than a data set in memory may
// have: then sequences are missing.
func readHeader(ctx context.Context, instance *store.Instance, maxValue int) (header *dicom.DataSet, whole bool, err error) {
	ts := syntaxOf(instance.TransferSyntaxUID)
	src, err := openHeader(ctx, instance, ts)
	if err != nil {
		return nil, false, err
	}
	defer src.Close()
	r := headerReaders.Get().(*dicom.Reader)
	r.Reset(src, ts, dicom.Limits{})
	defer func() {
		r.Reset(strings.NewReader(""), dicom.TransferSyntax{}, dicom.Limits{}) // lets go of src
		headerReaders.Put(r)
	}()
	header, err = dicom.ReadDataSet(r, dicom.ReadOptions{
		Until: firstPixelTag, MaxValue: int64(maxValue), MaxBytes: dicom.DefaultLimits().HeaderBytes,
	})
	if errors.Is(err, io.ErrUnexpectedEOF) && (instance.BodyOffset == instance.Size || ts.Deflated) { // it was cut when it was received
		return header, !r.Findings().Has(dicom.LeftOut), nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("%w: header: %w", store.ErrCorrupt, err)
	}
	t, err := r.Next()
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, false, fmt.Errorf("%w: pixel data: %w", store.ErrCorrupt, err)
	case isPixelData(t.Tag):
		header.Set(dicom.Element{Tag: t.Tag, VR: t.VR, Offset: t.Offset, Length: t.Length})
	}
	return header, !r.Findings().Has(dicom.LeftOut), nil
}

// elementPath leads to a value: a tag, or a tag, an item's number counted from
// 1, a tag, and so on.
type elementPath []elementStep

type elementStep struct {
	tag  dicom.Tag
	item int // 0 in the last step
}

var errElementPath = badRequest("a bulk data path is tags of eight digits, and item numbers between them")

// parseElementPath reads "00420011" or "00540016/1/00020018".
func parseElementPath(s string) (elementPath, error) {
	var path elementPath
	parts := strings.Split(s, "/")
	if len(parts)%2 == 0 || len(parts) > 2*dicom.DefaultLimits().Depth+1 {
		return nil, errElementPath
	}
	for i, p := range parts {
		if i%2 == 0 {
			tag, err := strconv.ParseUint(p, 16, 32)
			if err != nil || len(p) != 8 {
				return nil, errElementPath
			}
			path = append(path, elementStep{tag: dicom.Tag(tag)})
			continue
		}
		item, err := strconv.ParseUint(p, 10, 31)
		if err != nil || item == 0 {
			return nil, errElementPath
		}
		path[len(path)-1].item = int(item)
	}
	return path, nil
}

// find moves r to the element that path leads to.
func (path elementPath) find(r *dicom.Reader) (dicom.Token, error) {
	depth, item := 0, 0 // steps taken; items seen of the sequence of the step before
	for {
		t, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // which was cut when it was received
			return t, errNoValue
		}
		if err != nil {
			return t, fmt.Errorf("%w: bulk data: %w", store.ErrCorrupt, err)
		}
		last := depth == len(path)-1
		switch {
		case t.Depth < depth: // the sequence ended without the item
			return t, errNoValue
		case t.Depth > depth:
		case t.Kind == dicom.ItemStart:
			item++
		case t.Kind == dicom.ItemEnd && item == path[depth-1].item:
			return t, errNoValue
		case depth > 0 && item != path[depth-1].item:
		case t.Tag != path[depth].tag || t.Kind == dicom.SequenceEnd || t.Kind == dicom.FragmentsEnd:
		case last && (t.Kind == dicom.ElementToken || t.Kind == dicom.FragmentsStart):
			return t, nil
		case !last && t.Kind == dicom.SequenceStart:
			depth, item = depth+1, 0
		default:
			return t, errNoValue
		}
	}
}

var errNoValue = notFound("the instance has no value under this path")
