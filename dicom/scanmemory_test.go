package dicom_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// What a scan asks memory for is what it keeps, and where it is granted less it
// keeps less: what searches need, and the digest, in any case.
func TestScanAsksForWhatItKeeps(t *testing.T) {
	plain := syntax(t, dicom.ExplicitVRLittleEndian)
	named := func(change func(*dicom.DataSet)) []byte {
		d := new(dicom.DataSet)
		d.SetString(dict.SOPInstanceUID, "1.2.3")
		change(d)
		d.SetString(dict.PatientName, "Doe^Jane")
		return mustEncode(t, d)
	}
	fragments := func(d *dicom.DataSet, table int, n int) []byte {
		b := mustEncode(t, d)
		b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
		b = append(b, 0xFE, 0xFF, 0x00, 0xE0, byte(table), byte(table>>8), byte(table>>16), 0)
		b = append(b, make([]byte, table)...)
		for range n {
			b = append(b, 0xFE, 0xFF, 0x00, 0xE0, 2, 0, 0, 0, 0xFF, 0xD8)
		}
		return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
	}
	named1 := new(dicom.DataSet)
	named1.SetString(dict.PatientName, "Doe^Jane")
	named1.SetInt(dict.NumberOfFrames, 40_000)
	for _, c := range []struct {
		name string
		data []byte
		size int64 // about what it needs, at least
		cut  func(*dicom.Scan) bool
	}{
		{"values", named(func(d *dicom.DataSet) {
			for i := range 64 {
				d.SetBytes(dict.NewTag(0x0008, uint16(0x9900+i)), dict.OB, bytes.Repeat([]byte{1}, 16<<10))
			}
		}), 1 << 20, func(s *dicom.Scan) bool { return s.Truncated }},
		{"private values", named(func(d *dicom.DataSet) {
			d.SetBytes(dict.NewTag(0x0009, 0x0010), dict.LO, []byte("MAKER "))
			for i := range 200 {
				d.SetBytes(dict.NewTag(0x0009, uint16(0x1000+i)), dict.OB, bytes.Repeat([]byte{1}, 2000))
			}
		}), 400_000, func(s *dicom.Scan) bool { return s.Truncated }},
		{"elements without values", named(func(d *dicom.DataSet) {
			for i := range 20_000 {
				d.SetBytes(dict.NewTag(0x0018, uint16(0x3000+i)), dict.SH, nil)
			}
		}), 1 << 20, func(s *dicom.Scan) bool { return s.Truncated }},
		{"items", named(func(d *dicom.DataSet) {
			var items []*dicom.DataSet
			for i := range 20_000 {
				item := new(dicom.DataSet)
				if i%2 == 0 {
					item.SetBytes(dict.CodeValue, dict.SH, nil)
				}
				items = append(items, item)
			}
			d.SetItems(dict.ProcedureCodeSequence, items...)
		}), 1 << 20, func(s *dicom.Scan) bool { return s.Truncated && !s.Header.Has(dict.ProcedureCodeSequence) }},
		{"fragments", fragments(named1, 0, 40_000), 1 << 20, func(s *dicom.Scan) bool { return s.Pixel.FragmentsOverflow }},
		{"offsets", fragments(named1, 400_000, 0), 400_000, func(s *dicom.Scan) bool { return s.Pixel.BasicOffsets == nil }},
		{"extended offsets", func() []byte {
			d := named1.Clone()
			d.SetBytes(dict.ExtendedOffsetTable, dict.OV, make([]byte, 400_000))
			return fragments(d, 0, 0)
		}(), 400_000, func(s *dicom.Scan) bool { return s.Pixel.ExtendedOffsets == nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			scan := func(most int64) (s *dicom.Scan, asked int64) {
				t.Helper()
				before := settled()
				s, err := dicom.ScanDataSetIn(bytes.NewReader(c.data), plain, dicom.Limits{}, func(need int64) int64 {
					asked = max(asked, min(need, most))
					return min(need, most)
				})
				if err != nil {
					t.Fatal(err)
				}
				table, err := s.Frames()
				if kept := settled() - before; kept > asked+asked/4+64<<10 {
					t.Errorf("%d bytes are kept, %d were granted", kept, asked)
				}
				if s.Header.String(dict.PatientName) != "Doe^Jane" {
					t.Error("the patient's name is lost")
				}
				runtime.KeepAlive(fmt.Sprint(table.Len(), err))
				runtime.KeepAlive(&table)
				return s, asked
			}
			all, asked := scan(1 << 30)
			if asked < c.size || all.Truncated || c.cut(all) {
				t.Errorf("%d bytes were asked for, truncated %v", asked, all.Truncated)
			}
			part, _ := scan(asked / 4)
			if !c.cut(part) {
				t.Error("with a quarter of the memory all is kept")
			}
			if part.Digest != all.Digest || part.Size != all.Size {
				t.Error("the digest depends on the memory")
			}
			none, _ := scan(16 << 10)
			if !c.cut(none) || none.Digest != all.Digest {
				t.Error("with hardly any memory all is kept")
			}
		})
	}
}

// settled is the heap after collections, those of pools included.
func settled() int64 {
	for range 3 {
		runtime.GC()
	}
	return liveBytes()
}
