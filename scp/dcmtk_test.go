package scp_test

import (
	"path/filepath"
	"strings"
	"testing"

	"lumen/dimse"
)

// Every level of every model, asked for by DCMTK.
func TestDCMTKQueriesEveryModelAndLevel(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1), image(1, 2), image(12, 1))
	keys := map[string][]string{
		"PATIENT": {"-k", "PatientID=P0"},
		"STUDY":   {"-k", "PatientID=P0", "-k", "StudyInstanceUID="},
		"SERIES":  {"-k", "PatientID=P0", "-k", "StudyInstanceUID=1.2.826.0.1.1", "-k", "SeriesInstanceUID="},
		"IMAGE": {"-k", "PatientID=P0", "-k", "StudyInstanceUID=1.2.826.0.1.1", "-k", "SeriesInstanceUID=1.2.826.0.1.1.1",
			"-k", "SOPInstanceUID="},
	}
	answers := map[string]int{"PATIENT": 1, "STUDY": 1, "SERIES": 1, "IMAGE": 2}
	for model, levels := range map[string][]string{"-P": {"PATIENT", "STUDY", "SERIES", "IMAGE"}, "-S": {"STUDY", "SERIES", "IMAGE"},
		"-O": {"PATIENT", "STUDY"}} {
		for _, level := range levels {
			for _, pdu := range []string{"4096", "131072"} {
				t.Run(model+" "+level+" maximum PDU "+pdu, func(t *testing.T) {
					args := append([]string{"-v", model, "-pdu", pdu, "-aec", "LUMEN", "-k", "QueryRetrieveLevel=" + level}, keys[level]...)
					out := run(t, "findscu", append(args, host(n.addr), port(n.addr))...)
					if got := strings.Count(out, "(Pending)"); got != answers[level] {
						t.Errorf("%d answers, want %d\n%s", got, answers[level], out)
					}
				})
			}
		}
	}
}

// Retrievals by every model, asked for by DCMTK, with short and long PDUs.
func TestDCMTKRetrievesByEveryModel(t *testing.T) {
	r := receive(t, nil, nil)
	n := start(t, to("THERE", r.addr))
	n.put(t, image(1, 1), image(1, 2), image(12, 1))
	for model, keys := range map[string][]string{
		"-P": {"-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P0"},
		"-S": {"-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.826.0.1.1"},
		"-O": {"-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P0", "-k", "StudyInstanceUID=1.2.826.0.1.1"},
	} {
		for _, pdu := range []string{"4096", "131072"} {
			t.Run(model+" maximum PDU "+pdu, func(t *testing.T) {
				r.reset()
				common := append([]string{model, "-pdu", pdu, "-aec", "LUMEN"}, keys...)
				run(t, "movescu", append(append(common, "-aem", "THERE"), host(n.addr), port(n.addr))...)
				if r.len() != 2 {
					t.Errorf("movescu: %d objects", r.len())
				}
				dir := t.TempDir()
				run(t, "getscu", append(append(common, "-od", dir), host(n.addr), port(n.addr))...)
				if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 2 {
					t.Errorf("getscu: %d files", len(files))
				}
			})
		}
	}
}

func TestDCMTKAborts(t *testing.T) {
	n := start(t)
	run(t, "echoscu", "--abort", "-aec", "LUMEN", host(n.addr), port(n.addr))
	run(t, "storescu", "--abort", "-aec", "LUMEN", host(n.addr), port(n.addr), file(t, image(1, 1)))
	eventually(t, "the object is found", func() bool {
		got, err := n.find(t, findStudy, identifier("STUDY"))
		return err == nil && len(got) == 1
	})
}

func TestDCMTKCancels(t *testing.T) {
	n := start(t)
	for i := range 20 {
		n.put(t, image(i, 1))
	}
	out := run(t, "findscu", "-v", "-S", "--cancel", "2", "-aec", "LUMEN", "-k", "QueryRetrieveLevel=STUDY", host(n.addr), port(n.addr))
	if !strings.Contains(out, "Cancel") {
		t.Errorf("%v\n%s", dimse.StatusCancel, out)
	}
}
