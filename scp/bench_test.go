package scp_test

import (
	"bytes"
	"strconv"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// still is a data set of about 220 KB.
func still(study, number int) *dicom.DataSet {
	return image(study, number, func(d *dicom.DataSet) { d.SetBytes(dict.PixelData, dict.OW, make([]byte, 220<<10)) })
}

// BenchmarkStore is C-STORE of stills on one association, with the archive's
// parts in memory.
func BenchmarkStore(b *testing.B) {
	n := start(b)
	c := n.dial(b, ctClass)
	d := still(1, 1e8)
	uid, data := d.String(dict.SOPInstanceUID), encode(b, d)
	at := bytes.Index(data, []byte(uid)) + len(uid) - 9 // its number
	b.SetBytes(int64(len(data)))
	i := 0
	for b.Loop() {
		i++
		number := strconv.Itoa(1e8 + i)
		copy(data[at:], number)
		rq := announce(d)
		rq.SOPInstanceUID = uid[:len(uid)-9] + number
		if status, err := c.Store(b.Context(), rq, bytes.NewReader(data)); err != nil || status != 0 {
			b.Fatal(status, err)
		}
	}
}

// BenchmarkMove is C-MOVE of 100 stills to a receiver that keeps nothing.
func BenchmarkMove(b *testing.B) {
	r := receive(b, nil, func(int) error { return &dimse.StatusError{Status: dimse.StatusCoercion} })
	n := start(b, to("THERE", r.addr))
	const stills = 100
	var images []*dicom.DataSet
	for i := range stills {
		images = append(images, still(1, i))
	}
	n.put(b, images...)
	c := n.dial(b, moveStudy)
	b.SetBytes(stills * 220 << 10)
	for b.Loop() {
		if got, err := c.Move(b.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil); err != nil || got.Warning != stills {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(stills*b.N)/b.Elapsed().Seconds(), "instances/s")
}
