package dimse_test

import (
	"errors"
	"strings"
	"testing"

	"lumen/dimse"
)

func TestEveryStatusIsInTheTable(t *testing.T) {
	for _, s := range []dimse.Status{dimse.StatusSuccess, dimse.StatusCancel, dimse.StatusPending, dimse.StatusPendingUnsupportedKeys,
		dimse.StatusSOPClassNotSupported, dimse.StatusNotAuthorized, dimse.StatusUnrecognizedOperation, dimse.StatusOutOfResources,
		dimse.StatusCannotCountMatches, dimse.StatusSubOperationsImpossible, dimse.StatusDestinationUnknown,
		dimse.StatusDataSetDoesNotMatch, dimse.StatusSomeFailed, dimse.StatusElementsDiscarded, dimse.StatusDataSetDoesNotMatchWarning,
		dimse.StatusCannotUnderstand, dimse.StatusInternal, dimse.StatusConflictRefused} {
		found := false
		for _, row := range dimse.Statuses() {
			found = found || row.Status == s
		}
		if !found {
			t.Errorf("%v is not in the table", s)
		}
	}
}

func TestTheTableAgreesWithTheClasses(t *testing.T) {
	for _, row := range dimse.Statuses() {
		if row.Status.Class() != row.Class {
			t.Errorf("%v is a %s in the table", row.Status, row.Class)
		}
		if !strings.HasPrefix(row.Clause, "PS3.") || row.Name == "" || row.Services == "" || row.Status&^row.Mask != 0 {
			t.Errorf("incomplete row %+v", row)
		}
	}
	for s, want := range map[dimse.Status]dimse.Class{0xA7FF: dimse.ClassFailure, 0xC123: dimse.ClassFailure, 0xB123: dimse.ClassWarning,
		0x0107: dimse.ClassWarning, 0x0110: dimse.ClassFailure} {
		if got := s.Class(); got != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func TestStatusErrorTellsItsCause(t *testing.T) {
	cause := errors.New("disk full")
	err := &dimse.StatusError{Status: dimse.StatusOutOfResources, Comment: "no space left", Err: cause}
	if !errors.Is(err, cause) || err.Error() != "status A700 (failure): no space left: disk full" {
		t.Error(err)
	}
}
