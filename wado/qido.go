package wado

import (
	"errors"
	"fmt"
	"net/http"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// search answers QIDO-RS at one level (PS3.18 10.6).
func (s *server) search(level store.Level) func(*exchange) error {
	return func(x *exchange) error {
		params, err := parseSearch(x.r.URL.RawQuery)
		if err != nil {
			return err
		}
		accept, err := acceptOf(x.r, params.accept)
		if err != nil {
			return err
		}
		form, ok := accept.choose(modelOffers)
		if !ok {
			return notAcceptable("searches are answered as application/dicom+json or multipart application/dicom+xml")
		}
		path, err := x.target()
		if err != nil {
			return err
		}
		q, capped, err := s.query(level, path, params)
		if err != nil {
			return err
		}
		if params.ignored || len(q.Unsupported()) > 0 {
			x.Header().Add("Warning", warnIgnored)
		}
		if params.none {
			x.WriteHeader(http.StatusNoContent)
			return nil
		}
		return s.answerSearch(x, q, capped, form)
	}
}

// query makes the archive's query. Capped says that there may be more matches
// than it returns; then it asks for one more than are answered.
func (s *server) query(level store.Level, path target, params searchParameters) (q *store.Query, capped bool, err error) {
	q = store.NewQuery(level)
	q.Fuzzy = params.fuzzy
	q.CombinedDateTime = true // PS3.18 8.3.4.1.1
	keys := params.keys
	for _, k := range []struct {
		tag   dicom.Tag
		value string
	}{{dict.StudyInstanceUID, path.study}, {dict.SeriesInstanceUID, path.series}} {
		if k.value == "" {
			continue
		}
		for _, given := range keys {
			if samePath(given.path, []dicom.Tag{k.tag}) && given.value != k.value {
				return nil, false, errTwice
			}
		}
		keys = append(keys, searchKey{[]dicom.Tag{k.tag}, k.value})
	}
	withinStudy := path.study != ""
	for _, k := range keys {
		if err := q.MatchItem(k.path, k.value); err != nil {
			return nil, false, fmt.Errorf("%w: %w", errValue, err)
		}
		withinStudy = withinStudy || k.path[0] == dict.StudyInstanceUID && dicom.ValidUID(k.value)
	}
	q.Include(params.include...) // after the keys: named studies and series are not described again
	q.All = params.all
	q.Offset = params.offset
	q.Limit = params.limit
	if !withinStudy && (q.Limit == 0 || q.Limit > s.limits.Matches) {
		q.Limit = s.limits.Matches
	}
	if q.Limit > 0 {
		q.Limit++
		capped = true
	}
	return q, capped, nil
}

// Warnings of a search (PS3.18 8.3, 8.3.4.4).
const (
	warnMore    = `299 lumen "there are more matches: continue with offset, or narrow the search"`
	warnBudget  = `299 lumen "the search was ended early, there may be more matches: name a study or narrow it"`
	warnIgnored = `299 lumen "parameters or attributes that this archive does not support were ignored"`
)

// answerSearch streams the matches.
func (s *server) answerSearch(x *exchange, q *store.Query, capped bool, form offer) error {
	matches, err := s.archive.Search(x.r.Context(), x.principal, x.request(), q)
	if err != nil {
		return err
	}
	out := newModelList(x, form, capped)
	limit := q.Limit - 1 // as query set it, when capped
	for m, err := range pump(x.r.Context(), matches) {
		if errors.Is(err, store.ErrBudget) {
			return out.close(warnBudget)
		}
		if err != nil {
			return err
		}
		if capped && out.count == limit {
			return out.close(warnMore)
		}
		t := target{m.StudyInstanceUID, m.SeriesInstanceUID, m.SOPInstanceUID}
		m.Attributes.SetString(dict.RetrieveURL, t.url(x.base))
		err := out.add(func(b []byte) ([]byte, error) {
			return form.appendModel(b, m.Attributes, dicom.JSONOptions{})
		})
		if err != nil {
			return err
		}
	}
	return out.close("")
}

// base is the URL of Prefix as the client reaches it.
func (s *server) base(r *http.Request) string {
	if s.baseURL != "" {
		return s.baseURL
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + Prefix
}
