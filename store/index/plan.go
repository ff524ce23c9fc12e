package index

import (
	"math"
	"strconv"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// plan is how a query walks the study table: which stretch of the order, and
// what it asks of the columns.
type plan struct {
	newest, oldest int32 // dates that an entry may stand at
	predicates     []predicate
	// conclusive says that every study which passes matches: no need to look
	// at the record of one that is only passed over.
	conclusive bool
}

// newPlan turns the query's keys of the study level into predicates.
func (db *DB) newPlan(q *store.Query) plan {
	p := plan{newest: math.MaxInt32, oldest: math.MinInt32, conclusive: true}
	var cheap, costly []predicate
	for i := range q.Keys {
		k := &q.Keys[i]
		if k.Level != store.StudyLevel {
			continue
		}
		from, to, ranged := k.Matcher.Range()
		switch {
		case ranged && k.Tag == dict.StudyDate:
			r := dateRange(columnStudyDate, from, to)
			p.oldest, p.newest = max(p.oldest, r.from), min(p.newest, r.to)
			cheap = append(cheap, r)
			continue
		case ranged && k.Tag == dict.PatientBirthDate:
			cheap = append(cheap, dateRange(columnBirthDate, from, to))
			continue
		case ranged && k.Tag == dict.StudyTime && !q.CombinedDateTime:
			cheap = append(cheap, timeRange(from, to))
		case k.Tag == dict.ModalitiesInStudy:
			p.conclusive = p.conclusive && len(db.sets.all()) < int(unknownSet)
			cheap = append(cheap, db.setPredicate(k.Matcher))
			continue
		default:
			if c, ok := textColumn(k.Tag); ok {
				if t, ok := textPredicate(c, k); ok {
					if _, hash := t.(hashIs); hash {
						cheap = append([]predicate{t}, cheap...)
					} else {
						costly = append(costly, t)
					}
				}
			}
		}
		p.conclusive = false
	}
	p.predicates = append(cheap, costly...)
	if q.CombinedDateTime {
		p.conclusive = false
	}
	return p
}

// dateRange is a range of yyyymmdd dates; an end that is open is "".
func dateRange(column int, from, to string) numberBetween {
	r := numberBetween{column: column, from: 0, to: math.MaxInt32}
	if n, err := strconv.Atoi(from); err == nil {
		r.from = int32(n)
	}
	if n, err := strconv.Atoi(to); err == nil {
		r.to = int32(n)
	}
	return r
}

// timeRange is a range of hhmmss.ffffff times, in whole seconds.
func timeRange(from, to string) numberBetween {
	r := numberBetween{column: columnStudyTime, from: 0, to: math.MaxInt32}
	if from != "" {
		r.from = seconds(from)
	}
	if to != "" {
		r.to = seconds(to)
	}
	return r
}

// setPredicate marks the sets of modalities that match.
func (db *DB) setPredicate(m dicom.Matcher) predicate {
	sets := db.sets.all()
	p := setIn{marked: make([]bool, len(sets))}
	for i, s := range sets {
		p.marked[i] = s != "" && m.Match(strings.Split(s, `\`)...)
	}
	return p
}

// textPredicate returns what a key asks of a text column, false when that
// cannot be told from the column.
func textPredicate(column int, k *store.Key) (predicate, bool) {
	exact := k.Exact()
	for c, text := range hashedColumn {
		if text != column || len(exact) == 0 {
			continue
		}
		h := hashIs{column: c}
		for _, v := range exact {
			h.hashes = append(h.hashes, hashText(v))
		}
		return h, true
	}
	value := strings.Trim(k.Value, " \x00")
	if strings.Contains(value, `\`) {
		return nil, false
	}
	if k.Fuzzy {
		return newSoundsLike(k), column == columnName
	}
	if foldedColumn[column] {
		value = dicom.FoldName(value)
		if strings.Contains(value, "=") { // group by group: one of them must stand somewhere
			longest := ""
			for group := range strings.SplitSeq(value, "=") {
				if len(group) > len(longest) {
					longest = group
				}
			}
			value = "*" + longest + "*"
		}
	}
	return textHolds{column, newPattern(value)}, true
}
