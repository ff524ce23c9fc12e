package scp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/store"
)

// retrieval is what a C-MOVE or C-GET has to send.
type retrieval struct {
	opened    []*store.Retrieval
	instances []*store.Instance
}

// close journals how it ended; only the first call counts.
func (r *retrieval) close(outcome error) {
	for _, o := range r.opened {
		_ = o.Close(outcome)
	}
}

// open finds and opens what an identifier selects; ErrNotFound of the archive
// is an empty retrieval, which is a success (PS3.4 C.4.2.3.1).
func (s *Server) open(ctx context.Context, a *dimse.Association, rq store.Request, sopClass string, identifier *dicom.DataSet) (*retrieval, error) {
	level, err := levelOf(modelOf(sopClass), identifier)
	if err != nil {
		return nil, err
	}
	selections, err := s.selections(ctx, a, rq, level, identifier)
	if err != nil {
		return nil, retrieveError(ctx, err)
	}
	r := &retrieval{}
	for _, sel := range selections {
		o, err := s.cfg.Archive.Open(ctx, principal(a), rq, sel)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			r.close(err)
			return nil, retrieveError(ctx, err)
		}
		r.opened = append(r.opened, o)
		r.instances = append(r.instances, o.Instances()...)
	}
	return r, nil
}

// selections turns the unique keys of an identifier into selections of one
// study each. Keys of upper levels that are absent are looked up; those that are
// there hold (PS3.4 C.4.2.2.1): what belongs to another patient, study or series
// than the identifier says is not retrieved.
func (s *Server) selections(ctx context.Context, a *dimse.Association, rq store.Request, l level, identifier *dicom.DataSet) ([]store.Selection, error) {
	keys := map[level][]string{
		levelPatient: distinct(identifier.Strings(dict.PatientID)),
		levelStudy:   distinct(identifier.Strings(dict.StudyInstanceUID)),
		levelSeries:  distinct(identifier.Strings(dict.SeriesInstanceUID)),
		levelImage:   distinct(identifier.Strings(dict.SOPInstanceUID)),
	}
	if len(keys[l]) == 0 {
		return nil, mismatch("the unique key of the level is absent")
	}
	find := func(l store.Level, key dicom.Tag, values []string, upper ...dicom.Tag) ([]store.Selection, error) {
		return s.lookUp(ctx, a, rq, l, key, values, identifier, upper)
	}
	patient := []dicom.Tag{dict.PatientID, dict.IssuerOfPatientID}
	if l == levelPatient {
		return find(store.StudyLevel, dict.PatientID, keys[l], dict.IssuerOfPatientID)
	}
	studies, series := keys[levelStudy], keys[levelSeries]
	if len(studies) > 0 && len(keys[levelPatient])+len(identifier.Strings(dict.IssuerOfPatientID)) > 0 {
		theirs, err := find(store.StudyLevel, dict.StudyInstanceUID, studies, patient...)
		if len(theirs) == 0 || err != nil {
			return nil, err
		}
		studies = studies[:0]
		for _, sel := range theirs {
			studies = append(studies, sel.StudyInstanceUID)
		}
	}
	switch {
	case l == levelStudy:
		var list []store.Selection
		for _, uid := range studies {
			list = append(list, store.Selection{StudyInstanceUID: uid})
		}
		return list, nil
	case l == levelSeries && len(studies) == 1:
		var list []store.Selection
		for _, uid := range series {
			list = append(list, store.Selection{StudyInstanceUID: studies[0], SeriesInstanceUID: uid})
		}
		return list, nil
	case l == levelSeries:
		return find(store.SeriesLevel, dict.SeriesInstanceUID, series, append(patient, dict.StudyInstanceUID)...)
	case len(studies) == 1 && len(series) <= 1:
		sel := store.Selection{StudyInstanceUID: studies[0], SOPInstanceUIDs: keys[l]}
		if len(series) == 1 {
			sel.SeriesInstanceUID = series[0]
		}
		return []store.Selection{sel}, nil
	}
	return find(store.InstanceLevel, dict.SOPInstanceUID, keys[l], append(patient, dict.StudyInstanceUID, dict.SeriesInstanceUID)...)
}

// distinct drops repeated values, in place: an identifier can name one study
// many thousand times, and would have its instances in memory as often.
func distinct(values []string) []string {
	seen := make(map[string]bool, len(values))
	return slices.DeleteFunc(values, func(v string) bool {
		again := seen[v]
		seen[v] = true
		return again
	})
}

// lookUp finds what has one of the values of a unique key, and the values that
// the identifier has of the upper keys.
func (s *Server) lookUp(ctx context.Context, a *dimse.Association, rq store.Request, l store.Level, key dicom.Tag, values []string,
	identifier *dicom.DataSet, upper []dicom.Tag) ([]store.Selection, error) {
	q := store.NewQuery(l)
	err := q.Match(key, strings.Join(values, `\`))
	for _, tag := range upper {
		err = errors.Join(err, q.Match(tag, strings.Join(identifier.Strings(tag), `\`)))
	}
	if err != nil {
		return nil, &dimse.StatusError{Status: dimse.StatusUnableToProcess, Comment: "a key cannot be matched", Err: err}
	}
	if len(q.Exact(key)) == 0 {
		return nil, mismatch("a unique key is not a list of single values")
	}
	matches, err := s.cfg.Archive.Search(ctx, principal(a), rq, q)
	if err != nil {
		return nil, err
	}
	var list []store.Selection
	for m, err := range matches {
		if err != nil {
			return nil, err
		}
		sel := store.Selection{StudyInstanceUID: m.StudyInstanceUID, SeriesInstanceUID: m.SeriesInstanceUID}
		if m.SOPInstanceUID != "" {
			sel.SOPInstanceUIDs = []string{m.SOPInstanceUID}
		}
		if n := len(list); n > 0 && m.SOPInstanceUID != "" && list[n-1].SeriesInstanceUID == sel.SeriesInstanceUID &&
			list[n-1].StudyInstanceUID == sel.StudyInstanceUID { // matches of a series come one after the other
			list[n-1].SOPInstanceUIDs = append(list[n-1].SOPInstanceUIDs, m.SOPInstanceUID)
			continue
		}
		list = append(list, sel)
	}
	return list, nil
}

// send performs the sub-operations of a retrieval one after the other. Store
// sends one prepared object. Progress is told after each; between two of them
// the end of ctx stops it. The error is why the first of those that failed did,
// when it was not the receiver's answer.
func (s *Server) send(ctx context.Context, instances []*store.Instance,
	store func(ctx context.Context, p *prepared) (dimse.Status, error),
	progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
	var failed error
	n := dimse.SubOperations{Remaining: len(instances)}
	// C-CANCEL stops between sub-operations; the one under way is finished.
	each, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, dimse.ErrCancelled) {
			cancel(cause)
		}
	})()
	for p := range prepare(each, instances) {
		if ctx.Err() != nil {
			p.close()
			break
		}
		status, err := store(each, p)
		p.close()
		n.Remaining--
		s.count(&n, p, status, err)
		if failed == nil {
			failed = err
		}
		if n.Remaining > 0 && progress(n) != nil {
			break
		}
	}
	if n.Failed > 0 {
		attrs := []any{"failed", n.Failed, "completed", n.Completed, "warning", n.Warning, "remaining", n.Remaining}
		if failed != nil {
			attrs = append(attrs, "first_error", failed.Error())
		}
		s.log.Warn("sub-operations failed", attrs...)
	}
	return n, failed
}

// verdict tells the requestor why sub-operations failed, as far as it is no
// answer of the receiver: that one is told from one that is away, slow or wants
// another syntax. Nil leaves the status to the counts.
func verdict(n dimse.SubOperations, failed error) error {
	if n.Failed == 0 || n.Remaining > 0 { // or cancelled
		return nil
	}
	status := dimse.StatusSomeFailed
	if n.Completed+n.Warning == 0 {
		status = dimse.StatusSubOperationsImpossible
	}
	for _, why := range []error{errRefused, errFull, errSlow, errDown, errLost, dimse.ErrNoContext, store.ErrAway} {
		if errors.Is(failed, why) {
			return &dimse.StatusError{Status: status, Comment: why.Error(), Err: failed}
		}
	}
	return nil
}

// count adds the outcome of one sub-operation.
func (s *Server) count(n *dimse.SubOperations, p *prepared, status dimse.Status, err error) {
	outcome := "completed"
	switch class := status.Class(); {
	case err != nil:
		outcome = "failed"
	case class == dimse.ClassWarning:
		outcome = "warning"
	case class != dimse.ClassSuccess:
		outcome = "failed"
	}
	switch outcome {
	case "completed":
		n.Completed++
	case "warning":
		n.Warning++
	default:
		n.Failed++
		n.FailedUIDs = append(n.FailedUIDs, p.instance.SOPInstanceUID)
	}
	s.metrics.moved.WithLabelValues(outcome).Inc()
}

// outcome is what the journal says of a retrieval.
func outcome(ctx context.Context, n dimse.SubOperations, err error) error {
	switch {
	case err != nil:
		return err
	case n.Remaining > 0:
		return context.Cause(ctx)
	case n.Failed > 0:
		return fmt.Errorf("%d of %d sub-operations failed", n.Failed, n.Failed+n.Completed+n.Warning)
	}
	return nil
}
