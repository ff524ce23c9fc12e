package store

import (
	"encoding/binary"
	"testing"

	"lumen/store/seal"
)

// What is remembered of conflicts is bounded, in many studies and in one.
func TestAsideSetsAreBounded(t *testing.T) {
	s := asideSets{max: 100}
	put := func(study byte, version int) {
		row := Row{Blob: BlobRef{Study: seal.Handle{study}}}
		binary.BigEndian.PutUint32(row.Digest[:], uint32(version))
		if set := s.of(row.Blob.Study); set.blobs == nil {
			set.blobs = make(map[[32]byte]seal.Handle)
		}
		s.add(row)
	}
	held := func() (studies, versions int) {
		for _, e := range s.studies {
			versions += len(e.Value.(*asideSet).blobs)
		}
		return len(s.studies), versions
	}
	for i := range 1000 {
		put(byte(i/10), i) // 100 studies of 10 versions
	}
	if studies, versions := held(); studies != 9 || versions != 90 || s.count != 99 || s.order.Len() != 9 {
		t.Errorf("%d studies, %d versions, %d counted", studies, versions, s.count)
	}
	for i := range 1000 {
		put(200, i)
	}
	if studies, versions := held(); studies != 1 || versions != 100 || s.count != 101 {
		t.Errorf("%d studies, %d versions, %d counted", studies, versions, s.count)
	}
	gone := &asideSet{study: seal.Handle{1}} // let go of while somebody was reading it
	s.grew(gone, 50)
	if s.count != 101 {
		t.Errorf("%d counted", s.count)
	}
}
