package scp_test

import (
	"bytes"
	"testing"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/scp"
)

// quirky is a node that knows one AE, the one that helpers call as.
func quirky(t *testing.T, q scp.Quirks) *node {
	t.Helper()
	return start(t, func(c *scp.Config) {
		c.Policy = access.Policy{AEs: []access.AE{{Title: "TOWER", Rights: access.All}}}
		c.Quirks = []scp.Quirks{q}
		c.SOPClasses = []string{"1.2.826.0.1.999"}
	})
}

func TestConflictsAreAnsweredAsTheAENeeds(t *testing.T) {
	for conflicts, want := range map[scp.Conflicts]dimse.Status{
		scp.Quarantine: dimse.StatusSuccess, scp.Warn: dimse.StatusCoercion, scp.Refuse: dimse.StatusConflictRefused,
	} {
		n := quirky(t, scp.Quirks{Conflicts: conflicts})
		first := image(1, 1)
		n.put(t, first)
		other := image(1, 1, func(d *dicom.DataSet) { d.SetString(dict.PatientName, "Other^Name") })
		c := n.dial(t, ctClass)
		for range 2 {
			status, err := c.Store(t.Context(), announce(other), bytes.NewReader(encode(t, other)))
			if err != nil || status != want {
				t.Errorf("policy %d: %v, %v; want %v", conflicts, status, err, want)
			}
		}
		if status, err := c.Store(t.Context(), announce(first), bytes.NewReader(encode(t, first))); err != nil || status != 0 {
			t.Errorf("policy %d: the same again: %v, %v", conflicts, status, err)
		}
		found, err := n.find(t, findStudy, identifier("STUDY", "PatientName", ""))
		if err != nil || len(found) != 1 || found[0].String(dict.PatientName) != "Doe^John" {
			t.Errorf("policy %d: %v, %v", conflicts, found, err)
		}
	}
}

func TestCharacterSetIsAssumed(t *testing.T) {
	n := quirky(t, scp.Quirks{CharacterSet: "ISO_IR 192"})
	n.put(t, image(1, 1, func(d *dicom.DataSet) {
		d.Delete(dict.SpecificCharacterSet)
		d.SetBytes(dict.PatientName, dict.PN, []byte("M\u00fcller^J"))
	}))
	id := identifier("STUDY")
	id.Delete(dict.SpecificCharacterSet)
	id.SetBytes(dict.PatientName, dict.PN, []byte("M\u00dcLLER* "))
	found, err := n.find(t, findStudy, id)
	if err != nil || len(found) != 1 || found[0].String(dict.PatientName) != "M\u00fcller^J" {
		t.Errorf("%v, %v", found, err)
	}
}

func TestPreferredSyntaxIsChosen(t *testing.T) {
	n := quirky(t, scp.Quirks{TransferSyntaxes: []string{dicom.JPEGBaseline8Bit, dicom.ImplicitVRLittleEndian}})
	c := n.dialContexts(t, dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: plain})
	if got := c.Accepted(ctClass); len(got) != 1 || got[0].TransferSyntax.UID != dicom.ImplicitVRLittleEndian {
		t.Errorf("%+v", got)
	}
}

func TestPrivateClassIsStored(t *testing.T) {
	n := quirky(t, scp.Quirks{})
	d := image(1, 1, func(d *dicom.DataSet) { d.SetString(dict.SOPClassUID, "1.2.826.0.1.999") })
	c := n.dial(t, "1.2.826.0.1.999")
	if status, err := c.Store(t.Context(), announce(d), bytes.NewReader(encode(t, d))); err != nil || status != 0 {
		t.Errorf("%v, %v", status, err)
	}
}
