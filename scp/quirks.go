package scp

import (
	"slices"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// Quirks are what one AE needs to be treated differently in. The zero value is
// none.
type Quirks struct {
	MaxPDU           int      // bytes of a P-DATA-TF, either way; 0: as with all others
	CharacterSet     string   // of its data sets and queries that name none: a defined term of (0008,0005)
	TransferSyntaxes []string // UIDs that are chosen where it offers them, the first that it offers
	Conflicts        Conflicts
}

// Conflicts says what an AE is answered that stores other content under a SOP
// Instance UID that is known.
type Conflicts int

// The ways to answer.
const (
	Quarantine Conflicts = iota // 0000: it is kept aside
	Warn                        // B000: it is kept aside
	Refuse                      // C101: it is not kept
)

// caller is the value of an association: who it is, and what it needs.
type caller struct {
	access.Principal
	Quirks
	user string // that it identified itself as; "" when it did not
}

func callerOf(a *dimse.Association) caller {
	c, _ := a.Value.(caller)
	return c
}

// principal is who the association's peer is.
func principal(a *dimse.Association) access.Principal { return callerOf(a).Principal }

// chooseSyntax prefers what the AE should send in over the rule for all.
func chooseSyntax(a *dimse.Association, sopClass string, offered []string) string {
	for _, uid := range callerOf(a).TransferSyntaxes {
		if slices.Contains(offered, uid) {
			return uid
		}
	}
	return dimse.ChooseTransferSyntax(sopClass, offered)
}

// assume completes a query that names no character set.
func (q Quirks) assume(d *dicom.DataSet) {
	if q.CharacterSet != "" && len(d.Raw(dict.SpecificCharacterSet)) == 0 {
		d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte(q.CharacterSet))
	}
}
