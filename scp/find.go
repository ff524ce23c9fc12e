package scp

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/store"
)

// find answers a query (PS3.4 C.4.1).
func (s *Server) find(ctx context.Context, a *dimse.Association, rq *dimse.FindRequest) iter.Seq2[*dicom.DataSet, error] {
	return func(yield func(*dicom.DataSet, error) bool) {
		level, err := levelOf(modelOf(rq.SOPClassUID), rq.Identifier)
		if err != nil {
			yield(nil, err)
			return
		}
		callerOf(a).assume(rq.Identifier)
		q, err := query(level, rq)
		if err != nil {
			yield(nil, err)
			return
		}
		matches, err := s.cfg.Archive.Search(ctx, principal(a), request(a, "C-FIND"), q)
		if err != nil {
			yield(nil, statusError(ctx, err))
			return
		}
		s.answer(ctx, level, q, matches, yield)
	}
}

// query reads the keys of an identifier, and notes in rq whether some are not
// supported.
func query(level level, rq *dimse.FindRequest) (*store.Query, error) {
	q := store.NewQuery(level.store())
	q.Fuzzy = agreed(rq.Extended, fuzzyNames)
	q.CombinedDateTime = agreed(rq.Extended, combinedDateTime)
	for e := range rq.Identifier.All() {
		switch {
		case e.Tag.GroupLength(), e.Tag == dict.RetrieveAETitle:
			continue
		case level == levelPatient && !patientKey(e.Tag):
			rq.UnsupportedKeys = true
			continue // a patient has no keys of a study
		}
		if err := match(q, nil, rq.Identifier, e); err != nil {
			return nil, &dimse.StatusError{Status: dimse.StatusUnableToProcess, Comment: "a key cannot be matched", Err: err}
		}
	}
	rq.UnsupportedKeys = rq.UnsupportedKeys || len(q.Unsupported())+len(q.Unknown()) > 0
	return q, nil
}

// match adds one element of an identifier to a query. The key of a sequence is
// one item (PS3.4 C.2.2.2.6); path is where d lies.
func match(q *store.Query, path []dicom.Tag, d *dicom.DataSet, e dicom.Element) error {
	path = append(path[:len(path):len(path)], e.Tag)
	if len(e.Items) == 0 || e.Items[0].Len() == 0 {
		return q.MatchItem(path, strings.Join(d.Strings(e.Tag), `\`))
	}
	for inner := range e.Items[0].All() {
		if inner.Tag.GroupLength() || inner.Tag == dict.SpecificCharacterSet {
			continue
		}
		if err := match(q, path, e.Items[0], inner); err != nil {
			return err
		}
	}
	return nil
}

// patientKey reports whether a tag is of the patient level: group 0010, and
// what is of no level.
func patientKey(t dicom.Tag) bool {
	return t.Group() == 0x0010 || t == dict.SpecificCharacterSet || t == dict.QueryRetrieveLevel || t == dict.InstanceAvailability
}

// answer turns matches into identifiers.
func (s *Server) answer(ctx context.Context, l level, q *store.Query, matches iter.Seq2[store.Match, error],
	yield func(*dicom.DataSet, error) bool) {
	limited := len(q.Exact(dict.StudyInstanceUID)) == 0
	patients := make(map[string]bool) // at the patient level: those that were answered
	n := 0
	for m, err := range matches {
		if err != nil {
			yield(nil, statusError(ctx, err))
			return
		}
		if l == levelPatient {
			id := patientOf(m.Attributes)
			if patients[id] {
				continue
			}
			patients[id] = true
		}
		if n++; limited && n > s.cfg.Matches {
			yield(nil, statusError(ctx, store.ErrTooMany))
			return
		}
		if !yield(s.identifier(l, m.Attributes), nil) {
			return
		}
	}
}

// patientOf is what tells a patient from others. Without a Patient ID those are
// different who look different: nobody else can say.
func patientOf(d *dicom.DataSet) string {
	if id := d.String(dict.PatientID); id != "" {
		return id + "\x00" + d.String(dict.IssuerOfPatientID)
	}
	var look strings.Builder
	for e := range d.All() {
		if patientKey(e.Tag) {
			fmt.Fprintf(&look, "\x00%v=%q", e.Tag, e.Value)
		}
	}
	return look.String()
}

// identifier completes a match with what every answer has (PS3.4 C.4.1.1.3.2).
func (s *Server) identifier(l level, d *dicom.DataSet) *dicom.DataSet {
	d.SetString(dict.QueryRetrieveLevel, l.String())
	d.SetString(dict.RetrieveAETitle, s.cfg.AETitle)
	if l == levelPatient {
		onlyPatient(d)
	}
	if len(d.Raw(dict.SpecificCharacterSet)) == 0 {
		// What declares none is ASCII, or was written by a device that forgot to:
		// Latin-1 holds the first and is the best guess for the second.
		d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 100"))
	}
	return d
}

// onlyPatient removes what a match of the study level has beyond its patient.
func onlyPatient(d *dicom.DataSet) {
	var of []dicom.Tag
	for e := range d.All() {
		if !patientKey(e.Tag) && e.Tag != dict.RetrieveAETitle {
			of = append(of, e.Tag)
		}
	}
	for _, t := range of {
		d.Delete(t)
	}
}
