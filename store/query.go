package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Query is a search, of C-FIND and QIDO-RS alike (PS3.4 C.2.2.2, PS3.18 8.3.4).
type Query struct {
	Level Level
	Keys  []Key
	// Return lists the attributes to return besides the keys and the unique
	// keys; nil means what [DefaultReturn] lists. Match and Include add to it.
	Return []dicom.Tag
	// All returns everything that the index has (includefield=all).
	All bool
	// Limit is the most matches to return, after Offset of them were passed
	// over; 0 means all. The order is the same from one search to the next.
	Limit, Offset int
	// Fuzzy lets names match that sound alike. It holds for the calls of Match
	// that follow.
	Fuzzy bool
	// CombinedDateTime matches a date range and the time range beside it as one
	// range of moments (PS3.4 C.2.2.2.5.4): in C-FIND it is negotiated.
	CombinedDateTime bool

	unsupported []dicom.Tag
}

// Key is an attribute and what its value must be.
type Key struct {
	Tag     dicom.Tag
	Path    []dicom.Tag // of a sequence: to the attribute inside of its items
	Level   Level
	Value   string // as it was asked for, in UTF-8
	Fuzzy   bool   // a name that may sound alike
	Matcher dicom.Matcher
}

// NewQuery returns a query that matches everything of a level.
func NewQuery(level Level) *Query { return &Query{Level: level} }

// Match asks for tag to have the value, in UTF-8, with the wildcards, ranges
// and lists of PS3.4 C.2.2.2; it is among the returned attributes. An empty
// value, or one of stars only, matches everything: it asks for the attribute to
// be returned. So does an attribute that the index does not keep or that is of
// a level below the query's: see Unsupported. The error names the attribute,
// not the value.
func (q *Query) Match(tag dicom.Tag, value string) error {
	if tag == dict.SpecificCharacterSet || tag == dict.QueryRetrieveLevel {
		return nil
	}
	level, known := AttributeLevel(tag)
	vr, _ := dict.VRs(tag)
	if !known || level > q.Level || !matchable(tag, vr) {
		if strings.Trim(value, "* ") != "" {
			q.unsupported = append(q.unsupported, tag)
		}
		q.Return = append(q.Return, tag)
		return nil
	}
	if strings.Trim(value, "* \x00") == "" {
		q.Return = append(q.Return, tag)
		return nil
	}
	fuzzy := q.Fuzzy && vr == dict.PN
	m, err := dicom.NewMatcher(vr, value, fuzzy)
	if err != nil {
		return fmt.Errorf("key %v: %w", tag, err)
	}
	q.Keys = append(q.Keys, Key{Tag: tag, Level: level, Value: value, Fuzzy: fuzzy, Matcher: m})
	return nil
}

// MatchItem is Match for an attribute inside of a sequence: path leads to it,
// the sequence first. All keys of one sequence must hold for the same item
// (PS3.4 C.2.2.2.6). The whole sequence is among the returned attributes.
func (q *Query) MatchItem(path []dicom.Tag, value string) error {
	tag := path[len(path)-1]
	if len(path) == 1 {
		return q.Match(tag, value)
	}
	if strings.Trim(value, "* \x00") == "" {
		return q.Match(path[0], "")
	}
	level, known := AttributeLevel(path[0])
	sequence, _ := dict.VRs(path[0])
	vr, _ := dict.VRs(tag)
	if !known || level > q.Level || sequence != dict.SQ || vr == dict.SQ || !vr.Text() {
		return q.Match(path[0], value) // which is not supported
	}
	fuzzy := q.Fuzzy && vr == dict.PN
	m, err := dicom.NewMatcher(vr, value, fuzzy)
	if err != nil {
		return fmt.Errorf("key %v in %v: %w", tag, path[0], err)
	}
	q.Keys = append(q.Keys, Key{Tag: path[0], Path: path[1:], Level: level, Value: value, Fuzzy: fuzzy, Matcher: m})
	return nil
}

// matchable reports whether an indexed attribute can be a matching key.
func matchable(tag dicom.Tag, vr dicom.VR) bool {
	switch tag {
	case dict.NumberOfStudyRelatedSeries, dict.NumberOfStudyRelatedInstances, dict.NumberOfSeriesRelatedInstances:
		return false
	case dict.TimezoneOffsetFromUTC: // says how dates are meant (PS3.4 C.4.1.1.3.1), and is no key
		return false
	}
	return vr != dict.SQ && vr.Text()
}

// Include asks for the level's defaults to be returned, and for the given
// attributes: what QIDO-RS calls before it matches, with its includefields.
func (q *Query) Include(tags ...dicom.Tag) {
	q.Return = append(append(q.Return, q.defaults()...), tags...)
}

// Unsupported lists the keys that had a value and could not be matched: C-FIND
// answers them with status FF01, QIDO-RS with a warning.
func (q *Query) Unsupported() []dicom.Tag { return slices.Clone(q.unsupported) }

// Unknown lists the attributes that were asked for and that no match of the
// query's level has: C-FIND answers such queries with status FF01 too.
func (q *Query) Unknown() []dicom.Tag {
	var list []dicom.Tag
	for _, t := range q.Return {
		if level, known := AttributeLevel(t); (!known || level > q.Level) && t != dict.InstanceAvailability {
			list = append(list, t)
		}
	}
	return list
}

// Exact returns the values that tag must have one of, when the query lists
// them without wildcards.
func (q *Query) Exact(tag dicom.Tag) []string {
	for i := range q.Keys {
		if q.Keys[i].Tag != tag {
			continue
		}
		if v := q.Keys[i].Exact(); len(v) > 0 {
			return v
		}
	}
	return nil
}

// Exact returns the values of which the attribute must have one; nil when the
// key has wildcards or is a range.
func (k *Key) Exact() []string {
	if v, ok := k.Matcher.Exact(); ok {
		return []string{v}
	}
	return k.Matcher.List()
}

// defaults lists what is returned unasked: the level's attributes, and those
// of the levels above that the query does not name by UID (PS3.18 10.6.3.3).
func (q *Query) defaults() []dicom.Tag {
	tags := DefaultReturn(q.Level)
	for level := q.Level - 1; level >= StudyLevel; level-- {
		if len(q.Exact(uniqueKeys[level])) == 0 {
			tags = append(tags, defaultReturn[level]...)
		}
	}
	return tags
}

// Entity is one study, series or instance as the index knows it, with the
// attributes of its own level and what is counted below it.
type Entity struct {
	Level          Level
	UID            string
	Attributes     *dicom.DataSet
	Modalities     []string // of a study, sorted
	SOPClasses     []string // of a study, sorted
	Series         int      // of a study
	Instances      int      // of a study or series
	TransferSyntax string   // of an instance
}

// values returns the values of a key of the entity's level.
func (e *Entity) values(tag dicom.Tag) []string {
	switch tag {
	case uniqueKeys[e.Level]:
		return []string{e.UID}
	case dict.ModalitiesInStudy:
		return e.Modalities
	case dict.SOPClassesInStudy:
		return e.SOPClasses
	case dict.AvailableTransferSyntaxUID:
		return []string{e.TransferSyntax}
	}
	v := e.Attributes.Strings(tag)
	if vr, _ := dict.VRs(tag); len(v) > 1 && (vr == dict.DA || vr == dict.TM) {
		v = v[:1] // the indexed ones have one value (PS3.6)
	}
	return v
}

// Matches reports whether e has what the query's keys of e's level ask for.
func (q *Query) Matches(e *Entity) bool {
	for i := range q.Keys {
		k := &q.Keys[i]
		if k.Level != e.Level {
			continue
		}
		if len(k.Path) > 0 {
			if !q.matchesItem(k.Tag, e.Attributes) {
				return false
			}
			continue
		}
		if q.CombinedDateTime {
			if combined, ok := q.matchesMoment(k, e); combined {
				if !ok {
					return false
				}
				continue
			}
		}
		if !k.Matcher.Match(e.values(k.Tag)...) {
			return false
		}
	}
	return true
}

// matchesItem reports whether one item of a sequence has what all keys of that
// sequence ask for.
func (q *Query) matchesItem(sequence dicom.Tag, d *dicom.DataSet) bool {
	e, _ := d.Get(sequence)
	return slices.ContainsFunc(e.Items, func(item *dicom.DataSet) bool {
		for i := range q.Keys {
			k := &q.Keys[i]
			if k.Tag == sequence && len(k.Path) > 0 && !k.Matcher.Match(valuesAt(item, k.Path)...) {
				return false
			}
		}
		return true
	})
}

// valuesAt returns the values at a path; of sequences inside, those of all
// items.
func valuesAt(d *dicom.DataSet, path []dicom.Tag) []string {
	if len(path) == 1 {
		return d.Strings(path[0])
	}
	var values []string
	e, _ := d.Get(path[0])
	for _, item := range e.Items {
		values = append(values, valuesAt(item, path[1:])...)
	}
	return values
}

// moments pairs the dates with their times.
var moments = map[dicom.Tag]dicom.Tag{
	dict.StudyDate:                       dict.StudyTime,
	dict.SeriesDate:                      dict.SeriesTime,
	dict.AcquisitionDate:                 dict.AcquisitionTime,
	dict.ContentDate:                     dict.ContentTime,
	dict.InstanceCreationDate:            dict.InstanceCreationTime,
	dict.PerformedProcedureStepStartDate: dict.PerformedProcedureStepStartTime,
	dict.PresentationCreationDate:        dict.PresentationCreationTime,
}

// matchesMoment matches a date and its time as one range when both keys are
// ranges of the same form. Of such a pair it answers for either key.
func (q *Query) matchesMoment(k *Key, e *Entity) (combined, ok bool) {
	date, time := k, (*Key)(nil)
	for i := range q.Keys {
		other := &q.Keys[i]
		switch {
		case moments[k.Tag] == other.Tag:
			time = other
		case moments[other.Tag] == k.Tag && k.Tag != 0:
			date, time = other, k
		}
	}
	if time == nil {
		return false, false
	}
	fromDate, toDate, ok1 := date.Matcher.Range()
	fromTime, toTime, ok2 := time.Matcher.Range()
	if !ok1 || !ok2 || (fromDate == "") != (fromTime == "") || (toDate == "") != (toTime == "") {
		return false, false
	}
	day, _, ok := normal(dict.DA, e.values(date.Tag))
	if !ok {
		return true, false
	}
	first, last, ok := normal(dict.TM, e.values(time.Tag))
	if !ok {
		first, last, _ = normal(dict.TM, []string{"00"}) // then the day begins
	}
	return true, (fromDate == "" || day+last >= fromDate+fromTime) && (toDate == "" || day+first <= toDate+toTime)
}

// normal returns the first and the last moment that the first value of an
// attribute stands for, as [dicom.Matcher.Range] writes them.
func normal(vr dicom.VR, values []string) (first, last string, ok bool) {
	if len(values) == 0 || values[0] == "" {
		return "", "", false
	}
	m, err := dicom.NewMatcher(vr, values[0], false)
	if err != nil {
		return "", "", false
	}
	first, last, ok = m.Range()
	return first, last, ok && first != "" && last != ""
}

// Match is one match of a search.
type Match struct {
	StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID string // those of the query's level and above
	// Attributes holds what the query returns, with their Specific Character
	// Set (0008,0005), and the unique keys. What is known to be empty or absent
	// is an empty element.
	Attributes *dicom.DataSet
}

// ErrBudget ends a search for series or instances that names none of them nor
// their studies, once it has looked at as much as such a search may: what it
// yielded is right, and there may be more.
var ErrBudget = errors.New("the search stopped before the oldest studies: narrow it")
