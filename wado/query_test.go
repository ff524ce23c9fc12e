package wado

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

func TestParseSearch(t *testing.T) {
	key := func(value string, path ...dicom.Tag) searchKey { return searchKey{path, value} }
	for _, c := range []struct {
		name, raw string
		want      searchParameters
	}{
		{"nothing", "", searchParameters{}},
		{"empty pairs", "&&", searchParameters{}},
		{"by keyword", "PatientID=1", searchParameters{keys: []searchKey{key("1", dict.PatientID)}}},
		{"by tag", "00100020=1", searchParameters{keys: []searchKey{key("1", dict.PatientID)}}},
		{"by tag in lower case", "0020000d=1.2", searchParameters{keys: []searchKey{key("1.2", dict.StudyInstanceUID)}}},
		{"without a value", "PatientName", searchParameters{keys: []searchKey{key("", dict.PatientName)}}},
		{"percent encoding and plus", "PatientName=M%C3%BCller%5E*+x", searchParameters{keys: []searchKey{key("Müller^* x", dict.PatientName)}}},
		{"a list of UIDs", "StudyInstanceUID=1.2,1.3", searchParameters{keys: []searchKey{key(`1.2\1.3`, dict.StudyInstanceUID)}}},
		{"a comma in a name", "PatientName=a,b", searchParameters{keys: []searchKey{key("a,b", dict.PatientName)}}},
		{"into a sequence", "00400275.00401001=x", searchParameters{keys: []searchKey{key("x", dict.RequestAttributesSequence, dict.RequestedProcedureID)}}},
		{"into a sequence by keyword", "RequestAttributesSequence.RequestedProcedureID=x",
			searchParameters{keys: []searchKey{key("x", dict.RequestAttributesSequence, dict.RequestedProcedureID)}}},
		{"limit and offset", "limit=10&offset=20", searchParameters{limit: 10, offset: 20}},
		{"offset zero", "offset=0", searchParameters{}},
		{"fuzzy", "fuzzymatching=true", searchParameters{fuzzy: true}},
		{"not fuzzy", "fuzzymatching=FALSE", searchParameters{}},
		{"matching variants that are not asked for", "emptyvaluematching=false&multiplevaluematching=false", searchParameters{}},
		{"include repeated, listed and nested", "includefield=PatientID,00081030&includefield=00400275.00401001",
			searchParameters{include: []dicom.Tag{dict.PatientID, dict.StudyDescription, dict.RequestAttributesSequence}}},
		{"include all", "includefield=all", searchParameters{all: true}},
		{"accept", "accept=application/json", searchParameters{accept: []string{"application/json"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseSearch(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got.keys, c.want.keys, func(a, b searchKey) bool { return samePath(a.path, b.path) && a.value == b.value }) {
				t.Errorf("keys = %v, want %v", got.keys, c.want.keys)
			}
			if !slices.Equal(got.include, c.want.include) || got.all != c.want.all || got.limit != c.want.limit ||
				got.offset != c.want.offset || got.fuzzy != c.want.fuzzy || !slices.Equal(got.accept, c.want.accept) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestBadSearchesAreRefused(t *testing.T) {
	many := strings.Repeat("includefield=PatientID&", maxSearchKeys+1)
	for _, c := range []struct {
		raw  string
		want error
	}{
		{"PatientID=1&00100020=2", errTwice},
		{"limit=-1", errLimit}, {"limit=x", errLimit}, {"limit=", errLimit}, {"limit=99999999999", errLimit},
		{"offset=-1", errOffset}, {"offset=1.5", errOffset},
		{"fuzzymatching=maybe", errBoolean},
		{"includefield=", errIncludeField}, {"includefield=all,(0010,0020)", errIncludeField},
		{"includefield=PatientID.PatientName", errIncludeField},
		{"PatientID=%zz", errEscape}, {"PatientID=%ff", errEscape}, {"PatientID=a%00", errEscape}, {"PatientID=a%0a", errEscape},
		{many, errTooManyKeys},
	} {
		_, err := parseSearch(c.raw)
		if !errors.Is(err, c.want) {
			t.Errorf("parseSearch(%.40q) = %v, want %v", c.raw, err, c.want)
		}
		if answerTo(err).status != http.StatusBadRequest {
			t.Errorf("parseSearch(%.40q) is not a bad request", c.raw)
		}
	}
	if _, err := parseSearch(strings.TrimSuffix(strings.TrimPrefix(many, "includefield=PatientID&"), "&")); err != nil {
		t.Errorf("as many attributes as allowed: %v", err)
	}
}

// PS3.18 8.3: a server ignores the parameters that it does not support.
func TestUnsupportedParametersAreIgnored(t *testing.T) {
	for _, raw := range []string{
		"patientid=1", "Foo=1", "=1", "0010002=1", "00091001=x", "PatientID.PatientName=1", "RequestAttributesSequence.=1",
		"_=1732", "orderby=-StudyDate", "emptyvaluematching=true", "multiplevaluematching=true", "emptyvaluematching=x",
		"includefield=Foo", "includefield=00091001", "includefield=00091001,AttributeOfTomorrow",
	} {
		p, err := parseSearch(raw + "&limit=3")
		if err != nil || !p.ignored || p.limit != 3 || len(p.keys)+len(p.include) != 0 {
			t.Errorf("parseSearch(%q) = %+v, %v", raw, p, err)
		}
	}
	for _, raw := range []string{"PatientID=1&fuzzymatching=true", "emptyvaluematching=false", "includefield=all"} {
		if p, err := parseSearch(raw); err != nil || p.ignored {
			t.Errorf("parseSearch(%q) = %+v, %v", raw, p, err)
		}
	}
}

func FuzzSearch(f *testing.F) {
	f.Add("PatientName=A*&StudyDate=20200101-20201231&limit=5&offset=1&includefield=all,00100010&fuzzymatching=true")
	f.Add("00400275.00401001=%41&accept=*/*&&=")
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := parseSearch(raw)
		if err != nil {
			if answerTo(err).status != http.StatusBadRequest {
				t.Fatalf("status %d", answerTo(err).status)
			}
			return
		}
		if len(p.keys)+len(p.include) > maxSearchKeys || p.limit < 0 || p.offset < 0 {
			t.Fatalf("%+v", p)
		}
		for i, k := range p.keys {
			if len(k.path) == 0 {
				t.Fatal("a key without an attribute")
			}
			for _, other := range p.keys[:i] {
				if samePath(other.path, k.path) {
					t.Fatal("an attribute twice")
				}
			}
		}
	})
}

func TestParseFrameList(t *testing.T) {
	for list, want := range map[string][]int{
		"1": {1}, "3,1,2": {3, 1, 2}, "2147483647": {2147483647},
		"": nil, "0": nil, "1,": nil, ",1": nil, "1,1": nil, "a": nil, "-1": nil, "+1": nil, " 1": nil, "1-2": nil, "2147483648": nil,
	} {
		got, err := parseFrameList(list)
		if (err == nil) != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("parseFrameList(%q) = %v, %v", list, got, err)
		}
	}
}

func TestParseElementPath(t *testing.T) {
	for s, want := range map[string]elementPath{
		"7FE00010":            {{dict.PixelData, 0}},
		"7fe00010":            {{dict.PixelData, 0}},
		"00540016/2/00020018": {{0x00540016, 2}, {0x00020018, 0}},
		"":                    nil, "7FE0001": nil, "7FE000100": nil, "(7FE0,0010)": nil, "00540016/2": nil,
		"00540016/0/00020018": nil, "00540016/x/00020018": nil, "00540016//00020018": nil, "/7FE00010": nil,
		strings.Repeat("00540016/1/", 17) + "00020018": nil,
	} {
		got, err := parseElementPath(s)
		if (err == nil) != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("parseElementPath(%q) = %v, %v", s, got, err)
		}
	}
}
