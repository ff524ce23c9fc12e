package wado

import (
	"net/http"
	"testing"
)

func TestParseRange(t *testing.T) {
	const size = 1000
	whole := byteRange{0, size}
	for _, c := range []struct {
		field       string
		want        byteRange
		ok          bool
		satisfiable bool
	}{
		{"bytes=0-0", byteRange{0, 1}, true, true},
		{"bytes=0-", whole, true, true},
		{"bytes=0-999", whole, true, true},
		{"bytes=0-1000", whole, true, true},
		{"bytes=999-", byteRange{999, 1}, true, true},
		{"bytes=999-999", byteRange{999, 1}, true, true},
		{"bytes=500-599", byteRange{500, 100}, true, true},
		{"bytes=-1", byteRange{999, 1}, true, true},
		{"bytes=-5000", whole, true, true},
		{"bytes=-0", byteRange{}, true, false},
		{"bytes=1000-", byteRange{}, true, false},
		{"bytes=1000-2000", byteRange{}, true, false},
		{"bytes=99999999999999999999-", byteRange{}, true, false},
		{"bytes=0-99999999999999999999", whole, true, true},
		{"Bytes=1-2", byteRange{1, 2}, true, true},
		{"bytes= 1-2 ", byteRange{1, 2}, true, true},
		{"bytes=2-1", byteRange{}, false, false},
		{"bytes=0-1,5-6", byteRange{}, false, false},
		{"bytes=", byteRange{}, false, false},
		{"bytes=-", byteRange{}, false, false},
		{"bytes=a-b", byteRange{}, false, false},
		{"bytes=1", byteRange{}, false, false},
		{"bytes=+1-2", byteRange{}, false, false},
		{"bytes=1--2", byteRange{}, false, false},
		{"lines=1-2", byteRange{}, false, false},
		{"0-1", byteRange{}, false, false},
	} {
		got, ok, satisfiable := parseRange(c.field, size)
		if ok != c.ok || ok && satisfiable != c.satisfiable || ok && satisfiable && got != c.want {
			t.Errorf("parseRange(%q) = %v, %v, %v; want %v, %v, %v", c.field, got, ok, satisfiable, c.want, c.ok, c.satisfiable)
		}
	}
	if _, ok, satisfiable := parseRange("bytes=0-", 0); !ok || satisfiable {
		t.Error("a range of nothing is satisfiable")
	}
}

func TestPreconditions(t *testing.T) {
	const tag = `"abc"`
	for _, c := range []struct {
		name, value string
		want        condition
	}{
		{"If-None-Match", `"abc"`, notModified},
		{"If-None-Match", `W/"abc"`, notModified},
		{"If-None-Match", `"x", "abc"`, notModified},
		{"If-None-Match", `*`, notModified},
		{"If-None-Match", `"x"`, proceed},
		{"If-Match", `"abc"`, proceed},
		{"If-Match", `*`, proceed},
		{"If-Match", `W/"abc"`, preconditionFailed},
		{"If-Match", `"x"`, preconditionFailed},
		{"Accept", `"x"`, proceed},
	} {
		if got := checkConditions(http.Header{c.name: {c.value}}, tag); got != c.want {
			t.Errorf("%s: %s gives %d, want %d", c.name, c.value, got, c.want)
		}
	}
	if checkConditions(http.Header{"If-None-Match": {`""`}}, "") != proceed {
		t.Error("a representation without a tag matched one")
	}
}

func TestIfRangeNeedsTheSameStrongTag(t *testing.T) {
	for _, c := range []struct {
		value, tag string
		want       bool
	}{
		{"", `"abc"`, true}, {`"abc"`, `"abc"`, true}, {`W/"abc"`, `"abc"`, false},
		{`"x"`, `"abc"`, false}, {"Mon, 23 Nov 2026 05:00:00 GMT", `"abc"`, false}, {`"abc"`, "", false},
	} {
		h := http.Header{}
		if c.value != "" {
			h.Set("If-Range", c.value)
		}
		if got := rangeApplies(h, c.tag); got != c.want {
			t.Errorf("If-Range %q of %q = %v", c.value, c.tag, got)
		}
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-5", int64(10))
	f.Add("bytes=-5", int64(0))
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 {
			return
		}
		r, ok, satisfiable := parseRange(field, size)
		if ok && satisfiable && (r.offset < 0 || r.length <= 0 || r.offset > size-r.length) {
			t.Fatalf("%q of %d gives %v", field, size, r)
		}
	})
}
