package wado

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

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
		form, ok := accept.choose(jsonOffers)
		if !ok {
			return notAcceptable("searches are answered as application/dicom+json")
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
		return s.answerSearch(x, q, capped, form.media)
	}
}

// query makes the archive's query. Capped says that there may be more matches
// than it returns; then it asks for one more than are answered.
func (s *server) query(level store.Level, path target, params searchParameters) (q *store.Query, capped bool, err error) {
	q = store.NewQuery(level)
	q.Fuzzy = params.fuzzy
	keys := params.keys
	for _, k := range []struct {
		tag   dicom.Tag
		value string
	}{{dict.StudyInstanceUID, path.study}, {dict.SeriesInstanceUID, path.series}} {
		if k.value == "" {
			continue
		}
		for _, given := range keys {
			if samePath(given.path, []dicom.Tag{k.tag}) {
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

// answerSearch streams the matches as an array of JSON objects.
func (s *server) answerSearch(x *exchange, q *store.Query, capped bool, media string) error {
	matches, err := s.archive.Search(x.r.Context(), x.principal, x.request(), q)
	if err != nil {
		return err
	}
	base := s.base(x.r)
	out := newJSONArray(x, media, capped)
	limit := q.Limit - 1 // as query set it, when capped
	for m, err := range matches {
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
		m.Attributes.SetString(dict.RetrieveURL, t.url(base))
		err := out.add(func(b []byte) ([]byte, error) {
			return dicom.AppendJSON(b, m.Attributes, dicom.JSONOptions{})
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

// jsonArray streams an array. The first part is held back, so that an answer of
// usual size has a Content-Length, an empty one is 204, an error that comes
// early is still told as such, and a Warning is known before the header goes.
type jsonArray struct {
	x     *exchange
	media string
	hold  int // bytes held back at most
	buf   []byte
	begun bool
	warn  bool // a Warning may follow
	count int
}

const (
	jsonChunk = 64 << 10
	jsonHold  = 8 << 20 // above 5 000 studies with all their attributes
)

func newJSONArray(x *exchange, media string, warn bool) *jsonArray {
	a := &jsonArray{x: x, media: media, hold: jsonChunk, warn: warn}
	if warn {
		a.hold = jsonHold
	}
	return a
}

// add appends one object.
func (a *jsonArray) add(object func([]byte) ([]byte, error)) (err error) {
	if a.count++; a.count == 1 {
		a.buf = append(a.buf, '[')
	} else {
		a.buf = append(a.buf, ',')
	}
	if a.buf, err = object(a.buf); err != nil {
		return err
	}
	limit := a.hold
	if a.begun {
		limit = jsonChunk
	}
	if len(a.buf) < limit {
		return nil
	}
	return a.flush()
}

// flush sends what is held. A Warning can then only follow as a trailer.
func (a *jsonArray) flush() error {
	if !a.begun {
		a.begun = true
		a.header()
		if a.warn {
			a.x.Header().Set("Trailer", "Warning")
		}
		a.x.WriteHeader(http.StatusOK)
	}
	if !a.x.head() {
		if _, err := a.x.Write(a.buf); err != nil {
			return err
		}
	}
	a.buf = a.buf[:0]
	return nil
}

func (a *jsonArray) header() {
	a.x.Header().Set("Content-Type", a.media)
	a.x.Header().Set("Vary", "Accept")
}

// close ends the array; warning may be empty. An array of nothing is 204.
func (a *jsonArray) close(warning string) error {
	if warning != "" {
		a.x.Header().Add("Warning", warning)
	}
	if a.count == 0 {
		a.x.WriteHeader(http.StatusNoContent)
		return nil
	}
	a.buf = append(a.buf, ']')
	if !a.begun {
		a.begun = true
		a.header()
		a.x.Header().Set("Content-Length", strconv.Itoa(len(a.buf)))
		a.x.WriteHeader(http.StatusOK)
	}
	return a.flush()
}
