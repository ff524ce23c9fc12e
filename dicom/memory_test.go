package dicom_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"lumen/dicom"
)

// gauge reads src and notes the most memory that was in use meanwhile.
type gauge struct {
	src  io.Reader
	peak int64
}

func (g *gauge) Read(p []byte) (int, error) {
	g.peak = max(g.peak, liveBytes())
	return g.src.Read(p)
}

func TestMemoryFollowsTheInput(t *testing.T) {
	var elements, items strings.Builder
	for i := range 120_000 {
		elements.Write(binary.LittleEndian.AppendUint32([]byte{0x09, 0x00, byte(i), byte(i >> 8)}, 0))
	}
	items.WriteString("\x08\x00\x40\x11\xFF\xFF\xFF\xFF")
	for range 60_000 {
		items.WriteString("\xFE\xFF\x00\xE0\x00\x00\x00\x00")
	}
	for _, c := range []struct{ name, syntax, stream string }{
		{"empty elements", dicom.ImplicitVRLittleEndian, elements.String()},
		{"empty items", dicom.ImplicitVRLittleEndian, items.String()},
		{"nesting", dicom.ImplicitVRLittleEndian, strings.Repeat("\x08\x00\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF", 50_000)},
		{"empty fragments", dicom.JPEGBaseline8Bit, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF" + strings.Repeat("\xFE\xFF\x00\xE0\x00\x00\x00\x00", 60_000)},
		{"a claim", dicom.ExplicitVRLittleEndian, "\x08\x00\x16\x00UI\x00\x00\x10\x00\x20\x00UT\x00\x00\xF0\xFF\xFF\xFF" + strings.Repeat("x", 100_000)},
		{"claims of tables", dicom.JPEGBaseline8Bit, "\xE0\x7F\x01\x00OV\x00\x00\xF0\xFF\x7F\x00ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer debug.SetGCPercent(debug.SetGCPercent(5))
			runtime.GC()
			before := liveBytes()
			g := &gauge{src: strings.NewReader(c.stream)}
			s, err := dicom.ScanDataSet(g, syntax(t, c.syntax), dicom.Limits{})
			peak := max(g.peak, liveBytes()) - before
			if limit := 16*int64(len(c.stream)) + 1<<20; peak > limit {
				t.Errorf("%d bytes for %d, %v", peak, len(c.stream), err)
			}
			runtime.KeepAlive(s)
		})
	}
}

func TestScanKeepsConstantMemory(t *testing.T) {
	const size = 256 << 20
	ts := syntax(t, dicom.ExplicitVRLittleEndian)
	d := sample()
	head := mustEncode(t, d)
	head = append(head, "\xE0\x7F\x10\x00OW\x00\x00"...)
	head = binary.LittleEndian.AppendUint32(head, size)
	runtime.GC()
	before := liveBytes()
	g := &gauge{src: io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size))}
	s, err := dicom.ScanDataSet(&slow{src: g, every: 64}, ts, dicom.Limits{})
	if err != nil || s.Size != int64(len(head))+size {
		t.Fatalf("%+v, %v", s, err)
	}
	if grown := g.peak - before; grown > 2<<20 {
		t.Errorf("%d bytes of memory for %d of pixel data", grown, size)
	}
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// slow asks the gauge only now and then: asking stops the world.
type slow struct {
	src   *gauge
	every int
	n     int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.n++; s.n%s.every == 0 {
		return s.src.Read(p)
	}
	return s.src.src.Read(p)
}
