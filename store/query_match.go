package store

import (
	"errors"
	"strings"
	"unicode"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Matcher is what one key asks of an attribute's values (PS3.4 C.2.2.2).
type Matcher struct {
	vr       dicom.VR
	any      bool     // universal
	exact    []string // one of these
	pattern  string   // with wildcards
	from, to string   // a range, normalised; an end that is open is ""
	ranged   bool
}

var errRange = errors.New("the range cannot be read")

// NewMatcher reads a key's value.
func NewMatcher(vr dicom.VR, value string, fuzzy bool) (Matcher, error) {
	m := Matcher{vr: vr}
	value = strings.Trim(value, " \x00")
	switch {
	case strings.Trim(value, "*") == "":
		m.any = true
	case vr == dict.DA || vr == dict.TM || vr == dict.DT:
		return m, m.span(value)
	case vr == dict.UI:
		m.exact = strings.Split(value, `\`)
	case strings.ContainsAny(value, "*?") && vr != dict.IS && vr != dict.DS && vr != dict.AS:
		m.pattern = value
		if vr == dict.PN {
			m.pattern = foldName(value)
		}
	default:
		m.exact = strings.Split(value, `\`)
		if vr == dict.PN {
			for i, v := range m.exact {
				m.exact[i] = foldName(v)
			}
		}
	}
	return m, nil
}

// span reads a single date or time, or a range of them.
func (m *Matcher) span(value string) error {
	m.ranged = true
	low, high := func(s string) (string, bool) { return normalDate(s) }, func(s string) (string, bool) { return normalDate(s) }
	cut := strings.IndexByte(value, '-')
	switch m.vr {
	case dict.TM:
		low = func(s string) (string, bool) { t, _, ok := normalTime(s); return t, ok }
		high = func(s string) (string, bool) { _, t, ok := normalTime(s); return t, ok }
	case dict.DT:
		low = func(s string) (string, bool) { return normalMoment(s, "00000101000000.000000") }
		high = func(s string) (string, bool) { return normalMoment(s, "99991231235959.999999") }
		if cut > 0 && len(value) == cut+5 && cut >= 14 {
			cut = -1 // an offset from UTC, not a range
		}
	}
	from, to := value, value
	if cut >= 0 {
		from, to = strings.TrimSpace(value[:cut]), strings.TrimSpace(value[cut+1:])
	}
	var ok bool
	if from != "" {
		if m.from, ok = low(from); !ok {
			return errRange
		}
	}
	if to != "" {
		if m.to, ok = high(to); !ok {
			return errRange
		}
	}
	return nil
}

// Universal reports whether everything matches, an absent value too.
func (m Matcher) Universal() bool { return m.any }

// List returns the values of which one must be there; nil when the key is of
// another kind. Those of person names are folded.
func (m Matcher) List() []string { return m.exact }

// Range returns the ends of a date, time or moment range in normal form, "" for
// an open one.
func (m Matcher) Range() (from, to string, ok bool) { return m.from, m.to, m.ranged }

// Pattern returns the wildcard pattern, folded when it is of a person name.
func (m Matcher) Pattern() (string, bool) { return m.pattern, m.pattern != "" }

// Match reports whether one of an attribute's values matches.
func (m Matcher) Match(values ...string) bool {
	if m.any {
		return true
	}
	for _, v := range values {
		if m.matchOne(v) {
			return true
		}
	}
	return false
}

func (m Matcher) matchOne(v string) bool {
	if m.ranged {
		switch m.vr {
		case dict.DA:
			d, ok := normalDate(v)
			return ok && m.inside(d, d)
		case dict.TM:
			t, _, ok := normalTime(v)
			return ok && m.inside(t, t)
		}
		t, ok := normalMoment(v, "00000101000000.000000")
		return ok && m.inside(t, t)
	}
	if m.vr == dict.PN {
		v = foldName(v)
		for group := range strings.SplitSeq(v, "=") {
			if m.matchText(strings.TrimRight(group, "^ ")) || m.matchText(group) {
				return true
			}
		}
	}
	return m.matchText(v)
}

func (m Matcher) inside(low, high string) bool {
	return (m.from == "" || low >= m.from) && (m.to == "" || high <= m.to)
}

func (m Matcher) matchText(v string) bool {
	if m.pattern != "" {
		return wildcard(m.pattern, v)
	}
	for _, e := range m.exact {
		if e == v {
			return true
		}
	}
	return false
}

// wildcard matches * and ? (PS3.4 C.2.2.2.4).
func wildcard(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// foldName makes person names comparable: without regard to case, and to the
// separators at their ends.
func foldName(s string) string {
	return strings.TrimRight(strings.Map(unicode.ToLower, s), "^ =")
}

// lowTime is the first moment of a day in normal form.
const lowTime = "000000.000000"

// normalDate returns a date as yyyymmdd. The form with dots of before 1993 is
// read too (PS3.5 6.2).
func normalDate(s string) (string, bool) {
	s = strings.Trim(s, " \x00")
	if len(s) == 10 && s[4] == '.' && s[7] == '.' {
		s = s[:4] + s[5:7] + s[8:]
	}
	if len(s) != 8 || !digits(s) || s[4:6] < "01" || s[4:6] > "12" || s[6:] < "01" || s[6:] > "31" {
		return "", false
	}
	return s, true
}

// normalTime returns the first and the last moment that a time of any
// precision stands for, as hhmmss.ffffff.
func normalTime(s string) (low, high string, ok bool) {
	s = strings.ReplaceAll(strings.Trim(s, " \x00"), ":", "")
	whole, fraction, _ := strings.Cut(s, ".")
	if len(whole) < 2 || len(whole) > 6 || len(whole)%2 != 0 || !digits(whole) || len(fraction) > 6 || !digits(fraction) ||
		fraction != "" && len(whole) != 6 {
		return "", "", false
	}
	if whole[:2] > "23" || len(whole) > 2 && whole[2:4] > "59" || len(whole) > 4 && whole[4:] > "60" {
		return "", "", false
	}
	low = whole + "000000"[len(whole):] + "." + fraction + "000000"[len(fraction):]
	high = whole + "235959"[len(whole):] + "." + fraction + "999999"[len(fraction):]
	return low, high, true
}

// normalMoment fills a date time up from the given moment. An offset from UTC is
// left out.
func normalMoment(s, fill string) (string, bool) {
	s = strings.Trim(s, " \x00")
	if i := strings.IndexAny(s, "+-"); i > 0 {
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if len(whole) < 4 || len(whole) > 14 || len(whole)%2 != 0 || !digits(whole) || len(fraction) > 6 || !digits(fraction) {
		return "", false
	}
	if len(whole) < 14 {
		return whole + fill[len(whole):], true
	}
	return whole + "." + fraction + fill[15+len(fraction):], true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
