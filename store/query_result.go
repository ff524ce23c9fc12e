package store

import (
	"bytes"
	"slices"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// Assembly makes the matches of one query.
type Assembly struct {
	level Level
	tags  []returned
}

type returned struct {
	tag   dicom.Tag
	level Level
	asked bool // an empty element when there is no value
}

// Assembly returns what makes the query's matches.
func (q *Query) Assembly() *Assembly {
	asked := make(map[dicom.Tag]bool)
	add := func(tags []dicom.Tag, empty bool) {
		for _, t := range tags {
			asked[t] = asked[t] || empty
		}
	}
	if q.All {
		for t, level := range attributeTable().levels {
			if level <= q.Level {
				asked[t] = false
			}
		}
		asked[dict.InstanceAvailability] = false
	}
	if q.Return == nil {
		add(q.defaults(), true)
	}
	add(q.Return, true)
	add(uniqueKeys[:q.Level+1], true)
	for _, k := range q.Keys {
		asked[k.Tag] = true
	}
	delete(asked, dict.SpecificCharacterSet)

	a := &Assembly{level: q.Level}
	for tag, empty := range asked {
		level, known := AttributeLevel(tag)
		switch {
		case tag == dict.InstanceAvailability:
			level = q.Level
		case !known || level > q.Level:
			continue
		}
		a.tags = append(a.tags, returned{tag: tag, level: level, asked: empty})
	}
	slices.SortFunc(a.tags, func(x, y returned) int { return int(x.tag) - int(y.tag) })
	return a
}

// Match assembles one match from the entities of the query's level and of the
// levels above it, the study first.
func (a *Assembly) Match(path ...*Entity) Match {
	m := Match{Attributes: new(dicom.DataSet)}
	for i, uid := range []*string{&m.StudyInstanceUID, &m.SeriesInstanceUID, &m.SOPInstanceUID} {
		if i < len(path) {
			*uid = path[i].UID
		}
	}
	m.Attributes.Grow(len(a.tags) + 1)
	set, same := commonCharacterSet(path)
	if len(set) > 0 {
		if bytes.IndexByte(set, '\\') >= 0 {
			set = []byte(dicom.NewCharacterSet(string(set)).Terms())
		}
		m.Attributes.SetBytes(dict.SpecificCharacterSet, dict.CS, set)
	}
	for _, r := range a.tags {
		a.put(m.Attributes, path[r.level], r, same)
	}
	return m
}

// put adds one attribute of an entity to a match. When the entities of a match
// have several character sets, its text is written in that of the match.
func (a *Assembly) put(d *dicom.DataSet, e *Entity, r returned, same bool) {
	switch r.tag {
	case uniqueKeys[e.Level]:
		d.SetString(r.tag, e.UID)
		return
	case dict.InstanceAvailability:
		d.SetString(r.tag, "ONLINE")
		return
	case dict.ModalitiesInStudy:
		d.SetString(r.tag, e.Modalities...)
		return
	case dict.SOPClassesInStudy:
		d.SetString(r.tag, e.SOPClasses...)
		return
	case dict.NumberOfStudyRelatedSeries:
		d.SetInt(r.tag, e.Series)
		return
	case dict.NumberOfStudyRelatedInstances, dict.NumberOfSeriesRelatedInstances:
		d.SetInt(r.tag, e.Instances)
		return
	case dict.AvailableTransferSyntaxUID:
		d.SetString(r.tag, e.TransferSyntax)
		return
	}
	element, ok := e.Attributes.Get(r.tag)
	switch {
	case !ok:
		if r.asked {
			d.SetString(r.tag)
		}
	case same || !needsCharacterSet(element):
		d.Set(element)
	default:
		d.Set(recoded(e.Attributes, element))
	}
}

// utf8Set is the character set of a match whose parts have different ones.
var utf8Set = []byte("ISO_IR 192")

// commonCharacterSet returns the Specific Character Set for a match, and
// whether every entity's text is in it already.
func commonCharacterSet(path []*Entity) (set []byte, same bool) {
	first := path[0].Attributes.Raw(dict.SpecificCharacterSet)
	for _, e := range path[1:] {
		if !bytes.Equal(e.Attributes.Raw(dict.SpecificCharacterSet), first) {
			return utf8Set, false
		}
	}
	return first, true
}

// needsCharacterSet reports whether an element holds text that is more than
// ASCII.
func needsCharacterSet(e dicom.Element) bool {
	if e.VR == dict.SQ {
		return true
	}
	return e.VR.UsesCharacterSet() && !plainASCII(e.Value)
}

func plainASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0x1B {
			return false
		}
	}
	return true
}

// recoded returns an element of d with its text in UTF-8.
func recoded(d *dicom.DataSet, e dicom.Element) dicom.Element {
	to := new(dicom.DataSet)
	to.Set(dicom.Element{Tag: dict.SpecificCharacterSet, VR: dict.CS, Value: utf8Set})
	if e.VR != dict.SQ {
		to.SetString(e.Tag, d.Strings(e.Tag)...)
		e.Value = to.Raw(e.Tag)
		return e
	}
	items := make([]*dicom.DataSet, len(e.Items))
	for i, item := range e.Items {
		items[i] = new(dicom.DataSet)
		for inner := range item.All() {
			switch {
			case inner.Tag == dict.SpecificCharacterSet:
			case needsCharacterSet(inner):
				items[i].Set(recoded(item, inner))
			default:
				items[i].Set(inner)
			}
		}
	}
	return dicom.Element{Tag: e.Tag, VR: e.VR, Items: items}
}
