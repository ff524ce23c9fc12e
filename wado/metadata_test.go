package wado_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// attribute is an attribute of the DICOM JSON model.
type attribute struct {
	VR           string            `json:"vr"`
	Value        []json.RawMessage `json:",omitempty"`
	InlineBinary string            `json:",omitempty"`
	BulkDataURI  string            `json:",omitempty"`
}

type jsonObject map[string]attribute

// checkMetadata: metadata is what dcm2json writes, apart from what dcm2json
// cannot read, which is compressed pixel data among others, and from what
// follows the pixel data.
func checkMetadata(t *testing.T) fileCheck {
	peer(t, "dcm2json")
	compared, bulk := 0, 0
	return fileCheck{check: func(f *fixture, i instance) {
		out, err := exec.CommandContext(t.Context(), "dcm2json", "-q", i.file).Output()
		var want jsonObject
		if err != nil || json.Unmarshal(out, &want) != nil {
			return
		}
		a := f.get(i.path() + "/metadata")
		if a.status != 200 || a.header.Get("Content-Type") != "application/dicom+json" {
			t.Errorf("%s: status %d: %s", i.file, a.status, a.body)
			return
		}
		var list []jsonObject
		if err := json.Unmarshal(a.body, &list); err != nil || len(list) != 1 {
			t.Fatalf("%s: %d objects, %v", i.file, len(list), err)
		}
		compared++
		c := comparison{t: t, f: f, file: i.file}
		c.objects("", list[0], want)
		bulk += c.bulk
	}, done: func() {
		if compared < 100 || bulk < 100 {
			t.Errorf("only %d files and %d bulk data values compared", compared, bulk)
		}
	}}
}

// comparison compares metadata with another program's.
type comparison struct {
	t    *testing.T
	f    *fixture
	file string
	bulk int // values fetched
}

func (c *comparison) objects(at string, got, want jsonObject) {
	for tag, w := range want {
		g, ok := got[tag]
		switch {
		case tag > "7FE00010":
		case g.VR == "UN" && private(tag): // DCMTK has a dictionary of private attributes
		case w.VR == "UN" && ok && g.VR == dictionaryVR(tag): // came as UN
		case !ok || g.VR != w.VR:
			c.t.Errorf("%s: %s%s is %q, not %q", c.file, at, tag, g.VR, w.VR)
		default:
			c.attributes(at+tag, g, w)
		}
	}
	for tag, g := range got {
		if _, ok := want[tag]; !ok {
			c.t.Errorf("%s: %s%s %s is too much", c.file, at, tag, g.VR)
		}
	}
}

func (c *comparison) attributes(at string, got, want attribute) {
	if got.BulkDataURI != "" {
		c.bulk++
		a := c.f.get(strings.TrimPrefix(got.BulkDataURI, c.f.base))
		if base64.StdEncoding.EncodeToString(a.body) != want.InlineBinary {
			c.t.Errorf("%s: bulk data of %s differs: status %d, %d bytes", c.file, at, a.status, len(a.body))
		}
		return
	}
	if got.InlineBinary != want.InlineBinary || len(got.Value) != len(want.Value) {
		c.t.Errorf("%s: %s %s differs: %.80s, not %.80s", c.file, at, want.VR, got, want)
		return
	}
	for n := range got.Value {
		if want.VR == "SQ" {
			var g, w jsonObject
			if json.Unmarshal(got.Value[n], &g) != nil || json.Unmarshal(want.Value[n], &w) != nil {
				c.t.Errorf("%s: %s is no sequence", c.file, at)
			}
			c.objects(at+"/"+strconv.Itoa(n+1)+"/", g, w)
			continue
		}
		var g, w any
		json.Unmarshal(got.Value[n], &g)
		json.Unmarshal(want.Value[n], &w)
		if !reflect.DeepEqual(g, w) && !undecoded(got.Value[n]) && !nearly(want.VR, g, w) {
			c.t.Errorf("%s: %s %s is %.80s, not %.80s", c.file, at, want.VR, got.Value[n], want.Value[n])
		}
	}
}

// nearly allows for the digits that dcm2json writes of FL and FD: too many, and
// the last ones wrong.
func nearly(vr string, a, b any) bool {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	return ok1 && ok2 && (vr == "FL" && float32(x) == float32(y) || vr == "FD" && math.Abs(x-y) <= 1e-15*math.Abs(x))
}

// private reports whether a tag of eight digits is in an odd group.
func private(tag string) bool { return strings.Contains("13579BDF", tag[3:4]) }

// dictionaryVR is the VR of a tag of eight digits, if there is just one.
func dictionaryVR(tag string) string {
	n, err := strconv.ParseUint(tag, 16, 32)
	vr, or := dict.VRs(dicom.Tag(n))
	if err != nil || or != 0 {
		return ""
	}
	return vr.String()
}

// undecoded reports text of a character set that package dicom shows escaped.
func undecoded(value []byte) bool { return bytes.Contains(value, []byte(`\\`)) }
