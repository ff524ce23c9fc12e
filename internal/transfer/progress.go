package transfer

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// How often progress is shown: on a terminal, and in a log.
const (
	terminalInterval = 500 * time.Millisecond
	logInterval      = 5 * time.Second
)

// Progress shows how far a transfer is: a line that changes on a terminal, else
// a line every few seconds. It is safe for concurrent use.
type Progress struct {
	out      io.Writer
	terminal bool
	begun    time.Time

	mu    sync.Mutex
	files int
	bytes int64
	total int64 // 0 while it is not known
	open  bool  // the terminal's line has not ended
}

// NewProgress shows progress on f, which may be a terminal.
func NewProgress(f *os.File) *Progress {
	info, err := f.Stat()
	return &Progress{out: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, begun: time.Now()}
}

// run shows the progress until ctx ends.
func (p *Progress) run(ctx context.Context) {
	interval := logInterval
	if p.terminal {
		interval = terminalInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.Say("")
			return
		case <-tick.C:
			p.show(time.Since(p.begun))
		}
	}
}

func (p *Progress) show(elapsed time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.line(elapsed)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		p.open = true
		return
	}
	fmt.Fprintln(p.out, line)
}

// line says what is done, how fast, and how long the rest will take.
func (p *Progress) line(elapsed time.Duration) string {
	rate := float64(p.bytes) / max(elapsed.Seconds(), 1e-3)
	line := fmt.Sprintf("%d files, %.1f MB", p.files, float64(p.bytes)/1e6)
	if p.total > 0 {
		line = fmt.Sprintf("%d files, %.1f of %.1f MB", p.files, float64(p.bytes)/1e6, float64(p.total)/1e6)
	}
	line += fmt.Sprintf(", %.1f MB/s", rate/1e6)
	if p.total >= p.bytes && p.bytes > p.total/100 { // before that it would be a guess
		left := time.Duration(float64(p.total-p.bytes) / rate * float64(time.Second))
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}

// Say writes a line of its own; an empty one only ends what is being shown.
func (p *Progress) Say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.open = false
	}
	if line != "" {
		fmt.Fprintln(p.out, line)
	}
}

func (p *Progress) add(files int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files += files
	p.bytes += bytes
}

func (p *Progress) setTotal(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = bytes
}

// counted counts what is read of a file, at most size bytes, and the rest when
// it is done with: a file may be read twice, or not to its end.
type counted struct {
	io.Reader
	progress *Progress
	left     int64
	failed   error // of the file itself
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err != nil && err != io.EOF {
		c.failed = err
	}
	step := min(int64(n), c.left)
	c.left -= step
	c.progress.add(0, step)
	return n, err
}
