package dicom

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"lumen/dicom/dict"
)

// Matcher decides whether an attribute of an instance matches a key of a
// query: PS3.4 section C.2.2.2, for C-FIND and QIDO-RS alike. The zero value
// matches everything. It is safe for concurrent use.
type Matcher struct {
	kind     matchKind
	vr       VR
	fuzzy    bool
	patterns []string // folded for PN; normal form for dates and times
	lo, hi   string   // a range, "" where it is open
}

type matchKind uint8

const (
	matchAll matchKind = iota
	matchValues
	matchRange
)

// NewMatcher makes a matcher of a key's value, which is decoded text:
//
//   - "" matches all (universal matching), and so does "*" where wildcards are
//     allowed;
//   - a list separated by backslashes matches what one of its values matches;
//   - "*" and "?" are wildcards in AE, CS, LO, LT, PN, SH, ST, UC, UR and UT;
//   - DA, TM and DT take ranges, of which "-" alone matches all; a TM or DT
//     that leaves components out is the range of all moments it stands for;
//   - IS and DS are compared as numbers;
//   - PN is compared without regard to case, group by component group; with
//     fuzzy also without regard to accents and order, by prefix and by sound;
//   - everything else is compared exactly, case included.
//
// The error says that a date, a time or a range is none.
func NewMatcher(vr VR, value string, fuzzy bool) (Matcher, error) {
	m := Matcher{vr: vr, fuzzy: fuzzy && vr == dict.PN}
	value = trim(vr, value)
	if value == "" {
		return Matcher{vr: vr}, nil
	}
	switch vr {
	case dict.DA, dict.TM, dict.DT:
		return m, m.parseRanges(value)
	}
	parts := []string{value}
	if vr.Multiple() {
		parts = strings.Split(value, `\`)
	}
	m.kind = matchValues
	for _, p := range parts {
		p = trim(vr, p)
		if p == "" {
			continue
		}
		if wild(vr) && strings.Trim(p, "*") == "" {
			return Matcher{vr: vr}, nil
		}
		if vr == dict.PN {
			p = FoldName(p)
		}
		m.patterns = append(m.patterns, p)
	}
	if len(m.patterns) == 0 {
		return Matcher{vr: vr}, nil
	}
	return m, nil
}

// wild reports whether wildcards count in vr (PS3.4 section C.2.2.2.4).
func wild(vr VR) bool {
	switch vr {
	case dict.AE, dict.CS, dict.LO, dict.LT, dict.PN, dict.SH, dict.ST, dict.UC, dict.UR, dict.UT:
		return true
	}
	return false
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

// parseRanges makes a range of one value, or normalises a list.
func (m *Matcher) parseRanges(value string) error {
	if parts := strings.Split(value, `\`); len(parts) > 1 {
		m.kind = matchValues
		for _, p := range parts {
			first, last, ok := moments(m.vr, p)
			if !ok {
				return fmt.Errorf("dicom: not a value of VR %v", m.vr)
			}
			m.patterns = append(m.patterns, first, last)
		}
		return nil
	}
	m.kind = matchRange
	if first, last, ok := moments(m.vr, value); ok {
		m.lo, m.hi = first, last
		return nil
	}
	for i := 0; i < len(value); i++ { // a DT may have "-" in it
		if value[i] != '-' {
			continue
		}
		from, to := strings.TrimSpace(value[:i]), strings.TrimSpace(value[i+1:])
		if from == "" && to == "" { // open at both ends
			*m = Matcher{vr: m.vr}
			return nil
		}
		lo, _, okFrom := bounds(m.vr, from)
		_, hi, okTo := bounds(m.vr, to)
		if (okFrom || from == "") && (okTo || to == "") {
			m.lo, m.hi = lo, hi
			return nil
		}
	}
	return fmt.Errorf("dicom: neither a value of VR %v nor a range", m.vr)
}

// moments returns the normal form of the first and the last moment that a
// value of DA, TM or DT stands for.
func moments(vr VR, s string) (first, last string, ok bool) {
	switch vr {
	case dict.TM:
		return normalTime(s)
	case dict.DT:
		return normalDateTime(s)
	}
	first, ok = normalDate(s)
	return first, first, ok
}

// bounds is moments for an end of a range, which may be a day that its month
// does not have: many ask for 0201-0231. Where it is compared with real days
// it need not be one.
func bounds(vr VR, s string) (first, last string, ok bool) {
	if vr == dict.DA {
		s = plainDate(s)
	}
	first, last, ok = moments(vr, s)
	if ok || vr == dict.TM || len(s) < 8 || s[6:8] < "29" || s[6:8] > "31" {
		return first, last, ok
	}
	first, last, ok = moments(vr, s[:6]+"28"+s[8:])
	if ok && first[6:8] == "28" && last[6:8] == "28" { // not moved by an offset from UTC
		first, last = first[:6]+s[6:8]+first[8:], last[:6]+s[6:8]+last[8:]
	}
	return first, last, ok
}

// Universal reports whether m matches everything, absent attributes included.
func (m Matcher) Universal() bool { return m.kind == matchAll }

// Exact returns the one value that m matches, if there is just one: no list,
// wildcard or range. A name is folded as [FoldName] does it.
func (m Matcher) Exact() (string, bool) {
	if m.kind == matchRange && m.vr == dict.DA && m.lo == m.hi {
		return m.lo, true
	}
	if m.kind == matchValues && len(m.patterns) == 1 && !m.fuzzy && !m.hasWildcard() {
		return m.patterns[0], true
	}
	return "", false
}

// List returns the values of which m matches one, when there are several and
// none has a wildcard: a list of UIDs, for instance. Else it is nil.
func (m Matcher) List() []string {
	if m.kind != matchValues || len(m.patterns) < 2 || m.fuzzy || m.hasWildcard() {
		return nil
	}
	switch m.vr {
	case dict.TM, dict.DT:
		return nil
	case dict.DA:
		var days []string
		for i := 0; i < len(m.patterns); i += 2 {
			days = append(days, m.patterns[i])
		}
		return days
	}
	return append([]string(nil), m.patterns...)
}

func (m Matcher) hasWildcard() bool {
	if wild(m.vr) {
		for _, p := range m.patterns {
			if hasWildcard(p) {
				return true
			}
		}
	}
	return false
}

// Range returns the first and the last moment that m matches, in the form
// YYYYMMDD for DA, HHMMSS.FFFFFF for TM and YYYYMMDDHHMMSS.FFFFFF for DT; ""
// where the range is open. A single DA, TM or DT is a range as well.
func (m Matcher) Range() (lo, hi string, ok bool) {
	return m.lo, m.hi, m.kind == matchRange
}

// Match reports whether one of an attribute's values, decoded and trimmed as
// [DataSet.Strings] returns them, matches. An attribute that is absent or
// empty has no values: only a universal matcher matches it.
func (m Matcher) Match(values ...string) bool {
	if m.kind == matchAll {
		return true
	}
	for _, v := range values {
		if v != "" && m.one(v) {
			return true
		}
	}
	return false
}

func (m Matcher) one(v string) bool {
	switch m.vr {
	case dict.DA, dict.TM, dict.DT:
		first, last, ok := moments(m.vr, v)
		if !ok {
			return false
		}
		if m.kind == matchRange {
			return (m.lo == "" || last >= m.lo) && (m.hi == "" || first <= m.hi)
		}
		for i := 0; i+1 < len(m.patterns); i += 2 {
			if last >= m.patterns[i] && first <= m.patterns[i+1] {
				return true
			}
		}
		return false
	case dict.PN:
		return m.MatchFolded(FoldName(v))
	case dict.IS, dict.DS:
		for _, p := range m.patterns {
			if p == v || sameNumber(p, v) {
				return true
			}
		}
		return false
	}
	for _, p := range m.patterns {
		if p == v || wild(m.vr) && hasWildcard(p) && Glob(p, v) {
			return true
		}
	}
	return false
}

// MatchFolded is Match for one name that was folded by [FoldName]: an index
// folds it once and matches it often.
func (m Matcher) MatchFolded(name string) bool {
	if m.kind == matchAll {
		return true
	}
	for _, p := range m.patterns {
		if matchName(p, name) || m.fuzzy && fuzzyName(p, name) {
			return true
		}
	}
	return false
}

// matchName compares a folded pattern with a folded name, by component groups:
// a pattern without "=" may match any of them.
func matchName(pattern, name string) bool {
	if strings.Contains(pattern, "=") {
		return matchGroups(strings.Split(pattern, "="), strings.Split(name, "="))
	}
	for group := range strings.SplitSeq(name, "=") {
		if group != "" && Glob(pattern, group) {
			return true
		}
	}
	return false
}

// matchGroups compares group by group; one that the pattern leaves empty
// matches all, and one that the name does not have is empty.
func matchGroups(pattern, name []string) bool {
	for i, p := range pattern {
		group := ""
		if i < len(name) {
			group = name[i]
		}
		if p != "" && !Glob(p, group) {
			return false
		}
	}
	return true
}

// Glob reports whether all of s matches the pattern, in which "*" stands for
// any characters and "?" for one.
func Glob(pattern, s string) bool {
	star, mark := -1, 0 // where to go on after the last "*"
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) {
			switch c := pattern[p]; {
			case c == '*':
				star, mark = p, i
				p++
				continue
			case c == '?':
				_, n := utf8.DecodeRuneInString(s[i:])
				p, i = p+1, i+n
				continue
			case c == s[i]:
				p, i = p+1, i+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		for mark < len(s) && s[mark]&0xC0 == 0x80 { // not inside of a character
			mark++
		}
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
