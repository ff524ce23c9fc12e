package main

import (
	"fmt"
	"os"
	"time"
)

// How often a meter is shown: on a terminal, and in a log.
const (
	terminalInterval = 200 * time.Millisecond
	logInterval      = 5 * time.Second
)

// meter shows on standard error how far something is: a line that changes on a
// terminal, else a line every few seconds.
type meter struct {
	out      *os.File
	terminal bool
	last     time.Time
	open     bool // the terminal's line has not ended
}

func newMeter() *meter {
	return &meter{out: os.Stderr, terminal: terminal(os.Stderr), last: time.Now()}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show says how far it is, if it is time to.
func (m *meter) show(format string, args ...any) {
	interval := logInterval
	if m.terminal {
		interval = terminalInterval
	}
	if time.Since(m.last) < interval {
		return
	}
	m.last = time.Now()
	if m.terminal {
		format = "\r\x1b[K" + format
	} else {
		format += "\n"
	}
	m.open = m.terminal
	fmt.Fprintf(m.out, format, args...)
}

// end makes room for other lines.
func (m *meter) end() {
	if m.open {
		fmt.Fprint(m.out, "\r\x1b[K")
		m.open = false
	}
}
