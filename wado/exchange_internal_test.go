package wado

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// pieces notes how long each write is.
type pieces struct {
	http.ResponseWriter
	lengths []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.lengths = append(p.lengths, len(b))
	return len(b), nil
}

// The time that one write may take is that of 256 KiB, whatever is held back.
func TestLargeAnswersAreWrittenInPieces(t *testing.T) {
	p := &pieces{ResponseWriter: httptest.NewRecorder()}
	x := &exchange{w: p, ctrl: http.NewResponseController(p), stall: time.Minute}
	if n, err := x.Write(make([]byte, 2*copySize+1)); n != 2*copySize+1 || err != nil {
		t.Error(n, err)
	}
	if n, err := x.Write(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if want := []int{copySize, copySize, 1, 0}; !slices.Equal(p.lengths, want) || x.sent != 2*copySize+1 {
		t.Errorf("writes of %v, want %v; %d sent", p.lengths, want, x.sent)
	}
}
