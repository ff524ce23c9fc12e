package audit

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzFrames reads anything at all as the frames of a segment. It is inside of
// the package because the decoder alone runs a thousand times faster than the
// journal around it, which FuzzSegment has.
func FuzzFrames(f *testing.F) {
	b := appendFrame(nil, frameEntry, 7, 3, 4096, []byte("body"))
	b = appendFrame(b, frameCheckpoint, 7, 4, 4096, []byte("signed"))
	f.Add(b)
	f.Add(append(b, 1, 2, 3, 4))
	f.Add(append(make([]byte, 40), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrames(bytes.NewReader(b), 7, int64(len(b)), 0)
		var again []byte
		for {
			fr, err := r.next()
			var d *damage
			if err == io.EOF || errors.As(err, &d) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			again = appendFrame(again, fr.kind, 7, fr.index, fr.durable, fr.body)
			if fr.end() != int64(len(again)) || !bytes.Equal(again, b[:len(again)]) {
				t.Fatalf("%x was read as %+v", b, fr)
			}
		}
		for at := r.offset; ; at = r.offset {
			fr, found, err := r.seek(at)
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			if fr.offset < at || r.offset <= at {
				t.Fatalf("seek from %d found %d, next %d", at, fr.offset, r.offset)
			}
		}
		if end, err := r.lastNonZero(0); err != nil || !allZero(b[end:]) || end > 0 && b[end-1] == 0 {
			t.Fatalf("last byte that is not zero before %d, %v", end, err)
		}
	})
}
