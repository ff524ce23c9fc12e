package index

import (
	"bytes"
	"cmp"
	"sort"
	"strings"
)

// The columns of the study table. A text column keeps decoded UTF-8; those in
// foldedColumn are folded for case-insensitive matching. Several values are
// joined with a backslash, as on the wire.
const (
	columnName = iota // folded
	columnPatientID
	columnAccession
	columnDescription
	columnReferring // folded
	columnStudyID
	columnSex
	columnSounds // of the words of the name, see sound.go
	textColumns
)

// The number columns: dates as yyyymmdd, times as seconds since midnight,
// noNumber where there is none that can be read.
const (
	columnStudyDate = iota
	columnBirthDate
	columnStudyTime
	numberColumns
)

// The columns that have a hash for exact matching: patient ID, accession number
// and study ID.
const hashColumns = 3

var hashedColumn = [hashColumns]int{columnPatientID, columnAccession, columnStudyID}

var foldedColumn = [textColumns]bool{columnName: true, columnReferring: true}

// In a number column, noNumber is for a study that has none, and anyNumber for
// one that may be in any range: its record is looked at.
const (
	noNumber  int32 = -1
	anyNumber int32 = -2
)

// separator stands after every text of a column, so that no match of a search
// in the column's bytes reaches from one study into the next. Texts hold none.
const separator = 0

// orderKey places a study in the table: the newest date first, then the latest
// time, then by token, so that the order is total and the same after a restart.
type orderKey struct {
	date, time int32 // of the study; of its reception where it has no date
	token      token
}

// compare returns a negative number when k is before o in the table.
func (k *orderKey) compare(o *orderKey) int {
	if c := cmp.Compare(o.date, k.date); c != 0 {
		return c
	}
	if c := cmp.Compare(o.time, k.time); c != 0 {
		return c
	}
	return bytes.Compare(k.token[:], o.token[:])
}

// columns are one study as the table sees it.
type columns struct {
	key        orderKey
	numbers    [numberColumns]int32
	modalities uint16 // a set of the modalitySets
	ends       [textColumns]uint32
	texts      string // those of all columns, one after the other
}

// text returns the text of one column.
func (r *columns) text(column int) string {
	start := uint32(0)
	if column > 0 {
		start = r.ends[column-1]
	}
	return r.texts[start:r.ends[column]]
}

// blockRows is the most studies a block holds; a block that outgrows it is
// split. It bounds what one new study costs: one block is written anew.
const blockRows = 1024

// block holds some consecutive studies of the table, column by column. It is
// immutable: readers need no lock.
type block struct {
	keys       []orderKey
	numbers    [numberColumns][]int32
	texts      [textColumns]text
	hashes     [hashColumns][]uint32
	modalities []uint16
}

// text is one text column: all texts of a block in a row, for fast scanning.
type text struct {
	data  []byte   // each text, then a separator
	ends  []uint32 // where the separator of each text stands
	parts bool     // a text may have several values or component groups
}

func (t *text) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(t.ends[i-1]) + 1
}

func (t *text) row(i int) []byte { return t.data[t.start(i):t.ends[i]] }

// rowAt returns the row whose bytes hold the offset.
func (t *text) rowAt(offset int) int {
	return sort.Search(len(t.ends), func(i int) bool { return int(t.ends[i]) >= offset })
}

func (b *block) len() int { return len(b.keys) }

// search returns the first row that is not before key, and whether it is key.
func (b *block) search(key *orderKey) (int, bool) {
	return sort.Find(len(b.keys), func(i int) int { return key.compare(&b.keys[i]) })
}

// newBlock returns an empty block with room for rows studies and, in each text
// column, the given number of bytes.
func newBlock(rows int, bytes [textColumns]int) *block {
	b := &block{
		keys:       make([]orderKey, 0, rows),
		modalities: make([]uint16, 0, rows),
	}
	for c := range b.numbers {
		b.numbers[c] = make([]int32, 0, rows)
	}
	for c := range b.texts {
		b.texts[c] = text{data: make([]byte, 0, bytes[c]+rows), ends: make([]uint32, 0, rows)}
	}
	for c := range b.hashes {
		b.hashes[c] = make([]uint32, 0, rows)
	}
	return b
}

// add appends one study.
func (b *block) add(r *columns) {
	b.keys = append(b.keys, r.key)
	b.modalities = append(b.modalities, r.modalities)
	for c := range b.numbers {
		b.numbers[c] = append(b.numbers[c], r.numbers[c])
	}
	for c := range b.texts {
		t := &b.texts[c]
		s := r.text(c)
		t.data = append(append(t.data, s...), separator)
		t.parts = t.parts || strings.IndexByte(s, '=') >= 0 || strings.IndexByte(s, '\\') >= 0
		t.ends = append(t.ends, uint32(len(t.data)-1))
	}
	for c, column := range hashedColumn {
		b.hashes[c] = append(b.hashes[c], hashText(r.text(column)))
	}
}

// addSpan appends the rows [i, j) of o.
func (b *block) addSpan(o *block, i, j int) {
	if i >= j {
		return
	}
	b.keys = append(b.keys, o.keys[i:j]...)
	b.modalities = append(b.modalities, o.modalities[i:j]...)
	for c := range b.numbers {
		b.numbers[c] = append(b.numbers[c], o.numbers[c][i:j]...)
	}
	for c := range b.texts {
		t, from := &b.texts[c], &o.texts[c]
		start, end := from.start(i), int(from.ends[j-1])+1
		t.parts = t.parts || from.parts
		shift := uint32(len(t.data) - start) // may wrap: the sum below does not
		t.data = append(t.data, from.data[start:end]...)
		for _, e := range from.ends[i:j] {
			t.ends = append(t.ends, e+shift)
		}
	}
	for c := range b.hashes {
		b.hashes[c] = append(b.hashes[c], o.hashes[c][i:j]...)
	}
}

// textBytes returns the size of the texts of all rows, without separators.
func (b *block) textBytes() (n [textColumns]int) {
	for c := range b.texts {
		n[c] = len(b.texts[c].data) - len(b.texts[c].ends)
	}
	return n
}

// anyHash marks a text that is not compared by its hash: the search looks at
// the record. Several values are such a text.
const anyHash uint32 = 0

// hashText returns the hash of a text column's value (FNV-1a), never anyHash
// but for several values.
func hashText[T string | []byte](s T) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			return anyHash
		}
		h = (h ^ uint32(s[i])) * 16777619
	}
	if h == anyHash {
		return 1
	}
	return h
}
