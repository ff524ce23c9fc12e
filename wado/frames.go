package wado

import (
	"context"
	"io"
	"strconv"
	"strings"

	"lumen/dicom"
	"lumen/store"
)

// frames answers with frames of one instance (PS3.18 10.4.1.1.6).
func (s *server) frames(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	numbers, err := parseFrameList(x.r.PathValue("frames"))
	if err != nil {
		return err
	}
	return s.withRetrieval(x, t, func(instances []*store.Instance) error {
		return x.sendFrames(instances[0], accept, numbers, frameOffers(syntaxOf(instances[0].TransferSyntaxUID)))
	})
}

var errFrameList = badRequest("a frame list is numbers from 1, each once, separated by commas")

// parseFrameList reads "1,5,3".
func parseFrameList(list string) ([]int, error) {
	var numbers []int
	seen := map[int]bool{}
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil || n == 0 || s[0] == '+' || seen[int(n)] {
			return nil, errFrameList
		}
		seen[int(n)] = true
		numbers = append(numbers, int(n))
	}
	return numbers, nil
}

// sendFrames sends frames by their numbers in one of the forms offered; nil are
// all of them.
func (x *exchange) sendFrames(instance *store.Instance, accept acceptable, numbers []int, offers []offer) error {
	count, err := instance.NumberOfFrames(x.r.Context())
	if err != nil {
		return err
	}
	if len(numbers) > 1 || numbers == nil && count > 1 {
		offers = multipartOnly(offers)
	}
	form, ok := accept.choose(offers)
	if !ok {
		return errNoForm
	}
	if numbers == nil && count > maxFrames || len(numbers) > maxInflated && syntaxOf(instance.TransferSyntaxUID).Deflated {
		return errTooManyFrames
	}
	unit, err := swapUnit(x.r.Context(), instance)
	if err != nil {
		return err
	}
	frame := func(i int) (content, error) {
		n := i + 1
		if numbers != nil {
			n = numbers[i]
		}
		if n > count {
			return content{}, store.ErrNoFrame
		}
		return x.frameContent(instance, n, form, unit)
	}
	if !form.multipart {
		c, err := frame(0)
		if err != nil {
			return err
		}
		c.etag = etag(instance.Blob, c.location+" "+form.media)
		return x.serve(c)
	}
	asked := count
	if numbers != nil {
		asked = len(numbers)
	}
	return x.sendParts(form.media, asked, frame)
}

const (
	// maxFrames bounds the frames of one answer that has all of them: a few bytes
	// of an object can claim any number.
	maxFrames = 1 << 18
	// maxInflated bounds the frames of a deflated instance that are asked for at
	// once: for each the data set is inflated up to it.
	maxInflated = 64
)

var errTooManyFrames = tooLarge("more frames than one answer may have: ask for fewer")

// swapUnit is the size of the words of big endian pixel data, else 1.
func swapUnit(ctx context.Context, instance *store.Instance) (int, error) {
	if instance.TransferSyntaxUID != dicom.ExplicitVRBigEndian {
		return 1, nil
	}
	header, _, err := readHeader(ctx, instance, 0)
	if err != nil {
		return 0, err
	}
	for e := range header.All() {
		if isPixelData(e.Tag) {
			return e.VR.Unit(), nil
		}
	}
	return 1, nil
}

// frameContent is frame n, counted from 1. One whose words of unit bytes are
// swapped has no ranges.
func (x *exchange) frameContent(instance *store.Instance, n int, form offer, unit int) (content, error) {
	size, err := instance.FrameSize(x.r.Context(), n)
	if err != nil {
		return content{}, err
	}
	if size%int64(unit) != 0 {
		return content{}, errNoForm
	}
	return content{
		contentType: form.contentType(),
		size:        size,
		location:    targetOf(instance).url(x.base) + "/frames/" + strconv.Itoa(n),
		ranges:      unit == 1,
		open: func(ctx context.Context, off, length int64) (io.ReadCloser, error) {
			body, err := instance.FrameRange(ctx, n, off, length)
			if unit > 1 {
				return swap(body, unit, err)
			}
			return body, err
		},
	}, nil
}

// sendParts streams n contents as multipart/related. It asks for each twice: for
// the length of all, and when its turn comes.
func (x *exchange) sendParts(media string, n int, at func(i int) (content, error)) error {
	out := newMultipartWriter(x)
	length := out.endLength()
	for i := range n {
		c, err := at(i)
		if err != nil {
			return err
		}
		length += out.overhead(c.part(), i == 0) + c.size
	}
	h := x.Header()
	h.Set("Content-Type", out.contentType(media))
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	h.Set("Vary", "Accept")
	if x.head() {
		return nil
	}
	for i := range n {
		c, err := at(i)
		if err != nil {
			return err
		}
		if err := x.sendContent(out, c); err != nil {
			return err
		}
	}
	return out.close()
}

// sendContent sends one content as a part. It is opened first, so that when the
// first one cannot be read the answer is still an error.
func (x *exchange) sendContent(out *multipartWriter, c content) error {
	body, err := c.open(x.r.Context(), 0, c.size)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := out.next(c.part()); err != nil {
		return err
	}
	return x.copy(body, c.size)
}
