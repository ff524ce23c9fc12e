package e2e_test

import (
	"context"
	"strings"
	"testing"

	"lumen/dicom/dict"
	"lumen/dimse"
)

func dcmtkCancels(t *testing.T, s *scene) {
	all := stills(t, 40, 100)
	s.put(t, all)
	t.Run("find", func(t *testing.T) {
		out, _ := run(t, "findscu", dcmtkArgs(s.port(), append([]string{"-v", "-S", "--cancel", "2"},
			options("IMAGE", []string{"StudyInstanceUID=" + all[0].study, "SeriesInstanceUID=" + all[0].series, "SOPInstanceUID="})...)...)...)
		if !strings.Contains(out, "Cancel") || strings.Count(out, "(Pending)") < 2 {
			t.Errorf("findscu: %s", tail(out, 1000))
		}
	})
	t.Run("move", func(t *testing.T) {
		out, _ := run(t, "movescu", dcmtkArgs(s.port(), append([]string{"-v", "-S", "-aem", "SINK", "--cancel", "2"}, options("STUDY", all[0].keys("study_root", "STUDY"))...)...)...)
		s.sink.take(t)
		if !strings.Contains(out, "Cancel") {
			t.Errorf("movescu: %s", tail(out, 1000))
		}
	})
	s.dcmtk(t, "echoscu")
}

func weCancelAtDCMTK(t *testing.T, s *scene) {
	addr := startQR(t, s, "+xy", "-xy")
	all := stills(t, 40, 100)
	send(t, "QR@"+addr, all)
	cancelsFind(t, addr, "QR", all)
	t.Run("move", func(t *testing.T) { cancelsMove(t, addr, "QR", "LUMEN", all) })
}

// cancelsFind breaks a query off after a match; the association goes on.
func cancelsFind(t *testing.T, addr, title string, all []specimen) {
	t.Helper()
	t.Run("find", func(t *testing.T) {
		class := models[1].find
		c := dial(t, addr, title, class, dict.UIDVerification)
		n := 0
		for _, err := range c.Find(t.Context(), class, identifier("IMAGE", "StudyInstanceUID="+all[0].study, "SeriesInstanceUID="+all[0].series, "SOPInstanceUID=")) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d matches before the end", n)
		}
		goesOn(t, c)
	})
}

// cancelsMove breaks a C-MOVE off after its first response; the association
// goes on.
func cancelsMove(t *testing.T, addr, title, to string, all []specimen) {
	t.Helper()
	class := models[1].move
	c := dial(t, addr, title, class, dict.UIDVerification)
	n, err := c.Move(t.Context(), class, to, identifier("STUDY", all[0].keys("study_root", "STUDY")...), func(dimse.SubOperations) error { return context.Canceled })
	if err == nil {
		t.Errorf("%+v without an error", n)
	}
	t.Logf("%d of %d sub-operations were done: %v", n.Completed, len(all), err)
	goesOn(t, c)
}

// goesOn expects an association to serve and to be released.
func goesOn(t *testing.T, c *dimse.Client) {
	t.Helper()
	if status, err := c.Echo(t.Context()); err != nil || status != dimse.StatusSuccess {
		t.Errorf("echo on the same association: %v, %v", status, err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// Orthanc waits for the end of what it asks for.
func orthancDoesNotCancel(t *testing.T, _ *scene) { cannotDo(t, "DIMSE_sendCancelRequest") }

func weCancelAtOrthanc(t *testing.T, s *scene) {
	all := stills(t, 40, 100)
	s.orthanc.own(t, all)
	cancelsFind(t, s.orthanc.dicom, "ORTHANC", all)
	t.Run("move", func(t *testing.T) { cancelsMove(t, s.orthanc.dicom, "ORTHANC", "LUMEN", all) })
}
