package index

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// FuzzRecord opens study and series records and rows: whatever is in them, they
// are refused or read the same when written again.
func FuzzRecord(f *testing.F) {
	d := new(dicom.DataSet)
	d.SetString(dict.PatientName, "Müller^Anna")
	d.SetString(dict.StudyDate, "20240229")
	item := new(dicom.DataSet)
	item.SetString(dict.CodeValue, "1")
	d.SetItems(dict.ProcedureCodeSequence, item)
	study := studyRecord{series: 2, modalities: tally{{"ES", 2}}}
	study.uid, study.instances, study.attributes = "1.2", 3, appendAttributes(nil, d)
	f.Add(study.append(nil))
	f.Add(study.group.append(nil))
	row, err := appendRow(nil, &store.Row{Record: store.Record{StudyInstanceUID: "1.2", Attributes: d}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(row)
	f.Fuzz(func(t *testing.T, b []byte) {
		var study studyRecord
		if err := study.parse(b); err == nil {
			again := study.append(nil)
			var second studyRecord
			if err := second.parse(again); err != nil || !bytes.Equal(second.append(nil), again) {
				t.Errorf("a study does not survive: %v", err)
			}
			x := extractor{sets: new(modalitySets)}
			if c, err := x.columns(token{}, &study); err == nil {
				bl := newBlock(1, [textColumns]int{})
				bl.add(&c)
				for column := range textColumns {
					if strings.IndexByte(c.text(column), separator) >= 0 {
						t.Errorf("column %d holds a separator", column)
					}
				}
			}
		}
		var series seriesRecord
		if err := series.parse(b); err == nil {
			_, _ = series.entity()
		}
		if r, err := parseRow(b); err == nil {
			if _, err := appendRow(nil, &r); err != nil {
				t.Errorf("a row does not survive: %v", err)
			}
		}
		if d, err := parseAttributes(b); err == nil {
			again := appendAttributes(nil, d)
			if second, err := parseAttributes(again); err != nil || !bytes.Equal(appendAttributes(nil, second), again) {
				t.Errorf("attributes do not survive: %v", err)
			}
		}
		var s state
		_ = s.parse(b)
	})
}

// FuzzQuery asks the study table and the record of one study the same: what the
// record matches, the table must not hide.
func FuzzQuery(f *testing.F) {
	for _, s := range [][2]string{
		{"Müller^Anna", "mül*"}, {"A^B=C^D", "=c*"}, {"O'Neill^S", "o?neill*"}, {"20240229", "20240201-"}, {"10", "0959-1000"},
		{`a\b`, "b"}, {`20240101\20240102`, "20240102"}, {`10\11`, "11"}, {`10\`, "10"}, {"20240230", "20240201-"}, {"Ǆ^ǆ", "ǆ*"}, {"x^^=y^", "y"}, {"de la Cruz^Ana", "cruz ana"}, {"100% *", "100%*"},
	} {
		f.Add(s[0], s[1], false)
		f.Add(s[0], s[1], true)
	}
	tags := append(slices.Clone(columnTags[:columnSounds]), dict.StudyDate, dict.PatientBirthDate, dict.StudyTime, dict.ModalitiesInStudy)
	f.Fuzz(func(t *testing.T, value, key string, fuzzy bool) {
		db := new(DB)
		d := new(dicom.DataSet)
		d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
		for _, tag := range tags {
			if tag != dict.ModalitiesInStudy {
				d.SetString(tag, value)
			}
		}
		r := studyRecord{modalities: tally{{value, 1}}}
		r.attributes = appendAttributes(nil, d)
		e, err := r.entity()
		if err != nil {
			t.Fatal(err)
		}
		x := extractor{sets: &db.sets}
		c, err := x.columns(token{1}, &r)
		if err != nil {
			t.Fatal(err)
		}
		table := new(table).apply([]change{{new: &c}})
		for _, tag := range tags {
			q := store.NewQuery(store.StudyLevel)
			q.Fuzzy = fuzzy
			if err := q.Match(tag, key); err != nil || !q.Matches(e) {
				continue
			}
			p := db.newPlan(q)
			rows, _ := candidates(nil, table.blocks[0], 0, 1, p.predicates, 1)
			if len(rows) != 1 || c.key.date < p.oldest || c.key.date > p.newest {
				t.Errorf("%v: the table hides what the record matches", tag)
			}
		}
	})
}
