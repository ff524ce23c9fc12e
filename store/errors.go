package store

import (
	"errors"
	"fmt"
)

// What the archive returns, wrapped, for the conditions that protocols map to
// statuses; see also ErrNotFound and ErrNoSpace of [Blobs]. None holds patient data.
var (
	// ErrJournal says that the journal cannot append: nothing may be served.
	ErrJournal = errors.New("the journal cannot append")
	// ErrDenied says that the principal lacks the right. The attempt is journaled.
	ErrDenied = errors.New("not authorised")
	// ErrMismatch says that the SOP Class or Instance UID that was announced
	// with a data set is not the one in it (PS3.4 B.2.3, status A900).
	ErrMismatch = errors.New("data set does not match the announced SOP class or instance")
	// ErrUnreadable says that a data set cannot be parsed in its transfer
	// syntax, or lacks a valid Study, Series or SOP Instance UID or SOP Class
	// UID (status C000).
	ErrUnreadable = errors.New("cannot understand the data set")
	// ErrNoUID is the ErrUnreadable of a data set that lacks one of these UIDs.
	ErrNoUID = fmt.Errorf("%w: a UID is missing or invalid", ErrUnreadable)
	// ErrConflict says that the SOP Instance UID is known with other content,
	// and that the sender is to be told so instead of its being kept aside.
	ErrConflict = errors.New("another object with this SOP instance UID is stored")
	// ErrTooLarge says that an object exceeds [Limits].ObjectSize.
	ErrTooLarge = errors.New("object exceeds the size limit")
	// ErrTooMany says that a search matched more than it may return.
	ErrTooMany = errors.New("too many matches")
	// ErrNoFrame says that an instance has no frame of that number.
	ErrNoFrame = errors.New("no such frame")
	// ErrCorrupt says that a stored object does not open or is not what its
	// record says.
	ErrCorrupt = errors.New("stored object is damaged")
	// ErrClosed says that the archive is shutting down.
	ErrClosed = errors.New("archive is closed")
)
