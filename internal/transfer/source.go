package transfer

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// file is one file of a folder or of a ZIP archive.
type file struct {
	name string // for whoever runs the command
	size int64
	open func() (io.ReadCloser, error)
	err  error // why it cannot even be looked at
}

// source is a folder, a file or a ZIP archive.
type source struct {
	path string
	zip  *zip.ReadCloser // nil for folders and files
}

// openSource opens what path names. The caller closes it.
func openSource(path string) (*source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	s := &source{path: path}
	if info.Mode().IsRegular() && strings.EqualFold(filepath.Ext(path), ".zip") {
		if s.zip, err = zip.OpenReader(path); err != nil {
			return nil, fmt.Errorf("open %s: %w", display(path), err)
		}
	}
	return s, nil
}

func (s *source) close() error {
	if s.zip == nil {
		return nil
	}
	return s.zip.Close()
}

// each visits the files, in the order of their names or of the ZIP archive.
// What cannot be looked at is visited with its error. Links to files are
// followed, links to folders are not: they may lead in circles.
func (s *source) each(visit func(file) error) error {
	if s.zip != nil {
		return s.eachInZip(visit)
	}
	return filepath.WalkDir(s.path, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if err := visit(file{name: display(name), err: plain(err)}); err != nil {
				return err
			}
			if e != nil && e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return nil
		}
		info, err := os.Stat(name)
		if err != nil {
			return visit(file{name: display(name), err: plain(err)})
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		return visit(file{name: display(name), size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(name) }})
	})
}

func (s *source) eachInZip(visit func(file) error) error {
	for _, f := range s.zip.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if err := visit(file{name: display(s.path + ":" + f.Name), size: int64(f.UncompressedSize64), open: f.Open}); err != nil {
			return err
		}
	}
	return nil
}

// display makes a name safe for a terminal: names in a ZIP archive may hold
// anything.
func display(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// plain takes the path out of an error that is shown after it.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
