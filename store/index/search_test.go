package index_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// model is what the index must agree with: maps, and the query asked of
// everything in them.
type model struct {
	studies map[string]*modelStudy
	where   map[string]*modelSeries // by instance
}

type modelStudy struct {
	entity store.Entity
	date   string
	series map[string]*modelSeries
}

type modelSeries struct {
	study  *modelStudy
	entity store.Entity
	rows   map[string]store.Row
}

func (m *model) remove(uid string) {
	s := m.where[uid]
	if s == nil {
		return
	}
	delete(s.rows, uid)
	delete(m.where, uid)
}

// sweep forgets what has become empty.
func (m *model) sweep() {
	for uid, study := range m.studies {
		for uid, s := range study.series {
			if len(s.rows) == 0 {
				delete(study.series, uid)
			}
		}
		if len(study.series) == 0 {
			delete(m.studies, uid)
		}
	}
}

func (m *model) put(r store.Row) {
	m.remove(r.SOPInstanceUID)
	study := m.studies[r.StudyInstanceUID]
	if study == nil {
		study = &modelStudy{series: map[string]*modelSeries{}, date: r.Received.Format("20060102150405")}
		study.entity = store.Entity{Level: store.StudyLevel, UID: r.StudyInstanceUID, Attributes: new(dicom.DataSet)}
		m.studies[r.StudyInstanceUID] = study
	}
	series := study.series[r.SeriesInstanceUID]
	if series == nil {
		series = &modelSeries{study: study, rows: map[string]store.Row{}}
		series.entity = store.Entity{Level: store.SeriesLevel, UID: r.SeriesInstanceUID, Attributes: new(dicom.DataSet)}
		study.series[r.SeriesInstanceUID] = series
	}
	for e := range r.Attributes.All() {
		into := study.entity.Attributes
		switch level, _ := store.AttributeLevel(e.Tag); {
		case e.Tag == dict.SpecificCharacterSet, level == store.InstanceLevel:
			continue
		case level == store.SeriesLevel:
			into = series.entity.Attributes
		}
		if into.Len() == 0 {
			into.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
		}
		if into.String(e.Tag) == "" {
			into.Set(e)
		}
	}
	series.rows[r.SOPInstanceUID] = r
	m.where[r.SOPInstanceUID] = series
	m.sweep()
}

// search returns every match, by the UIDs of its path.
func (m *model) search(q *store.Query) map[string]store.Match {
	found := map[string]store.Match{}
	for _, study := range m.studies {
		e := study.entity
		modalities, classes := map[string]bool{}, map[string]bool{}
		for _, s := range study.series {
			if v := s.entity.Attributes.String(dict.Modality); v != "" {
				modalities[v] = true
			}
			for _, r := range s.rows {
				classes[r.SOPClassUID] = true
				e.Instances++
			}
		}
		e.Series, e.Modalities, e.SOPClasses = len(study.series), sorted(modalities), sorted(classes)
		if !q.Matches(&e) {
			continue
		}
		if q.Level == store.StudyLevel {
			found[e.UID] = q.Assembly().Match(&e)
			continue
		}
		for _, s := range study.series {
			se := s.entity
			se.Instances = len(s.rows)
			if !q.Matches(&se) {
				continue
			}
			if q.Level == store.SeriesLevel {
				found[e.UID+" "+se.UID] = q.Assembly().Match(&e, &se)
				continue
			}
			for _, r := range s.rows {
				ie := store.Entity{Level: store.InstanceLevel, UID: r.SOPInstanceUID, Attributes: r.Attributes, TransferSyntax: r.TransferSyntaxUID}
				if q.Matches(&ie) {
					found[e.UID+" "+se.UID+" "+ie.UID] = q.Assembly().Match(&e, &se, &ie)
				}
			}
		}
	}
	return found
}

func sorted(set map[string]bool) []string {
	list := []string{}
	for v := range set {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

func key(m store.Match) string {
	return strings.TrimRight(m.StudyInstanceUID+" "+m.SeriesInstanceUID+" "+m.SOPInstanceUID, " ")
}

var (
	names      = []string{"", "Müller^Anna", "MULLER^ANNA^^", "Muller^Bo", "Yamada^Tarou=山田^太郎=やまだ^たろう", "O'Neill^S", "Åse", "a^b^c=d", "Yamada^Tarou"}
	ids        = []string{"", "7", "P 7", "p7", "0007"}
	dates      = []string{"", "2023-12-31", "20240131", "20240229", "20240301", "19991231", "2024.03.01", "garbage", "20240230"}
	times      = []string{"", "10", "1015", "101530.25", "235959", "24"}
	texts      = []string{"", "Coloscopy", "coloscopy total", "100% *special?", "x"}
	modalities = []string{"", "ES", "SR", "ES", "CT"}

	keyValues = map[dicom.Tag][]string{
		dict.PatientName:                {"müller*", "*anna", "*LL*", "Muller^Anna", "山田*", "M?ller^*", "a", "*^b*", "O'Neill^S", "*ø*", "yamada^tarou", "*=*", "=山田*", "yamada^tarou=*", "=*=*", "y*郎", "?*=?*", "meller", "smith^x", "mueller anna", "taro", "aase", "ann m*"},
		dict.PatientID:                  {"7", "*7", "P?7", `7\0007`, "none"},
		dict.AccessionNumber:            {"7", "0*", "p7"},
		dict.StudyDate:                  {"20240229", "20240229-20240301", "-20240229", "20240301-", "20250101-"},
		dict.StudyTime:                  {"10", "1000-1016", "-1015", "101530-", "2359"},
		dict.PatientBirthDate:           {"20240301", "-20240229"},
		dict.StudyDescription:           {"Coloscopy", "colo*", "*total*", "*x*", "100%*"},
		dict.StudyID:                    {"7", "?7"},
		dict.ModalitiesInStudy:          {"ES", `CT\SR`, "S*", "XX"},
		dict.SOPClassesInStudy:          {dict.UIDVLEndoscopicImageStorage, "1.2"},
		dict.ReferringPhysicianName:     {"åse", "m*", "*anna*"},
		dict.Modality:                   {"ES", "?R"},
		dict.SeriesNumber:               {"1", "2"},
		dict.InstanceNumber:             {"1", "3"},
		dict.StudyInstanceUID:           {"1.1", `1.2\1.3\9`},
		dict.SeriesInstanceUID:          {"1.1.1", `1.2.1\1.9.2`},
		dict.SOPInstanceUID:             {"1.1.1.1", `5.1\5.2\5.3`},
		dict.NumberOfStudyRelatedSeries: {""},
		dict.PatientSex:                 {""},
	}
)

func drawRow(t *rapid.T) store.Row {
	pick := func(list []string) string { return list[rapid.IntRange(0, len(list)-1).Draw(t, "value")] }
	study := rapid.IntRange(1, 12).Draw(t, "study")
	series := rapid.IntRange(1, 3).Draw(t, "series")
	instance := fmt.Sprintf("1.%d.%d.%d", study, series, rapid.IntRange(1, 4).Draw(t, "instance"))
	if rapid.IntRange(0, 4).Draw(t, "shared") == 0 {
		instance = fmt.Sprintf("5.%d", rapid.IntRange(1, 4).Draw(t, "instance"))
	}
	r := row(fmt.Sprintf("1.%d", study), fmt.Sprintf("1.%d.%d", study, series), instance, dict.SpecificCharacterSet, "ISO_IR 192")
	for _, a := range []struct {
		tag    dicom.Tag
		values []string
	}{
		{dict.PatientName, names}, {dict.PatientID, ids}, {dict.AccessionNumber, ids}, {dict.StudyID, ids},
		{dict.StudyDate, dates}, {dict.PatientBirthDate, dates}, {dict.StudyTime, times}, {dict.StudyDescription, texts},
		{dict.ReferringPhysicianName, names}, {dict.Modality, modalities},
		{dict.SeriesNumber, []string{"", "1", "2"}}, {dict.InstanceNumber, []string{"", "1", "3", "2"}},
	} {
		if rapid.Bool().Draw(t, "present") {
			r.Attributes.SetString(a.tag, pick(a.values))
		}
	}
	return r
}

func drawQuery(t *rapid.T) *store.Query {
	q := store.NewQuery(store.Level(rapid.IntRange(0, 2).Draw(t, "level")))
	q.CombinedDateTime = rapid.Bool().Draw(t, "combined")
	q.Fuzzy = rapid.IntRange(0, 3).Draw(t, "fuzzy") == 0
	q.All = rapid.IntRange(0, 3).Draw(t, "all") == 0
	tags := make([]dicom.Tag, 0, len(keyValues))
	for tag := range keyValues {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	for range rapid.IntRange(0, 3).Draw(t, "keys") {
		tag := rapid.SampledFrom(tags).Draw(t, "tag")
		if err := q.Match(tag, rapid.SampledFrom(keyValues[tag]).Draw(t, "key")); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func explicit(t *rapid.T, d *dicom.DataSet) string {
	var s strings.Builder
	for e := range d.All() {
		fmt.Fprintf(&s, "%v %q\n", e.Tag, d.Strings(e.Tag))
	}
	return s.String()
}

func TestSearchAgreesWithAskingEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		file := fmt.Sprint(path, n)
		db := open(t, file)
		defer func() { _ = db.Close() }()
		m := &model{studies: map[string]*modelStudy{}, where: map[string]*modelSeries{}}
		covered := store.Position(0)
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			var rows []store.Row
			for range rapid.IntRange(0, 30).Draw(t, "rows") {
				r := drawRow(t)
				covered++
				rows = append(rows, r)
				if rapid.IntRange(0, 5).Draw(t, "remove") == 0 {
					m.remove(r.SOPInstanceUID)
					m.sweep()
					must(t, db.Put(context.Background(), rows[:len(rows)-1], covered))
					must(t, db.Remove(context.Background(), rows[len(rows)-1:], covered))
					rows = nil
					continue
				}
				m.put(r)
			}
			must(t, db.Put(context.Background(), rows, covered))
			if rapid.IntRange(0, 3).Draw(t, "reopen") == 0 {
				must(t, db.Close())
				db = open(t, file)
			}
			for range rapid.IntRange(1, 6).Draw(t, "queries") {
				checkQuery(t, db, m, drawQuery(t))
			}
		}
		if got := int(db.Stats().Instances); got != len(m.where) {
			t.Fatalf("%d instances, want %d", got, len(m.where))
		}
		if db.Covered() != covered {
			t.Fatalf("covered %d, want %d", db.Covered(), covered)
		}
	})
}

func checkQuery(t *rapid.T, db store.Index, m *model, q *store.Query) {
	want := m.search(q)
	var all []string
	for got, err := range db.Search(context.Background(), q) {
		must(t, err)
		k := key(got)
		all = append(all, k)
		w, ok := want[k]
		if !ok {
			t.Fatalf("found %q, which does not match", k)
		}
		if got, want := explicit(t, got.Attributes), explicit(t, w.Attributes); got != want {
			t.Fatalf("%q returns\n%s, want\n%s", k, got, want)
		}
		delete(want, k)
	}
	for k := range want {
		t.Fatalf("did not find %q among %d", k, len(all))
	}
	q.Offset, q.Limit = rapid.IntRange(0, 8).Draw(t, "offset"), rapid.IntRange(1, 5).Draw(t, "limit")
	from := min(q.Offset, len(all))
	var page []string
	for got, err := range db.Search(context.Background(), q) {
		must(t, err)
		page = append(page, key(got))
	}
	if want := all[from:min(from+q.Limit, len(all))]; !slices.Equal(page, want) {
		t.Fatalf("page from %d: %q, want %q", q.Offset, page, want)
	}
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
