package index

import (
	"bytes"
	"strings"
	"time"

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
	columnSounds:      0, // of no attribute
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
			clock, exact := timeNumber(a.value)
			c.numbers[columnStudyTime] = clock
			if c.key.time = max(0, clock); !exact {
				c.numbers[columnStudyTime] = anyNumber
			}
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
	x.texts = appendSounds(x.texts, string(x.texts[:c.ends[columnName]]))
	c.ends[columnSounds] = uint32(len(x.texts))
	c.texts = string(x.texts)
	c.modalities = x.sets.number(strings.Join(r.modalities.values(), `\`))
	c.key.date, c.key.token = c.numbers[columnStudyDate], t
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
	if d != nil && !isASCII(raw) {
		for i, value := range d.Strings(columnTags[column]) {
			if i > 0 {
				x.texts = append(x.texts, '\\')
			}
			x.addValue(column, strings.ReplaceAll(value, "\x00", " "))
		}
		return
	}
	for more := true; more; {
		var value []byte
		value, raw, more = cutByte(raw, '\\')
		value = trimASCII(value)
		if foldedColumn[column] || bytes.IndexByte(value, separator) >= 0 {
			x.addValue(column, strings.ReplaceAll(string(value), "\x00", " "))
		} else {
			x.texts = append(x.texts, value...)
		}
		if more {
			x.texts = append(x.texts, '\\')
		}
	}
}

// addValue appends one value as [dicom.Matcher] compares it.
func (x *extractor) addValue(column int, value string) {
	if foldedColumn[column] {
		value = dicom.FoldName(value)
	}
	x.texts = append(x.texts, value...)
}

func cutByte(b []byte, c byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:], true
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

// dateNumber reads a DA value as yyyymmdd.
func dateNumber(b []byte) int32 {
	b, _, _ = cutByte(b, '\\')
	b = trimASCII(b)
	if len(b) == 8 {
		n := number(b)
		if day := n % 100; n != noNumber && n/100%100 >= 1 && n/100%100 <= 12 && day >= 1 && day <= 28 {
			return n
		}
	}
	m, err := dicom.NewMatcher(dict.DA, string(b), false) // an old form, the end of a month, or none
	if err != nil {
		return noNumber
	}
	first, last, _ := m.Range()
	if first == "" || first != last {
		return noNumber
	}
	return number([]byte(first))
}

// timeNumber reads a TM value as seconds since midnight; exact is false when
// it leaves the seconds out.
func timeNumber(b []byte) (n int32, exact bool) {
	b, _, _ = cutByte(b, '\\')
	b = trimASCII(b)
	if whole, fraction, _ := cutByte(b, '.'); len(whole) == 6 && len(fraction) <= 6 && number(fraction) != noNumber &&
		(len(b) == 6 || len(fraction) > 0) {
		h, m, s := number(whole[:2]), number(whole[2:4]), number(whole[4:])
		if h >= 0 && h < 24 && m >= 0 && m < 60 && s >= 0 && s < 60 {
			return h*3600 + m*60 + s, true
		}
	}
	m, err := dicom.NewMatcher(dict.TM, string(b), false) // less precise, an old form, or none
	if err != nil {
		return noNumber, true
	}
	first, last, _ := m.Range()
	if first == "" || last == "" {
		return noNumber, true
	}
	return seconds(first), first[:6] == last[:6]
}

// seconds is the number of a time in normal form, hhmmss.ffffff.
func seconds(s string) int32 {
	return number([]byte(s[:2]))*3600 + number([]byte(s[2:4]))*60 + number([]byte(s[4:6]))
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
