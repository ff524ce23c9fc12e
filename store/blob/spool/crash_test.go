package spool_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"lumen/internal/durable"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/dir"
	"lumen/store/blob/spool"
)

// Power fails at a random moment, with the remote there or away, then the node
// comes back: what was acknowledged arrives in the remote, each object whole, what
// was deleted stays away, and in the end the spool is empty.
func TestCrash(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			disk := durable.NewMem(0)
			faults := durable.NewFaults(disk)
			near, err := dir.New(faults, "/spool")
			if err != nil {
				t.Fatal(err)
			}
			far := &remote{away: rng.IntN(2) == 0}
			s := open(t, spool.Config{Local: near, Remote: summing{far}, Grace: time.Duration(rng.IntN(3)) * time.Second})
			faults.Inject(durable.Fault{After: rng.IntN(200)})
			tried, stored := map[string]string{}, map[string]string{}
			deleted := map[string]bool{}
			for i := range 20 {
				name := fmt.Sprintf("t/%d/%d", i%3, i)
				data := string(blobtest.Content(uint64(i), 3000*(i%4)))
				tried[name] = data
				if s.Put(t.Context(), name, -1, blobtest.Write([]byte(data))) != nil {
					break
				}
				stored[name] = data
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
				if rng.IntN(5) == 0 {
					far.set(rng.IntN(2) == 0)
				}
				if rng.IntN(4) == 0 {
					delete(stored, name) // from here on it may be gone
					deleted[name] = s.Delete(t.Context(), name) == nil
				}
			}
			disk.Crash(rng)
			closeSpool(t, s)

			far.set(false)
			if near, err = dir.New(disk, "/spool"); err != nil {
				t.Fatal(err)
			}
			s = open(t, spool.Config{Local: near, Remote: summing{far}, Grace: -1})
			time.Sleep(5 * time.Minute)
			got := held(t, far)
			for name, data := range stored {
				if got[name] != data {
					t.Errorf("seed %d: %s was acknowledged and has %d bytes", seed, name, len(got[name]))
				}
			}
			for name, data := range got {
				if data != tried[name] || deleted[name] {
					t.Errorf("seed %d: %s is there, deleted: %v, whole: %v", seed, name, deleted[name], data == tried[name])
				}
			}
			if n := len(held(t, near)); n != 0 {
				t.Errorf("seed %d: %d objects are left in the spool", seed, n)
			}
			closeSpool(t, s)
		})
	}
}
