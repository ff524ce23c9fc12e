package wado

import (
	"cmp"
	"context"
	"io"
	"slices"

	"lumen/dicom"
	"lumen/store"
)

// bulkOffers are the forms of an uncompressed value. A single part comes
// first: that is what Range works on.
var bulkOffers = []offer{{media: mediaOctetStream}, {multipart: true, media: mediaOctetStream}}

// bulkdata answers for the URLs that metadata gives for long values (PS3.18
// 10.4.1.1.5). Compressed pixel data comes as its frames.
func (s *server) bulkdata(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	name := x.r.PathValue("path")
	path, err := parseElementPath(name)
	if err != nil {
		return err
	}
	return s.withRetrieval(x, t, func(instances []*store.Instance) error {
		instance := instances[0]
		ts := syntaxOf(instance.TransferSyntaxUID)
		if ts.Encapsulated && len(path) == 1 && isPixelData(path[0].tag) {
			return x.sendAllFrames(instance, accept)
		}
		form, ok := accept.choose(bulkOffers)
		if !ok {
			return errNoForm
		}
		c, err := valueContent(x.r.Context(), instance, ts, path)
		if err != nil {
			return err
		}
		c.contentType = form.media
		c.etag = etag(instance.Blob, "value "+name)
		c.location = targetOf(instance).url(x.base) + "/bulkdata/" + name
		if form.multipart {
			return x.sendParts(form.media, 1, func(int) (content, error) { return c, nil })
		}
		return x.serve(c)
	})
}

// sendAllFrames sends compressed pixel data. The one frame of a still or a
// video is a single part unless multipart is asked for: players send */* and a
// Range.
func (x *exchange) sendAllFrames(instance *store.Instance, accept acceptable) error {
	count, err := instance.NumberOfFrames(x.r.Context())
	if err != nil {
		return err
	}
	if count == 0 {
		return errNoValue
	}
	offers := frameOffers(syntaxOf(instance.TransferSyntaxUID))
	slices.SortStableFunc(offers, func(a, b offer) int { return cmp.Compare(order(a), order(b)) })
	return x.sendFrames(instance, accept, nil, offers)
}

// order puts single parts first.
func order(o offer) int {
	if o.multipart {
		return 1
	}
	return 0
}

// valueContent finds a value in the instance's stream.
func valueContent(ctx context.Context, instance *store.Instance, ts dicom.TransferSyntax, path elementPath) (content, error) {
	src, err := openHeader(ctx, instance, ts)
	if err != nil {
		return content{}, err
	}
	defer src.Close()
	t, err := path.find(dicom.NewReader(src, ts, dicom.Limits{}))
	if err != nil {
		return content{}, err
	}
	if t.Length <= 0 || t.Kind != dicom.ElementToken {
		return content{}, errNoValue
	}
	c := content{size: t.Length}
	switch {
	case ts.Deflated:
		c.open = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
			return inflateValue(ctx, instance, ts, path)
		}
	case ts.BigEndian && t.VR.Unit() > 1:
		c.open = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
			body, err := instance.Range(ctx, t.Offset, t.Length)
			return swap(body, t.VR.Unit(), err)
		}
	default:
		c.ranges = true
		c.open = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			return instance.Range(ctx, t.Offset+off, n)
		}
	}
	return c, nil
}

// inflateValue reads a value of a deflated data set, from its beginning.
func inflateValue(ctx context.Context, instance *store.Instance, ts dicom.TransferSyntax, path elementPath) (io.ReadCloser, error) {
	src, err := instance.DataSet(ctx)
	if err != nil {
		return nil, err
	}
	r := dicom.NewReader(src, ts, dicom.Limits{})
	if _, err := path.find(r); err != nil {
		src.Close()
		return nil, err
	}
	return prefixed{r, src}, nil
}
