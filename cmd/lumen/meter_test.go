package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A log gets a line every few seconds, a terminal one that changes.
func TestMeter(t *testing.T) {
	for terminal, want := range map[bool]string{
		false: "5 done\n10 done\n",
		true:  "\r\x1b[K1 done\r\x1b[K2 done\r\x1b[K3 done\r\x1b[K4 done\r\x1b[K5 done\r\x1b[K6 done\r\x1b[K7 done\r\x1b[K8 done\r\x1b[K9 done\r\x1b[K10 done\r\x1b[K",
	} {
		name := filepath.Join(t.TempDir(), "out")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(*testing.T) {
			m := &meter{out: f, terminal: terminal, last: time.Now()}
			m.show("%d done", 0) // too early for either
			for n := range 10 {
				time.Sleep(time.Second)
				m.show("%d done", n+1)
			}
			m.end()
			m.end()
		})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(name); string(got) != want {
			t.Errorf("terminal %t: %q", terminal, got)
		}
	}
}
