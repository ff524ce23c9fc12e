package scp

import (
	"context"
	"errors"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/store"
)

// bomb is what a defect in reading or converting an object looks like.
type bomb struct{}

func (bomb) Read([]byte) (int, error) { panic("of a reader") }
func (bomb) Close() error             { return nil }

// A panic in a goroutine of its own would end the process with all its
// associations.
func TestPanicWhileConvertingFailsTheObject(t *testing.T) {
	from, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	to, _ := dicom.LookupTransferSyntax(dicom.ImplicitVRLittleEndian)
	p := &prepared{instance: new(store.Instance), rest: bomb{}}
	data := p.open(from, to)
	defer data.Close()
	if _, err := io.ReadAll(data); !errors.Is(err, dimse.ErrPanic) {
		t.Errorf("error = %v", err)
	}
}

func TestPanicWhileReadingAheadFailsTheObject(t *testing.T) {
	n := 0
	for p := range prepare(context.Background(), []*store.Instance{{}, {}}) { // of no retrieval: reading panics
		n++
		if !errors.Is(p.err, dimse.ErrPanic) {
			t.Errorf("error = %v", p.err)
		}
		p.close()
	}
	if n != 2 {
		t.Errorf("%d objects", n)
	}
}
