package wado_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/wado"
)

// still is a small endoscopic image; values are tags and strings in turn.
func still(study, series, uid string, values ...any) *dicom.DataSet {
	d := new(dicom.DataSet)
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 100")
	d.SetString(dict.SOPClassUID, dict.UIDVLEndoscopicImageStorage)
	d.SetString(dict.SOPInstanceUID, uid)
	d.SetString(dict.StudyInstanceUID, study)
	d.SetString(dict.SeriesInstanceUID, series)
	d.SetString(dict.Modality, "ES")
	d.SetInt(dict.Rows, 2)
	d.SetInt(dict.Columns, 3)
	d.SetInt(dict.SamplesPerPixel, 1)
	d.SetInt(dict.BitsAllocated, 8)
	d.SetBytes(dict.PixelData, dict.OB, []byte{1, 2, 3, 4, 5, 6})
	for i := 0; i < len(values); i += 2 {
		d.SetString(values[i].(dicom.Tag), values[i+1].(string))
	}
	return d
}

// putSet stores a data set in Explicit VR Little Endian.
func (f *fixture) putSet(d *dicom.DataSet) {
	f.t.Helper()
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := d.Encode(ts)
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = f.archive.Archive.Ingest(f.t.Context(), access.System(access.DefaultTenant, "test"),
		store.Request{ID: "test", Protocol: "C-STORE"}, store.Incoming{TransferSyntax: ts}, bytes.NewReader(data))
	if err != nil {
		f.t.Fatal(err)
	}
}

// clinic stores three studies of two patients: 1.1 (two series, three
// instances), 1.2 and 2.1 (one each).
func clinic(f *fixture) {
	anna := []any{dict.PatientName, "Müller^Anna", dict.PatientID, "A1", dict.PatientSex, "F", dict.StudyDate, "20260105",
		dict.StudyTime, "101500", dict.AccessionNumber, "ACC-1", dict.PatientComments, "Koloskopie", dict.ReferringPhysicianName, "Weber^Kai"}
	f.putSet(still("1.1", "1.1.1", "1.1.1.1", append(anna, dict.SeriesNumber, "1", dict.InstanceNumber, "1", dict.SeriesDescription, "Stills")...))
	f.putSet(still("1.1", "1.1.1", "1.1.1.2", append(anna, dict.SeriesNumber, "1", dict.InstanceNumber, "2")...))
	f.putSet(still("1.1", "1.1.2", "1.1.2.1", append(anna, dict.SeriesNumber, "2", dict.InstanceNumber, "1", dict.Modality, "SR")...))
	f.putSet(still("1.2", "1.2.1", "1.2.1.1", dict.PatientName, "Müller^Anna", dict.PatientID, "A1", dict.StudyDate, "20260201"))
	f.putSet(still("2.1", "2.1.1", "2.1.1.1", dict.PatientName, "Schmidt^Bernd", dict.PatientID, "B2", dict.StudyDate, "20260301"))
}

// found are the UIDs of a search's matches, of the level that is searched.
func found(t *testing.T, a answer, tag string) []string {
	t.Helper()
	if a.status == 204 {
		return nil
	}
	var list []jsonObject
	if err := json.Unmarshal(a.body, &list); err != nil {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	var uids []string
	for _, o := range list {
		uids = append(uids, strings.Trim(string(o[tag].Value[0]), `"`))
	}
	slices.Sort(uids)
	return uids
}

func TestSearches(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	const study, series, instance = "0020000D", "0020000E", "00080018"
	for _, c := range []struct {
		path, tag, want string // want: UIDs separated by blanks
	}{
		{"/studies", study, "1.1 1.2 2.1"},
		{"/studies?PatientID=A1", study, "1.1 1.2"},
		{"/studies?00100020=B2", study, "2.1"},
		{"/studies?PatientID=a1", study, ""},
		{"/studies?PatientName=M%C3%BCller*", study, "1.1 1.2"},
		{"/studies?PatientName=*ANNA", study, "1.1 1.2"},
		{"/studies?PatientName=*bernd&StudyDate=20260101-20260401", study, "2.1"},
		{"/studies?StudyDate=20260105", study, "1.1"},
		{"/studies?StudyDate=20260106-", study, "1.2 2.1"},
		{"/studies?StudyDate=-20260201", study, "1.1 1.2"},
		{"/studies?AccessionNumber=ACC-?", study, "1.1"},
		{"/studies?ModalitiesInStudy=SR", study, "1.1"},
		{"/studies?StudyInstanceUID=1.2,2.1", study, "1.2 2.1"},
		{"/studies?StudyInstanceUID=1.2%5C2.1", study, "1.2 2.1"},
		{"/studies?StudyInstanceUID=9.9", study, ""},
		{"/studies?PatientName=*", study, "1.1 1.2 2.1"},
		{"/studies?PatientName=", study, "1.1 1.2 2.1"},
		{"/studies?PatientName=mueler+anna&fuzzymatching=true", study, "1.1 1.2"},
		{"/studies?PatientName=mueler+anna", study, ""},
		{"/studies?limit=5&offset=3", study, ""},
		{"/studies?StudyDate=20260104-20260105&StudyTime=1100-1030", study, "1.1"}, // from one moment to another
		{"/studies?StudyDate=20260105-20260106&StudyTime=1030-1100", study, ""},
		{"/studies/1.1/series?StudyInstanceUID=1.1", series, "1.1.1 1.1.2"},
		{"/series", series, "1.1.1 1.1.2 1.2.1 2.1.1"},
		{"/series?Modality=SR", series, "1.1.2"},
		{"/series?StudyInstanceUID=1.1", series, "1.1.1 1.1.2"},
		{"/series?PatientID=B2", series, "2.1.1"},
		{"/studies/1.1/series", series, "1.1.1 1.1.2"},
		{"/studies/1.1/series?SeriesNumber=2", series, "1.1.2"},
		{"/studies/9.9/series", series, ""},
		{"/instances", instance, "1.1.1.1 1.1.1.2 1.1.2.1 1.2.1.1 2.1.1.1"},
		{"/instances?SOPInstanceUID=1.1.1.2", instance, "1.1.1.2"},
		{"/studies/1.1/instances", instance, "1.1.1.1 1.1.1.2 1.1.2.1"},
		{"/studies/1.1/instances?InstanceNumber=1", instance, "1.1.1.1 1.1.2.1"},
		{"/studies/1.1/series/1.1.1/instances", instance, "1.1.1.1 1.1.1.2"},
		{"/studies/1.1/series/1.2.1/instances", instance, ""},
	} {
		a := f.get(c.path)
		want := strings.Fields(c.want)
		if got := found(t, a, c.tag); !slices.Equal(got, want) {
			t.Errorf("GET %s: %d %v, want %v", c.path, a.status, got, want)
		}
		switch {
		case len(want) == 0 && (a.status != 204 || len(a.body) > 0):
			t.Errorf("GET %s: status %d with %d bytes", c.path, a.status, len(a.body))
		case len(want) > 0 && (a.status != 200 || a.header.Get("Content-Type") != "application/dicom+json" ||
			a.header.Get("Content-Length") != strconv.Itoa(len(a.body))):
			t.Errorf("GET %s: status %d, %v", c.path, a.status, a.header)
		}
		if a.header.Get("Warning") != "" {
			t.Errorf("GET %s: Warning %s", c.path, a.header.Get("Warning"))
		}
	}
}

// A time zone says how the dates of a query are meant; it is no key.
func TestTimeZonesDoNotMatch(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	a := f.get("/studies?StudyDate=20260105&TimezoneOffsetFromUTC=%2B0100")
	if got := found(t, a, "0020000D"); !slices.Equal(got, []string{"1.1"}) || a.header.Get("Warning") == "" {
		t.Errorf("status %d, %v, Warning %q", a.status, got, a.header.Get("Warning"))
	}
}

func TestWhatASearchReturns(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	one := func(path string) jsonObject {
		t.Helper()
		var list []jsonObject
		a := f.get(path)
		if err := json.Unmarshal(a.body, &list); err != nil || len(list) != 1 {
			t.Fatalf("GET %s: status %d: %s", path, a.status, a.body)
		}
		return list[0]
	}
	has := func(o jsonObject, tag, value string) {
		t.Helper()
		if got := o[tag]; len(got.Value) != 1 || string(got.Value[0]) != value {
			t.Errorf("%s is %s, want %s", tag, got.Value, value)
		}
	}
	study := one("/studies?StudyInstanceUID=1.1")
	for tag, value := range map[string]string{
		"00080005": `"ISO_IR 192"`, "00080020": `"20260105"`, "00080030": `"101500"`, "00080050": `"ACC-1"`, "00080056": `"ONLINE"`,
		"00080090": `{"Alphabetic":"Weber^Kai"}`, "00081190": `"` + f.base + `/studies/1.1"`, "00100010": `{"Alphabetic":"Müller^Anna"}`,
		"00100020": `"A1"`, "00100040": `"F"`, "0020000D": `"1.1"`, "00201206": "2", "00201208": "3",
	} {
		has(study, tag, value)
	}
	if m := study["00080061"].Value; len(m) != 2 || string(m[0]) != `"ES"` || string(m[1]) != `"SR"` {
		t.Errorf("modalities %s", m)
	}
	for _, query := range []string{"PatientName=*", "PatientName=", "ImageComments=x", "InstanceNumber=1", "includefield=PatientComments"} {
		o := one("/studies?StudyInstanceUID=1.1&" + query) // none of them takes the defaults away
		has(o, "00080020", `"20260105"`)
		has(o, "00100020", `"A1"`)
		has(o, "00201208", "3")
	}
	if _, ok := study["00104000"]; ok {
		t.Error("the comment was returned unasked")
	}
	has(one("/studies?StudyInstanceUID=1.1&includefield=PatientComments"), "00104000", `"Koloskopie"`)
	has(one("/studies?StudyInstanceUID=1.1&includefield=00104000"), "00104000", `"Koloskopie"`)
	has(one("/studies?StudyInstanceUID=1.1&includefield=all"), "00104000", `"Koloskopie"`)
	has(one("/studies?PatientComments=Kolo*"), "00104000", `"Koloskopie"`)

	series := one("/studies/1.1/series?SeriesNumber=1")
	has(series, "0008103E", `"Stills"`)
	has(series, "00201209", "2")
	has(series, "00081190", `"`+f.base+`/studies/1.1/series/1.1.1"`)
	if _, ok := series["00100010"]; ok {
		t.Error("the name was returned though the study is named")
	}
	has(one("/series?SeriesInstanceUID=1.1.1"), "00100010", `{"Alphabetic":"Müller^Anna"}`)

	instance := one("/studies/1.1/series/1.1.1/instances?InstanceNumber=2")
	has(instance, "00080016", `"`+dict.UIDVLEndoscopicImageStorage+`"`)
	has(instance, "00280010", "2")
	has(instance, "00081190", `"`+f.base+`/studies/1.1/series/1.1.1/instances/1.1.1.2"`)
}

func TestLimitsOfASearch(t *testing.T) {
	f := newFixture(t, func(c *wado.Config) { c.Limits.Matches = 2; c.BaseURL = "https://pacs.example/dicom-web/" })
	clinic(f)
	for _, c := range []struct {
		path    string
		matches int
		warning bool
	}{
		{"/studies", 2, true},
		{"/studies?limit=1", 1, true},
		{"/studies?limit=2", 2, true},
		{"/studies?limit=1000", 2, true},
		{"/studies?offset=1", 2, false},
		{"/studies?offset=2&limit=1", 1, false},
		{"/studies?PatientID=A1", 2, false},
		{"/instances", 2, true},
		{"/studies/1.1/instances", 3, false},
		{"/instances?StudyInstanceUID=1.1", 3, false},
		{"/studies/1.1/instances?limit=2", 2, true},
		{"/studies/1.1/instances?limit=3", 3, false},
	} {
		a := f.get(c.path)
		var list []jsonObject
		if err := json.Unmarshal(a.body, &list); err != nil || len(list) != c.matches {
			t.Errorf("GET %s: status %d, %d matches, want %d", c.path, a.status, len(list), c.matches)
		}
		if warning := a.header.Get("Warning"); (warning != "") != c.warning || c.warning && !strings.HasPrefix(warning, `299 lumen "`) {
			t.Errorf("GET %s: Warning %q", c.path, warning)
		}
	}
	if a := f.get("/studies?limit=1"); !strings.Contains(string(a.body), `"https://pacs.example/dicom-web/studies/`) {
		t.Errorf("the base URL is not in %s", a.body)
	}
}

func TestKeysThatAreNotMatchedOnAreWarnedOf(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	for _, query := range []string{"ImageComments=x", "InstanceNumber=1", "RequestAttributesSequence.RequestedProcedureID=x", "00091001=x", "_=1", "includefield=00091001"} {
		a := f.get("/studies?" + query)
		if a.status != 200 || !strings.Contains(a.header.Get("Warning"), "were ignored") {
			t.Errorf("%s: status %d, Warning %q", query, a.status, a.header.Get("Warning"))
		}
	}
}

// PS3.18 8.3.4.4.1: none of the matches is a result, and then the answer is 204.
func TestALimitOfZeroReturnsNothing(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	if a := f.get("/studies?limit=0"); a.status != 204 || len(a.body) > 0 {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

func TestSearchesThatAreRefused(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	for _, c := range []struct {
		path, accept string
		status       int
	}{
		{"/studies?limit=-1", "", 400},
		{"/studies?StudyDate=yesterday", "", 400},
		{"/studies?PatientName=%ff", "", 400},
		{"/studies/1.1/series?StudyInstanceUID=1.2", "", 400},
		{"/studies/x/series", "", 400},
		{"/studies", "application/dicom", 406},
		{"/studies", "application/dicom+xml", 406},
		{"/studies", "a/b;;q", 400},
		{"/studies", "application/json", 200},
		{"/studies?accept=application/json", "text/html", 200},
	} {
		var header []string
		if c.accept != "" {
			header = []string{"Accept", c.accept}
		}
		a := f.get(c.path, header...)
		if a.status != c.status || a.header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("GET %s as %q: status %d, %v", c.path, c.accept, a.status, a.header)
		}
		if a.header.Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: %q", c.path, a.header.Get("Content-Type"))
		}
	}
}

func TestAHeadRequestOfASearchHasNoBody(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	a := f.do(http.MethodHead, "/studies", nil)
	if a.status != 200 || len(a.body) > 0 || a.header.Get("Content-Length") == "" {
		t.Errorf("status %d, %d bytes, %v", a.status, len(a.body), a.header)
	}
}
