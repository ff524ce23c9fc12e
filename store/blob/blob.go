// Package blob holds what store declares about objects and its parts need
// without importing store: names, descriptions and errors. The contract is that
// of store.Blobs; the implementations are in the folders beside this file.
package blob

import (
	"errors"
	"time"
)

// What an implementation returns, wrapped, for the conditions that callers
// branch on. Everything else is an I/O error of the backend.
var (
	// ErrNotFound says that there is no object of that name.
	ErrNotFound = errors.New("not found")
	// ErrNoSpace says that the object did not fit. Nothing of it remains, and a
	// later Put may succeed once there is room again.
	ErrNoSpace = errors.New("no space left for objects")
	// ErrAway says that the backend cannot be reached, or cannot do its work now:
	// later it may, with nothing changed here.
	ErrAway = errors.New("the store of objects is away")
	// ErrName says that a name is not one that [ValidName] accepts.
	ErrName = errors.New("malformed object name")
	// ErrSize says that an object was written with another size than announced.
	ErrSize = errors.New("object has not the announced size")
)

// Info describes one object.
type Info struct {
	Name    string
	Size    int64     // bytes, as stored (sealed)
	ModTime time.Time // of the Put, by the backend's clock
}

const (
	maxSegments = 8
	maxSegment  = 64
)

// ValidName reports whether name may name an object: one to eight segments of
// one to 64 characters from [a-z0-9-], separated by single slashes. Such a name
// is safe as a relative path and as an S3 key.
func ValidName(name string) bool {
	segments, length := 1, 0
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			if length++; length > maxSegment {
				return false
			}
		case c == '/':
			if length == 0 {
				return false
			}
			segments, length = segments+1, 0
		default:
			return false
		}
	}
	return length > 0 && segments <= maxSegments
}

// ValidPrefix reports whether prefix may be given to List: empty, or a valid
// name followed by '/'.
func ValidPrefix(prefix string) bool {
	if prefix == "" {
		return true
	}
	last := len(prefix) - 1
	return prefix[last] == '/' && ValidName(prefix[:last])
}
