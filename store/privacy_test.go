package store_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/storetest"
)

// Invariant 6, for what this package writes: objects and their names, log lines
// down to debug level, metrics, errors.
func TestNoPatientInClear(t *testing.T) {
	const study, series, instance = "1.2.826.77777.1", "1.2.826.77777.2", "1.2.826.77777.3"
	planted := []string{"Plantagenet", "PLANT-4711", "19330303", study, series, instance, "ACC-9876"}
	change := func(d *dicom.DataSet) {
		d.SetString(dict.PatientName, "Plantagenet^Anna")
		d.SetString(dict.PatientID, "PLANT-4711")
		d.SetString(dict.PatientBirthDate, "19330303")
		d.SetString(dict.AccessionNumber, "ACC-9876")
	}
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	n := newNode(t, func(cfg *store.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Registerer = registry
	})
	sent := encode(t, still(study, series, instance, change), explicitLE)
	other := encode(t, still(study, series, instance, change, func(d *dicom.DataSet) { d.SetString(dict.PatientSex, "O") }), explicitLE)
	var said []string
	note := func(err error) {
		if err == nil {
			t.Error("an error was expected")
			return
		}
		said = append(said, err.Error())
	}
	n.mustIngest(sent, store.Stored)
	n.mustIngest(sent, store.Duplicate)
	n.mustIngest(other, store.Quarantined)
	_, err := n.ingest(syntax(dicom.ImplicitVRLittleEndian), sent[:100])
	note(err)
	_, err = n.archive.Ingest(t.Context(), tower, request, store.Incoming{TransferSyntax: explicitLE, SOPInstanceUID: "1.2.9"}, bytes.NewReader(sent))
	note(err)
	for _, err := range []error{storetest.ErrInjected, errors.New("disk")} {
		n.journal.Fail(err, false)
		_, err := n.ingest(explicitLE, other)
		note(err)
	}
	n.journal.Fail(nil, false)
	r := n.open(store.Selection{StudyInstanceUID: study})
	_, _, err = r.Instances()[0].Frame(t.Context(), 99)
	note(err)
	r.Close(err)
	if err := n.blobs.Delete(t.Context(), n.events(store.EventStored)[0].Blob); err != nil {
		t.Fatal(err)
	}
	report, err := n.archive.Check(t.Context(), store.CheckOptions{})
	if err != nil || report.Count != 1 {
		t.Errorf("check = %+v, %v", report, err)
	}
	for _, p := range report.Problems {
		said = append(said, p.Object, p.What)
	}
	n.index = new(storetest.Index)
	n.config = func(cfg *store.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	n.crash() // says that a journaled instance is missing

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		said = append(said, f.String())
	}
	said = append(said, log.String())
	if !strings.Contains(log.String(), "journal names a blob") {
		t.Error("nothing was logged")
	}
	for info, err := range n.blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		object, err := n.blobs.Open(t.Context(), info.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, info.Name, string(readAll(t, object)))
	}
	for _, text := range said {
		for _, p := range planted {
			for _, form := range forms(p) {
				if strings.Contains(text, form) {
					t.Errorf("%q is in clear in %.200q", p, text)
				}
			}
		}
	}
}

// forms are the ways in which a value might be found.
func forms(v string) []string {
	var wide []byte
	for _, u := range utf16.Encode([]rune(v)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	return []string{v, string(wide), hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v)))}
}
