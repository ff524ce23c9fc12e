package transfer

import (
	"testing"
	"time"
)

func TestProgressSaysWhatIsLeft(t *testing.T) {
	for _, c := range []struct {
		files        int
		bytes, total int64
		elapsed      time.Duration
		want         string
	}{
		{0, 0, 0, 0, "0 files, 0.0 MB, 0.0 MB/s"},
		{3, 20e6, 0, 10 * time.Second, "3 files, 20.0 MB, 2.0 MB/s"}, // not counted yet
		{3, 20e6, 100e6, 10 * time.Second, "3 files, 20.0 of 100.0 MB, 2.0 MB/s, 40s left"},
		{3, 20e6, 100e9, 10 * time.Second, "3 files, 20.0 of 100000.0 MB, 2.0 MB/s"}, // too early to say
		{9, 100e6, 100e6, 50 * time.Second, "9 files, 100.0 of 100.0 MB, 2.0 MB/s, 0s left"},
		{9, 120e6, 100e6, 60 * time.Second, "9 files, 120.0 of 100.0 MB, 2.0 MB/s"}, // files came meanwhile
	} {
		p := &Progress{files: c.files, bytes: c.bytes, total: c.total}
		if got := p.line(c.elapsed); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
