package wado

import (
	"fmt"
	"net/http"
	"strings"
)

// mediaRange is one element of an Accept list (RFC 9110 12.5.1), reduced to
// what DICOMweb distinguishes (PS3.18 8.7.5): the media type of a part, whether
// parts come wrapped in multipart/related, and the transfer syntax.
type mediaRange struct {
	multipart bool   // multipart/related; major and minor are then those of its type parameter
	any       bool   // */*: either form will do
	major     string // lower case, "*" for any
	minor     string
	syntax    string // transfer-syntax parameter: a UID, "*", or "" when absent
	quality   int    // thousandths
}

// offer is one representation that a resource can be given as.
type offer struct {
	multipart bool
	media     string // type/subtype of the part, lower case
	syntax    string // transfer syntax of the part, "" where the media type has none
	stored    bool   // as received: what transfer-syntax=* asks for
	standard  bool   // what a range without transfer-syntax asks for
}

// acceptable is what a client takes: the accept query parameter is looked at
// before the header (PS3.18 8.7.8.1).
type acceptable struct {
	query  []mediaRange
	header []mediaRange
}

// everything is what a request without any Accept takes.
var everything = mediaRange{any: true, major: "*", minor: "*", quality: 1000}

// parseAcceptable reads the accept query parameter and the Accept header
// fields. With neither, everything is acceptable.
func parseAcceptable(queries, headers []string) (acceptable, error) {
	var a acceptable
	var err error
	if a.query, err = parseAccept(strings.Join(queries, ",")); err != nil {
		return acceptable{}, fmt.Errorf("accept query parameter: %w", err)
	}
	if a.header, err = parseAccept(strings.Join(headers, ",")); err != nil {
		return acceptable{}, fmt.Errorf("accept header: %w", err)
	}
	if len(a.query) == 0 && len(a.header) == 0 {
		a.header = []mediaRange{everything}
	}
	return a, nil
}

// choose picks the offer that the client likes best; offers come in the order
// the server prefers. It reports false when none is acceptable.
func (a acceptable) choose(offers []offer) (offer, bool) {
	if o, ok := best(a.query, offers); ok {
		return o, true
	}
	return best(a.header, offers)
}

// best weighs each offer by the most specific range that matches it. Among
// equals the range named first wins, then the offer named first.
func best(ranges []mediaRange, offers []offer) (offer, bool) {
	chosen, quality, place := -1, 0, 0
	for i, o := range offers {
		matched, specific := -1, 0
		for j, m := range ranges {
			if s := m.match(o); s > specific {
				matched, specific = j, s
			}
		}
		if matched < 0 || ranges[matched].quality == 0 {
			continue
		}
		q := ranges[matched].quality
		if chosen < 0 || q > quality || q == quality && matched < place {
			chosen, quality, place = i, q, matched
		}
	}
	if chosen < 0 {
		return offer{}, false
	}
	return offers[chosen], true
}

// match says how specifically m names o; 0 means not at all.
func (m mediaRange) match(o offer) int {
	if !m.any && m.multipart != o.multipart {
		return 0
	}
	major, minor, _ := strings.Cut(o.media, "/")
	specific := 1
	switch {
	case m.major == "*":
	case m.major != major:
		return 0
	case m.minor == "*":
		specific = 4
	case m.minor != minor:
		return 0
	default:
		specific = 7
	}
	if m.multipart {
		specific++ // multipart/related is narrower than */*
	}
	if o.syntax == "" {
		return specific
	}
	switch m.syntax {
	case "":
		if !o.standard {
			return 0
		}
	case "*":
		if !o.stored {
			return 0
		}
	case o.syntax:
		specific++
	default:
		return 0
	}
	return specific
}

// parseAccept reads a comma-separated list of media ranges. Slips that clients
// are known for are let through: unquoted type=application/dicom, "*" for
// "*/*" (Java's HttpURLConnection), empty elements.
func parseAccept(list string) ([]mediaRange, error) {
	var ranges []mediaRange
	s := scanner{rest: list}
	for {
		s.space()
		if s.rest == "" {
			return ranges, nil
		}
		if s.skip(',') {
			continue
		}
		m, err := s.mediaRange()
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, m)
		s.space()
		if s.rest != "" && !s.skip(',') {
			return nil, errSyntax
		}
	}
}

var errSyntax = badRequest("the list of media types has a syntax error")

// scanner walks over a header field value.
type scanner struct{ rest string }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) skip(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// until cuts off what stands before the first of the stop characters.
func (s *scanner) until(stops string) string {
	i := strings.IndexAny(s.rest, stops)
	if i < 0 {
		i = len(s.rest)
	}
	word := s.rest[:i]
	s.rest = s.rest[i:]
	return word
}

// mediaRange reads type/subtype and its parameters, up to a comma or the end.
func (s *scanner) mediaRange() (mediaRange, error) {
	m := mediaRange{quality: 1000}
	major, minor, err := splitMedia(s.until(" \t;,"))
	if err != nil {
		return m, err
	}
	m.major, m.minor = major, minor
	m.any = major == "*"
	if major == "multipart" {
		if minor != "related" && minor != "*" {
			// Another multipart type: kept, but it names nothing that is offered.
			minor = ""
		}
		m.multipart = true
		m.major, m.minor = "*", "*"
		if minor == "" {
			m.major, m.minor = "", ""
		}
	}
	for {
		s.space()
		if !s.skip(';') {
			return m, nil
		}
		s.space()
		if s.rest == "" || s.rest[0] == ';' || s.rest[0] == ',' {
			continue // an empty parameter
		}
		name, value, err := s.parameter()
		if err != nil {
			return m, err
		}
		switch strings.ToLower(name) {
		case "q":
			if m.quality, err = parseQuality(value); err != nil {
				return m, err
			}
		case "type":
			if m.multipart && m.major != "" {
				if m.major, m.minor, err = splitMedia(value); err != nil {
					return m, err
				}
			}
		case "transfer-syntax":
			if value != "*" && !isUID(value) {
				return m, badRequest("a transfer-syntax is neither a UID nor *")
			}
			m.syntax = value
		}
	}
}

// parameter reads name=value; the value may be a quoted string.
func (s *scanner) parameter() (name, value string, err error) {
	name = strings.TrimRight(s.until("=;,"), " \t")
	if name == "" || !s.skip('=') {
		return "", "", errSyntax
	}
	s.space()
	if !s.skip('"') {
		return name, s.until(" \t;,"), nil
	}
	var b strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return name, b.String(), nil
		case '\\':
			if i++; i == len(s.rest) {
				return "", "", errSyntax
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errSyntax
}

func splitMedia(s string) (major, minor string, err error) {
	s = strings.ToLower(s)
	if s == "*" {
		return "*", "*", nil
	}
	major, minor, ok := strings.Cut(s, "/")
	if !ok || !isToken(major) || !isToken(minor) || major == "*" && minor != "*" {
		return "", "", errSyntax
	}
	return major, minor, nil
}

// parseQuality reads a weight (RFC 9110 12.4.2) into thousandths; ".5" passes.
func parseQuality(s string) (int, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 3 || whole != "0" && whole != "1" && (whole != "" || fraction == "") {
		return 0, errSyntax
	}
	q := 0
	for i := range 3 {
		q *= 10
		if i < len(fraction) {
			if fraction[i] < '0' || fraction[i] > '9' {
				return 0, errSyntax
			}
			q += int(fraction[i] - '0')
		}
	}
	if whole == "1" {
		if q != 0 {
			return 0, errSyntax
		}
		q = 1000
	}
	return q, nil
}

// isToken reports whether s is a token of RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isUID checks the form of a UID: at most 64 digits and dots (PS3.5 9.1).
func isUID(s string) bool {
	for i := range len(s) {
		if s[i] != '.' && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// acceptOf reads what the request takes.
func acceptOf(r *http.Request, queries []string) (acceptable, error) {
	return parseAcceptable(queries, r.Header.Values("Accept"))
}
