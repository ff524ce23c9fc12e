package wado

import (
	"net/url"
	"strconv"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// searchParameters is the query part of a search (PS3.18 8.3.4).
type searchParameters struct {
	keys          []searchKey
	include       []dicom.Tag
	all           bool // includefield=all
	limit, offset int  // limit 0: not given
	none          bool // limit=0
	fuzzy         bool
	accept        []string
	ignored       bool // something was asked for that is not supported
}

// searchKey is one attribute to match. It may lie in a sequence.
type searchKey struct {
	path  []dicom.Tag
	value string
}

// maxSearchKeys bounds the attributes of one search, matched or returned.
const maxSearchKeys = 256

var (
	errEscape       = badRequest("the query is not well-formed percent-encoded UTF-8")
	errIncludeField = badRequest("an includefield is not an attribute")
	errTwice        = badRequest("an attribute is given twice")
	errLimit        = badRequest("limit must be a number of zero or more")
	errOffset       = badRequest("offset must be a number of zero or more")
	errBoolean      = badRequest("a parameter that must be true or false is neither")
	errTooManyKeys  = badRequest("too many attributes in one search")
	errPathUID      = badRequest("a UID in the path is malformed")
	errValue        = badRequest("the value of an attribute cannot be matched")
)

// parseSearch reads a raw query. A parameter that is not supported is ignored,
// as PS3.18 8.3 demands; since such a search may find more than was meant, the
// answer has a warning. A bad value of one that is supported is an error.
func parseSearch(raw string) (searchParameters, error) {
	var p searchParameters
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescape(name)
		if err != nil {
			return p, err
		}
		if value, err = unescape(value); err != nil {
			return p, err
		}
		if err := p.add(name, value); err != nil {
			return p, err
		}
		if len(p.keys)+len(p.include) > maxSearchKeys {
			return p, errTooManyKeys
		}
	}
	return p, nil
}

func (p *searchParameters) add(name, value string) (err error) {
	switch name {
	case "limit":
		if p.limit, err = parseCount(value); err != nil {
			return errLimit
		}
		p.none = p.limit == 0
	case "offset":
		if p.offset, err = parseCount(value); err != nil {
			return errOffset
		}
	case "fuzzymatching":
		p.fuzzy, err = parseBoolean(value)
	case "emptyvaluematching", "multiplevaluematching":
		p.ignored = p.ignored || !strings.EqualFold(value, "false")
	case "includefield":
		return p.addInclude(value)
	case "accept":
		p.accept = append(p.accept, value)
	default:
		return p.addKey(name, value)
	}
	return err
}

// addInclude takes "all" or a comma-separated list of attributes. Of a path
// into a sequence the whole sequence is returned.
func (p *searchParameters) addInclude(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "all" {
			p.all = true
			continue
		}
		path, ok := parsePath(name)
		switch {
		case ok:
			p.include = append(p.include, path[0])
		case isAttribute(name):
			p.ignored = true // a private one, or of a dictionary newer than ours
		default:
			return errIncludeField
		}
	}
	return nil
}

// isAttribute reports whether s has the form of a keyword or a tag.
func isAttribute(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}

func (p *searchParameters) addKey(name, value string) error {
	path, ok := parsePath(name)
	if !ok {
		p.ignored = true
		return nil
	}
	for _, k := range p.keys {
		if samePath(k.path, path) {
			return errTwice
		}
	}
	if a, _ := dict.LookupTag(path[len(path)-1]); a.VR == dict.UI {
		value = strings.ReplaceAll(value, ",", `\`) // a list of UIDs (PS3.18 8.3.4.1)
	}
	p.keys = append(p.keys, searchKey{path, value})
	return nil
}

// parsePath reads an attribute: keywords or eight-digit tags, separated by dots.
func parsePath(s string) ([]dicom.Tag, bool) {
	var path []dicom.Tag
	for name := range strings.SplitSeq(s, ".") {
		if len(path) > 0 && !isSequence(path[len(path)-1]) {
			return nil, false
		}
		t, ok := parseTag(name)
		if !ok {
			return nil, false
		}
		path = append(path, t)
	}
	return path, len(path) <= 8
}

func isSequence(t dicom.Tag) bool {
	a, _ := dict.LookupTag(t)
	return a.VR == dict.SQ
}

func parseTag(s string) (dicom.Tag, bool) {
	if len(s) == 8 {
		if n, err := strconv.ParseUint(s, 16, 32); err == nil {
			_, known := dict.LookupTag(dicom.Tag(n))
			return dicom.Tag(n), known
		}
	}
	return dict.LookupKeyword(s)
}

func samePath(a, b []dicom.Tag) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// unescape decodes one name or value; control characters and broken UTF-8 have
// no business in either.
func unescape(s string) (string, error) {
	s, err := url.QueryUnescape(s)
	if err != nil || strings.ToValidUTF8(s, "") != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errEscape
	}
	return s, nil
}

// parseCount reads a number that fits an int32.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

func parseBoolean(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errBoolean
}

// target is the study, series and instance that a path names.
type target struct{ study, series, instance string }

func (x *exchange) target() (target, error) {
	t := target{x.r.PathValue("study"), x.r.PathValue("series"), x.r.PathValue("instance")}
	for _, uid := range []string{t.study, t.series, t.instance} {
		if uid != "" && !dicom.ValidUID(uid) {
			return target{}, errPathUID
		}
	}
	return t, nil
}

// selection is what a retrieval of t opens.
func (t target) selection() store.Selection {
	sel := store.Selection{StudyInstanceUID: t.study, SeriesInstanceUID: t.series}
	if t.instance != "" {
		sel.SOPInstanceUIDs = []string{t.instance}
	}
	return sel
}

// targetOf is the path to an instance.
func targetOf(i *store.Instance) target {
	return target{i.StudyInstanceUID, i.SeriesInstanceUID, i.SOPInstanceUID}
}

// url is the path of t under base.
func (t target) url(base string) string {
	u := base + "/studies/" + t.study
	if t.series != "" {
		u += "/series/" + t.series
	}
	if t.instance != "" {
		u += "/instances/" + t.instance
	}
	return u
}
