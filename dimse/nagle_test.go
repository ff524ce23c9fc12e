package dimse_test

import (
	"os"
	"testing"
	"time"

	"lumen/internal/peertest"
)

// A client with Nagle's delay holds the end of each data set back until we
// have acknowledged its command. With acknowledgements delayed by 40 ms this
// would take 4 s.
func TestClientWithNagleIsNotStalled(t *testing.T) {
	for _, nodelay := range []string{"TCP_NODELAY=0", "TCP_NODELAY=1"} {
		t.Run(nodelay, func(t *testing.T) {
			var ar archive
			host, port := split(serve(t, ar.server()))
			file, _ := ctFile(t, 1)
			args := []string{"-aec", "LUMEN", host, port}
			for range 100 {
				args = append(args, file)
			}
			cmd := peertest.Command(t, "storescu", args...)
			cmd.Env = append(os.Environ(), nodelay)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("100 objects took %v", took)
			} else {
				t.Logf("100 objects took %v", took)
			}
			if len(ar.served) != 100 {
				t.Errorf("%d objects", len(ar.served))
			}
		})
	}
}
