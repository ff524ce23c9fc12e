package main

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sourceFile is one file of a folder or of a ZIP archive.
type sourceFile struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

// source is a folder, a file or a ZIP archive.
type source struct {
	path string
	zip  bool
}

// listSources looks at what is to be imported and adds up its size.
func listSources(paths []string) (sources []source, total int64, err error) {
	for _, path := range paths {
		s := source{path: path, zip: strings.EqualFold(filepath.Ext(path), ".zip")}
		err := s.each(func(f sourceFile) error {
			total += f.size
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		sources = append(sources, s)
	}
	return sources, total, nil
}

// each visits the files, in the order of their names or of the archive.
func (s source) each(visit func(sourceFile) error) error {
	if s.zip {
		return s.eachInZip(visit)
	}
	return filepath.WalkDir(s.path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return visit(sourceFile{name, info.Size(), func() (io.ReadCloser, error) { return os.Open(name) }})
	})
}

func (s source) eachInZip(visit func(sourceFile) error) error {
	z, err := zip.OpenReader(s.path)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	defer z.Close()
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if err := visit(sourceFile{s.path + ":" + f.Name, int64(f.UncompressedSize64), f.Open}); err != nil {
			return err
		}
	}
	return nil
}

// progress shows how far a long command is, at most once a second, on standard
// error.
type progress struct {
	begun, shown time.Time
	open         bool // a line is on the screen that has not ended
	done, total  int64
}

func newProgress(total int64) *progress {
	now := time.Now()
	return &progress{begun: now, shown: now, total: total}
}

func (p *progress) add(n int64) {
	p.done += n
	if time.Since(p.shown) < time.Second {
		return
	}
	p.shown, p.open = time.Now(), true
	rate := float64(p.done) / time.Since(p.begun).Seconds()
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(p.total-p.done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(os.Stderr, "\r%.0f of %.0f MB, %.1f MB/s, %s left   ", float64(p.done)/1e6, float64(p.total)/1e6, rate/1e6, left)
}

// say writes a line of its own.
func (p *progress) say(line string) {
	p.end()
	fmt.Fprintln(os.Stderr, line)
}

// end finishes the line that is being shown.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(os.Stderr)
		p.open = false
	}
}
