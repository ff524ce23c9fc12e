package dicom_test

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"testing"

	"lumen/dicom"
	"lumen/internal/shareddata"
)

var mutations = flag.Int("mutations", 10, "how often TestMutatedFiles changes each small file")

// TestMutatedFiles changes real files at random and sends them through all that
// reads: nothing may panic or loop, whatever it makes of them.
func TestMutatedFiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, e := range shareddata.Files(t) {
		file := e.Bytes(t)
		if len(file) > 16<<10 {
			continue
		}
		for range *mutations {
			mutated := mutate(random, file)
			_, ts, body, err := open(mutated)
			if err != nil {
				continue
			}
			s, err := dicom.ScanDataSet(bytes.NewReader(body), ts, dicom.Limits{})
			if err == nil {
				s.Frames()
			}
			d, err := dicom.ParseDataSet(body, ts)
			if err != nil {
				continue
			}
			j, err := dicom.AppendJSON(nil, d, dicom.JSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dicom.ParseJSON(j); err != nil && d.Len() > 0 {
				t.Errorf("%s mutated: our own JSON: %v", e.Name, err)
			}
			if _, err := dicom.AppendXML(nil, d, dicom.JSONOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, to := range uncompressed(t)[:3] {
				dicom.Transcode(io.Discard, bytes.NewReader(body), ts, to, dicom.Limits{})
			}
			d.Recode()
		}
	}
}

// mutate flips, repeats, removes and cuts off some bytes.
func mutate(random *rand.Rand, file []byte) []byte {
	b := bytes.Clone(file)
	for range 1 + random.IntN(8) {
		if len(b) < 200 {
			break
		}
		at := 132 + random.IntN(len(b)-140)
		switch random.IntN(6) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b[at] = byte(random.Uint32())
		case 2:
			copy(b[at:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
		case 3:
			n := min(random.IntN(64), len(b)-at)
			b = append(b[:at], append(bytes.Clone(b[at:at+n]), b[at:]...)...)
		case 4:
			n := min(random.IntN(32), len(b)-at)
			b = append(b[:at], b[at+n:]...)
		case 5:
			if random.IntN(8) == 0 {
				b = b[:at]
			}
		}
	}
	return b
}
