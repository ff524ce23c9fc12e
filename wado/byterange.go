package wado

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// byteRange is the part of a representation that is sent.
type byteRange struct{ offset, length int64 }

func (b byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(b.offset, 10) + "-" +
		strconv.FormatInt(b.offset+b.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// parseRange reads a Range field (RFC 9110 14.2) against a representation of
// size bytes. It reports ok=false where the field must be ignored: another
// unit, a syntax error, or several ranges, which a server may answer with the
// whole. A range that lies outside is satisfiable=false.
func parseRange(field string, size int64) (r byteRange, ok, satisfiable bool) {
	unit, set, found := strings.Cut(field, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(set, ",") {
		return byteRange{}, false, false
	}
	first, last, found := strings.Cut(strings.Trim(set, " \t"), "-")
	if !found {
		return byteRange{}, false, false
	}
	if first == "" { // the last bytes
		n, valid := parsePosition(last)
		if !valid {
			return byteRange{}, false, false
		}
		n = min(n, size)
		return byteRange{size - n, n}, true, n > 0
	}
	from, valid := parsePosition(first)
	if !valid {
		return byteRange{}, false, false
	}
	to := size - 1
	if last != "" {
		end, valid := parsePosition(last)
		if !valid || end < from {
			return byteRange{}, false, false
		}
		to = min(end, to)
	}
	return byteRange{from, to - from + 1}, true, from < size
}

// parsePosition reads digits; more than an int64 holds is "very far".
func parsePosition(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// condition is what the preconditions of a request come to (RFC 9110 13.2.2).
type condition int

const (
	proceed condition = iota
	notModified
	preconditionFailed
)

// checkConditions evaluates If-Match and If-None-Match against a strong etag,
// "" when the representation has none.
func checkConditions(h http.Header, etag string) condition {
	if field := h.Values("If-Match"); len(field) > 0 && !listsETag(field, etag, false) {
		return preconditionFailed
	}
	if field := h.Values("If-None-Match"); len(field) > 0 && listsETag(field, etag, true) {
		return notModified
	}
	return proceed
}

// rangeApplies evaluates If-Range: only the same strong etag lets a range be
// sent. There is no Last-Modified, so a date never matches.
func rangeApplies(h http.Header, etag string) bool {
	field := strings.TrimSpace(h.Get("If-Range"))
	return field == "" || etag != "" && field == etag
}

// listsETag reports whether a list of entity tags holds etag; weak says that
// W/ does not matter.
func listsETag(fields []string, etag string, weak bool) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" {
				return true
			}
			if weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			if etag != "" && tag == etag {
				return true
			}
		}
	}
	return false
}
