package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

func TestFrames(t *testing.T) {
	image := func(frames, rows, columns, bits int, pixels []byte) func(*dicom.DataSet) {
		return func(d *dicom.DataSet) {
			d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
			d.SetInt(dict.Rows, rows)
			d.SetInt(dict.Columns, columns)
			d.SetInt(dict.BitsAllocated, bits)
			vr := dict.OW
			if bits <= 8 {
				vr = dict.OB
			}
			d.SetBytes(dict.PixelData, vr, pixels)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*dicom.DataSet)
		want   [][]byte
	}{
		{"whole bytes", image(2, 2, 2, 8, []byte{1, 2, 3, 4, 5, 6, 7, 8}), [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}},
		{"words", image(2, 1, 2, 16, []byte{1, 2, 3, 4, 5, 6, 7, 8}), [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}},
		// 3 frames of 3x3 bits: 101100111 000111000 111111111, low-order bit first.
		{"bits across bytes", image(3, 3, 3, 1, []byte{0b11001101, 0b01110001, 0b11111100, 0b111, 0, 0}),
			[][]byte{{0b11001101, 0b1}, {0b00111000, 0b0}, {0b11111111, 0b1}}},
		// 2 frames of 3 bits in one byte: 110 011.
		{"bits within a byte", image(2, 1, 3, 1, []byte{0b110011, 0}), [][]byte{{0b011}, {0b110}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			n.mustIngest(encode(t, still("1.1", "1.1.1", "1.1.1.1", c.change), explicitLE), store.Stored)
			n.wantFrames(c.want)
		})
	}
}

// wantFrames checks every frame of the only instance of study 1.1, whole and in
// ranges, and the ones before and after them.
func (n *node) wantFrames(want [][]byte) {
	t := n.t
	t.Helper()
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	i := r.Instances()[0]
	count, err := i.NumberOfFrames(t.Context())
	if err != nil || count != len(want) {
		t.Fatalf("%d frames, %v, want %d", count, err, len(want))
	}
	opened := int64(0)
	for f, w := range want {
		frame, size, err := i.Frame(t.Context(), f+1)
		if err != nil {
			t.Fatal(err)
		}
		opened++
		if got := readAll(t, frame); !bytes.Equal(got, w) || size != int64(len(w)) {
			t.Errorf("frame %d = %x (size %d), want %x", f+1, got, size, w)
		}
		if size, err := i.FrameSize(t.Context(), f+1); err != nil || size != int64(len(w)) {
			t.Errorf("size of frame %d = %d, %v", f+1, size, err)
		}
		for off := range int64(len(w)) {
			for _, length := range []int64{-1, 0, 1, 2, int64(len(w)) - off} {
				part, err := i.FrameRange(t.Context(), f+1, off, length)
				if err != nil {
					t.Fatal(err)
				}
				opened++
				end := int64(len(w))
				if length >= 0 {
					end = min(end, off+length)
				}
				if got := readAll(t, part); !bytes.Equal(got, w[off:end]) {
					t.Errorf("frame %d, %d bytes from %d = %x, want %x", f+1, length, off, got, w[off:end])
				}
			}
		}
	}
	for _, f := range []int{-1, 0, len(want) + 1} {
		if _, _, err := i.Frame(t.Context(), f); !errors.Is(err, store.ErrNoFrame) {
			t.Errorf("frame %d: %v", f, err)
		}
	}
	r.Close(nil)
	ends := n.events(store.EventRetrieveEnd)
	if c := ends[len(ends)-1].Counts; c.Frames != opened || c.Instances != 1 {
		t.Errorf("end = %+v, want %d frames", c, opened)
	}
}

// encapsulated returns a data set whose pixel data are the given fragments
// after an offset table for frames that begin at the fragments named in first.
func encapsulated(t testing.TB, frames int, first []int, fragments ...[]byte) []byte {
	b := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.Delete(dict.PixelData)
		d.SetString(dict.NumberOfFrames, fmt.Sprint(frames))
	}), explicitLE)
	item := func(value []byte) {
		n := len(value)
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		b = append(b, value...)
	}
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	var table []byte
	for _, f := range first {
		at := 0
		for _, fragment := range fragments[:f] {
			at += 8 + len(fragment)
		}
		table = append(table, byte(at), byte(at>>8), byte(at>>16), byte(at>>24))
	}
	item(table)
	for _, f := range fragments {
		item(f)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func TestFramesOfFragments(t *testing.T) {
	n := newNode(t)
	jpeg := syntax(dicom.JPEGBaseline8Bit)
	sent := encapsulated(t, 2, []int{0, 2}, []byte("abcd"), []byte("ef"), []byte("ghijkl"))
	if _, err := n.ingest(jpeg, sent); err != nil {
		t.Fatal(err)
	}
	n.wantFrames([][]byte{[]byte("abcdef"), []byte("ghijkl")})
}

// A large frame table is not in the row, which every search reads, but in the
// blob.
func TestManyFragments(t *testing.T) {
	n := newNode(t)
	const frames = 3000
	fragments := make([][]byte, frames)
	first := make([]int, frames)
	for i := range fragments {
		fragments[i], first[i] = fmt.Appendf(nil, "%06d", i), i
	}
	if _, err := n.ingest(syntax(dicom.JPEGBaseline8Bit), encapsulated(t, frames, first, fragments...)); err != nil {
		t.Fatal(err)
	}
	row, _, _ := n.index.Locate(t.Context(), "1.1.1.1")
	if !row.FramesInBlob || row.Frames.Len() != 0 {
		t.Error("the row has the frame table")
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	for _, f := range []int{1, 1500, frames} {
		frame, _, err := r.Instances()[0].Frame(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, frame); !bytes.Equal(got, fragments[f-1]) {
			t.Errorf("frame %d = %q", f, got)
		}
	}
}

func TestDeflated(t *testing.T) {
	n := newNode(t)
	ts := syntax(dicom.DeflatedExplicitVRLittleEndian)
	pixels := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6}, 2)
	plain := encode(t, still("1.1", "1.1.1", "1.1.1.1", func(d *dicom.DataSet) {
		d.SetString(dict.NumberOfFrames, "2")
		d.SetBytes(dict.PixelData, dict.OW, pixels)
	}), explicitLE)
	sent := deflate(t, plain)
	if _, err := n.ingest(ts, sent); err != nil {
		t.Fatal(err)
	}
	n.wantFrames([][]byte{pixels[:6], pixels[6:]})
	if !bytes.Equal(n.stored("1.1"), sent) {
		t.Error("the bytes differ")
	}
	r := n.open(store.Selection{StudyInstanceUID: "1.1"})
	defer r.Close(nil)
	header, err := r.Instances()[0].Header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, header); !bytes.Equal(got, sent) {
		t.Errorf("the header of a deflated data set has %d bytes, want all %d", len(got), len(sent))
	}
}
