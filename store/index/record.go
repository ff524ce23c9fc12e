package index

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// recordFormat is the first byte of every study, series and patient record.
const recordFormat = 1

// tally counts how often each of a few values occurs, sorted by value. Past
// maxTally of them it knows no more: a peer can send any number, and the record
// is written with every instance.
type tally []counted

const maxTally = 128

type counted struct {
	value string
	n     uint64
}

func (t *tally) add(value string, by int64) {
	i, found := slices.BinarySearchFunc(*t, value, func(c counted, v string) int { return strings.Compare(c.value, v) })
	if !found {
		if by <= 0 || len(*t) == maxTally {
			return
		}
		*t = slices.Insert(*t, i, counted{value: value})
	}
	n := int64((*t)[i].n) + by
	if n <= 0 {
		*t = slices.Delete(*t, i, i+1)
		return
	}
	(*t)[i].n = uint64(n)
}

func (t tally) values() []string {
	list := make([]string, len(t))
	for i, c := range t {
		list[i] = c.value
	}
	return list
}

// group is what a study and a series record have in common: what was received
// first of the attributes, and counts of what is below.
type group struct {
	uid         string
	first, last time.Time // received
	instances   uint64
	bytes       uint64
	conflicts   uint64 // instances whose attributes differ from the first received
	classes     tally  // SOP classes, by instances
	attributes  []byte // as appendAttributes writes them
}

// studyRecord is the value of the bucket "study".
type studyRecord struct {
	group
	handle     [16]byte
	series     uint64
	modalities tally // by series
}

// seriesRecord is the value of the bucket "series".
type seriesRecord struct{ group }

func (g *group) append(b []byte) []byte {
	b = appendBytes(append(b, recordFormat), []byte(g.uid))
	b = binary.BigEndian.AppendUint64(b, uint64(g.first.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(g.last.UnixNano()))
	for _, n := range [...]uint64{g.instances, g.bytes, g.conflicts} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendTally(b, g.classes)
	return appendBytes(b, g.attributes)
}

func (r *studyRecord) append(b []byte) []byte {
	b = r.group.append(b)
	b = append(b, r.handle[:]...)
	b = binary.AppendUvarint(b, r.series)
	return appendTally(b, r.modalities)
}

func appendTally(b []byte, t tally) []byte {
	b = binary.AppendUvarint(b, uint64(len(t)))
	for _, c := range t {
		b = appendBytes(b, []byte(c.value))
		b = binary.AppendUvarint(b, c.n)
	}
	return b
}

// scanner takes parts off a record. Once one is missing, all are zero.
type scanner struct {
	b     []byte
	short bool
}

func (s *scanner) fail() { s.b, s.short = nil, true }

func (s *scanner) take(n int) []byte {
	if len(s.b) < n {
		s.fail()
		return nil
	}
	v := s.b[:n:n]
	s.b = s.b[n:]
	return v
}

func (s *scanner) uvarint() uint64 {
	n, used := binary.Uvarint(s.b)
	if used <= 0 {
		s.fail()
		return 0
	}
	s.b = s.b[used:]
	return n
}

func (s *scanner) bytes() []byte {
	v, rest, ok := cutBytes(s.b)
	if !ok {
		s.fail()
		return nil
	}
	s.b = rest
	return v
}

func (s *scanner) time() time.Time {
	if v := s.take(8); v != nil {
		return time.Unix(0, int64(binary.BigEndian.Uint64(v))).UTC()
	}
	return time.Time{}
}

func (s *scanner) tally() (t tally) {
	for n := s.uvarint(); n > 0 && !s.short; n-- {
		t = append(t, counted{value: string(s.bytes()), n: s.uvarint()})
	}
	return t
}

func (s *scanner) group(g *group) {
	if v := s.take(1); v == nil || v[0] != recordFormat {
		s.fail()
	}
	g.uid = string(s.bytes())
	g.first, g.last = s.time(), s.time()
	g.instances, g.bytes, g.conflicts = s.uvarint(), s.uvarint(), s.uvarint()
	g.classes = s.tally()
	g.attributes = s.bytes()
}

// parse reads a record. It refers to b.
func (r *studyRecord) parse(b []byte) error {
	s := scanner{b: b}
	s.group(&r.group)
	copy(r.handle[:], s.take(len(r.handle)))
	r.series = s.uvarint()
	r.modalities = s.tally()
	return s.end()
}

func (r *seriesRecord) parse(b []byte) error {
	s := scanner{b: b}
	s.group(&r.group)
	return s.end()
}

func (s *scanner) end() error {
	if s.short {
		return errShort
	}
	return nil
}

// entity returns the study as searches see it.
func (r *studyRecord) entity() (*store.Entity, error) {
	d, err := parseAttributes(r.attributes)
	if err != nil {
		return nil, err
	}
	return &store.Entity{
		Level: store.StudyLevel, UID: r.uid, Attributes: d,
		Modalities: r.modalities.values(), SOPClasses: r.classes.values(),
		Series: int(r.series), Instances: int(r.instances),
	}, nil
}

// entity returns the series as searches see it.
func (r *seriesRecord) entity() (*store.Entity, error) {
	d, err := parseAttributes(r.attributes)
	if err != nil {
		return nil, err
	}
	return &store.Entity{Level: store.SeriesLevel, UID: r.uid, Attributes: d, Instances: int(r.instances)}, nil
}

// merge takes the attributes of a level from an instance into g: what was
// received first stays, what was absent or empty until now is filled in.
func (g *group) merge(from *dicom.DataSet, level store.Level) error {
	have, err := parseAttributes(g.attributes)
	if err != nil {
		return err
	}
	if have.Len() == 0 {
		if v := from.Raw(dict.SpecificCharacterSet); len(v) > 0 {
			have.SetBytes(dict.SpecificCharacterSet, dict.CS, v)
		}
	}
	sameSet := trimmed(have.Raw(dict.SpecificCharacterSet)) == trimmed(from.Raw(dict.SpecificCharacterSet))
	conflict, changed := false, false
	for e := range from.All() {
		if l, ok := store.AttributeLevel(e.Tag); !ok || l != level || e.Omitted() {
			continue
		}
		old, ok := have.Get(e.Tag)
		switch {
		case ok && !empty(old):
			conflict = conflict || !empty(e) && !equal(have, old, from, e)
		case empty(e) && !ok, !empty(e) && (sameSet || portable(e)):
			have.Set(dicom.Element{Tag: e.Tag, VR: e.VR, Value: e.Value, Items: e.Items})
			changed = true
		}
	}
	if conflict {
		g.conflicts++
	}
	if changed {
		g.attributes = appendAttributes(nil, have)
	}
	return nil
}

func trimmed(b []byte) string { return strings.Trim(string(b), " \x00") }

func empty(e dicom.Element) bool {
	return len(e.Items) == 0 && (len(e.Value) == 0 || e.VR.Text() && trimmed(e.Value) == "")
}

// portable reports whether the element reads the same in every character set.
func portable(e dicom.Element) bool {
	return e.VR != dict.SQ && (!e.VR.UsesCharacterSet() || isASCII(e.Value))
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0x1b {
			return false
		}
	}
	return true
}

// equal reports whether two elements of one tag say the same.
func equal(a *dicom.DataSet, x dicom.Element, b *dicom.DataSet, y dicom.Element) bool {
	if x.VR == dict.SQ || y.VR == dict.SQ {
		return x.VR == y.VR && slices.EqualFunc(x.Items, y.Items, func(i, j *dicom.DataSet) bool {
			return string(appendAttributes(nil, i)) == string(appendAttributes(nil, j))
		})
	}
	if string(x.Value) == string(y.Value) && portable(x) {
		return true
	}
	return slices.Equal(a.Strings(x.Tag), b.Strings(y.Tag))
}
