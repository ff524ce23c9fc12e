package store_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/storetest"
)

// Frames of one bit a pixel against bits picked one by one, read whole, by the
// byte, and in ranges.
func TestBitFramesAgainstAModel(t *testing.T) {
	n := newNode(t)
	study := 0
	rapid.Check(t, func(rt *rapid.T) {
		frames, rows, columns := rapid.IntRange(1, 9).Draw(rt, "frames"), rapid.IntRange(1, 9).Draw(rt, "rows"), rapid.IntRange(1, 9).Draw(rt, "columns")
		size := rows * columns
		bytesOf := (frames*size + 7) / 8
		pixels := rapid.SliceOfN(rapid.Byte(), bytesOf+bytesOf%2, bytesOf+bytesOf%2).Draw(rt, "pixels")
		study++
		uid := fmt.Sprintf("1.%d", study)
		n.mustIngest(encode(t, still(uid, uid+".1", uid+".1.1", func(d *dicom.DataSet) {
			d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
			d.SetInt(dict.Rows, rows)
			d.SetInt(dict.Columns, columns)
			d.SetInt(dict.BitsAllocated, 1)
			d.SetBytes(dict.PixelData, dict.OB, pixels)
		}), explicitLE), store.Stored)
		r := n.open(store.Selection{StudyInstanceUID: uid})
		defer r.Close(nil)
		f := rapid.IntRange(0, frames-1).Draw(rt, "frame")
		want := make([]byte, (size+7)/8)
		for bit := range size {
			at := f*size + bit
			want[bit/8] |= pixels[at/8] >> (at % 8) & 1 << (bit % 8)
		}
		off := rapid.IntRange(0, len(want)).Draw(rt, "offset")
		length := rapid.IntRange(-1, len(want)).Draw(rt, "length")
		part, err := r.Instances()[0].FrameRange(t.Context(), f+1, int64(off), int64(length))
		if err != nil {
			rt.Fatal(err)
		}
		defer part.Close()
		var from io.Reader = part
		if rapid.Bool().Draw(rt, "byte by byte") {
			from = iotest.OneByteReader(part)
		}
		got, err := io.ReadAll(from)
		if err != nil {
			rt.Fatal(err)
		}
		end := len(want)
		if length >= 0 {
			end = min(end, off+length)
		}
		if !bytes.Equal(got, want[off:end]) {
			rt.Errorf("got %x, want %x", got, want[off:end])
		}
	})
}

// Whatever is sent, in whatever syntax it is said to be: nothing panics, and
// what is acknowledged comes back as it was sent.
func FuzzIngest(f *testing.F) {
	syntaxes := []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian,
		dicom.DeflatedExplicitVRLittleEndian, dicom.JPEGBaseline8Bit}
	for i, ts := range syntaxes[:3] {
		f.Add(byte(i), encode(f, still("1.1", "1.1.1", "1.1.1.1"), syntax(ts)))
	}
	f.Add(byte(3), deflate(f, encode(f, still("1.1", "1.1.1", "1.1.1.1"), explicitLE)))
	f.Add(byte(4), encapsulated(f, 2, []int{0, 2}, []byte("abcd"), []byte("ef"), []byte("ghijkl")))
	blobs := new(mem.Blobs)
	keys := keyring(f, blobs)
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		n := &node{t: t, blobs: blobs, index: new(storetest.Index), journal: new(storetest.Journal), keys: keys, clock: &clock{now: time.Now()}}
		n.start()
		ts := syntax(syntaxes[int(which)%len(syntaxes)])
		receipt, err := n.ingest(ts, data)
		if err != nil {
			if uids := n.find(); len(uids) > 0 {
				t.Errorf("refused, and found: %v", err)
			}
			return
		}
		n.same("input", receipt, data)
	})
}
