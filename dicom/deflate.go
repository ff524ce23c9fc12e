package dicom

import (
	"compress/flate"
	"io"
	"sync"
)

// deflater deflates a data set (PS3.5 annex A.5).
type deflater struct {
	flate *flate.Writer
	dst   io.Writer
	n     int64 // bytes that dst has
}

// deflaters keeps closed ones: each has more than half a megabyte.
var deflaters = sync.Pool{New: func() any {
	z := new(deflater)
	var err error
	if z.flate, err = flate.NewWriter(out{z}, flate.DefaultCompression); err != nil {
		panic(err) // the level is valid
	}
	return z
}}

func newDeflater(dst io.Writer) *deflater {
	z := deflaters.Get().(*deflater)
	z.dst, z.n = dst, 0
	z.flate.Reset(out{z})
	return z
}

func (z *deflater) Write(p []byte) (int, error) { return z.flate.Write(p) }

// Close ends the stream, pads it to an even length, and gives z back.
func (z *deflater) Close() error {
	err := z.flate.Close()
	if err == nil && z.n&1 != 0 {
		_, err = z.dst.Write([]byte{0})
	}
	z.dst = nil
	deflaters.Put(z)
	return err
}

// out is where the deflated bytes of a deflater go.
type out struct{ z *deflater }

func (o out) Write(p []byte) (int, error) {
	n, err := o.z.dst.Write(p)
	o.z.n += int64(n)
	return n, err
}
