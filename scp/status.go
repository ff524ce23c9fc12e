package scp

import (
	"context"
	"errors"

	"lumen/dimse"
	"lumen/store"
)

// statusError maps an error of the archive to what goes on the wire (DESIGN
// section 9, table in dimse/status.go). What is in no row is an internal error.
func statusError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, dimse.ErrCancelled) || errors.Is(cause, dimse.ErrReleased) {
		return cause
	}
	for _, row := range [...]struct {
		is      error
		status  dimse.Status
		comment string
	}{
		{store.ErrDenied, dimse.StatusNotAuthorized, "not authorized"},
		{store.ErrNoSpace, dimse.StatusOutOfResources, "no space left"},
		{store.ErrAway, dimse.StatusOutOfResources, "the object storage is away"},
		{store.ErrJournal, dimse.StatusOutOfResources, "the journal cannot append"},
		{store.ErrClosed, dimse.StatusOutOfResources, "shutting down"},
		{store.ErrMismatch, dimse.StatusDataSetDoesNotMatch, "data set is not what was announced"},
		{store.ErrNoUID, dimse.StatusCannotUnderstand, "no valid study, series or SOP instance or SOP class UID"},
		{store.ErrUnreadable, dimse.StatusCannotUnderstand, "cannot understand the data set"},
		{store.ErrConflict, dimse.StatusConflictRefused, "another object with this SOP Instance UID is stored"},
		{store.ErrTooLarge, dimse.StatusOutOfResources, "object exceeds the size limit"},
		{store.ErrTooMany, dimse.StatusOutOfResources, "too many matches: narrow the query"},
		{store.ErrBudget, dimse.StatusOutOfResources, "searched the newest studies only: name a study"},
	} {
		if errors.Is(err, row.is) {
			return &dimse.StatusError{Status: row.status, Comment: row.comment, Err: err}
		}
	}
	return err
}

// retrieveError is statusError for a C-MOVE or C-GET that has not begun: what it
// has to send cannot be told then (PS3.4 tables C.4-2 and C.4-3).
func retrieveError(ctx context.Context, err error) error {
	err = statusError(ctx, err)
	var status *dimse.StatusError
	if errors.As(err, &status) && status.Status == dimse.StatusOutOfResources {
		return &dimse.StatusError{Status: dimse.StatusCannotCountMatches, Comment: status.Comment, Err: status.Err}
	}
	return err
}
