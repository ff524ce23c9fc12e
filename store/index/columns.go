package index

import (
	"strings"
	"time"
	"unicode"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// columnTags are the attributes of the text columns.
var columnTags = [textColumns]dicom.Tag{
	columnName:        dict.PatientName,
	columnPatientID:   dict.PatientID,
	columnAccession:   dict.AccessionNumber,
	columnDescription: dict.StudyDescription,
	columnReferring:   dict.ReferringPhysicianName,
	columnStudyID:     dict.StudyID,
	columnSex:         dict.PatientSex,
}

// textColumn returns the text column of an attribute.
func textColumn(tag dicom.Tag) (column int, ok bool) {
	for c, t := range columnTags {
		if t == tag {
			return c, true
		}
	}
	return 0, false
}

// extractor makes columns of study records. Its memory is used again.
type extractor struct {
	sets  *modalitySets
	raw   [textColumns][]byte
	texts []byte
}

// columns returns the table's view of a study.
func (x *extractor) columns(t token, r *studyRecord) (columns, error) {
	c := columns{numbers: [numberColumns]int32{noNumber, noNumber, noNumber}}
	clear(x.raw[:])
	ascii := true
	for a := range attributes(r.attributes) {
		switch a.tag {
		case dict.StudyDate:
			c.numbers[columnStudyDate] = dateNumber(a.value)
		case dict.PatientBirthDate:
			c.numbers[columnBirthDate] = dateNumber(a.value)
		case dict.StudyTime:
			c.numbers[columnStudyTime] = timeNumber(a.value)
		default:
			if column, ok := textColumn(a.tag); ok {
				x.raw[column] = a.value
				ascii = ascii && isASCII(a.value)
			}
		}
	}
	var d *dicom.DataSet
	if !ascii {
		var err error
		if d, err = parseAttributes(r.attributes); err != nil {
			return c, err
		}
	}
	x.texts = x.texts[:0]
	for column, raw := range x.raw {
		x.add(column, raw, d)
		c.ends[column] = uint32(len(x.texts))
	}
	c.texts = string(x.texts)
	c.modalities = x.sets.number(strings.Join(r.modalities.values(), `\`))
	c.key = orderKey{date: c.numbers[columnStudyDate], time: max(0, c.numbers[columnStudyTime]), token: t}
	if c.key.date == noNumber {
		c.key.date, c.key.time = momentNumbers(r.first)
	}
	return c, nil
}

// add appends the text of one column.
func (x *extractor) add(column int, raw []byte, d *dicom.DataSet) {
	if len(raw) == 0 {
		return
	}
	if d == nil || isASCII(raw) {
		start := len(x.texts)
		for i, part := 0, raw; ; i++ { // value by value, each without its padding
			value, rest, more := cutByte(part, '\\')
			if i > 0 {
				x.texts = append(x.texts, '\\')
			}
			x.texts = append(x.texts, trimASCII(value)...)
			if !more {
				break
			}
			part = rest
		}
		for i := start; i < len(x.texts); i++ {
			switch b := x.texts[i]; {
			case b == separator:
				x.texts[i] = ' '
			case foldedColumn[column] && b >= 'A' && b <= 'Z':
				x.texts[i] = b + 'a' - 'A'
			}
		}
		return
	}
	s := strings.ReplaceAll(strings.Join(d.Strings(columnTags[column]), `\`), "\x00", " ")
	if foldedColumn[column] {
		s = fold(s)
	}
	x.texts = append(x.texts, s...)
}

// fold makes names comparable without regard to case, as [store.Matcher] does.
func fold(s string) string { return strings.Map(unicode.ToLower, s) }

func cutByte(b []byte, c byte) (before, after []byte, found bool) {
	for i := range b {
		if b[i] == c {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}

func trimASCII(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	return b
}

// dateNumber reads a DA value: yyyymmdd, or yyyy.mm.dd as before 1993.
func dateNumber(b []byte) int32 {
	b = trimASCII(b)
	if len(b) == 10 && b[4] == '.' && b[7] == '.' {
		b = []byte{b[0], b[1], b[2], b[3], b[5], b[6], b[8], b[9]}
	}
	if len(b) != 8 {
		return noNumber
	}
	n := number(b)
	if n == noNumber || n/100%100 < 1 || n/100%100 > 12 || n%100 < 1 || n%100 > 31 {
		return noNumber
	}
	return n
}

// timeNumber reads a TM value of any precision as whole seconds since midnight.
func timeNumber(b []byte) int32 {
	b = trimASCII(b)
	var d [6]byte
	n := 0
	for _, c := range b {
		switch {
		case c == ':':
		case c == '.':
			b = nil
		case n < 6 && c >= '0' && c <= '9':
			d[n] = c
			n++
		default:
			return noNumber
		}
		if b == nil {
			break
		}
	}
	if n < 2 || n%2 != 0 {
		return noNumber
	}
	for ; n < 6; n++ {
		d[n] = '0'
	}
	return number(d[:2])*3600 + number(d[2:4])*60 + number(d[4:])
}

func number(b []byte) int32 {
	n := int32(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return noNumber
		}
		n = n*10 + int32(c-'0')
	}
	return n
}

// momentNumbers are the date and time columns of a moment.
func momentNumbers(t time.Time) (date, clock int32) {
	t = t.UTC()
	return int32(t.Year()*10000 + int(t.Month())*100 + t.Day()), int32(t.Hour()*3600 + t.Minute()*60 + t.Second())
}
