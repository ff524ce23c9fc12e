package index

import (
	"bytes"
	"strings"
)

// predicate is what a search asks of a column of the study table. It never
// passes over a study that the query matches; it may stop at one that the query
// does not match, since the record decides.
type predicate interface {
	// next returns the first row at or after i that may match, the length of
	// the block when there is none.
	next(b *block, i int) int
}

// candidates appends to dst the rows of b in [i, j) that pass all predicates,
// at most limit, and returns the row to go on from.
func candidates(dst []int, b *block, i, j int, all []predicate, limit int) ([]int, int) {
	for i < j && len(dst) < limit {
		row := i
		for p := 0; p < len(all); p++ {
			if n := all[p].next(b, row); n > row {
				if row = n; row >= j {
					return dst, j
				}
				p = -1 // begin again: all must agree on one row
			}
		}
		dst = append(dst, row)
		i = row + 1
	}
	return dst, i
}

// numberBetween is a range of a number column, both ends included.
type numberBetween struct {
	column   int
	from, to int32
}

func (p numberBetween) next(b *block, i int) int {
	numbers := b.numbers[p.column]
	for ; i < len(numbers); i++ {
		if n := numbers[i]; p.from <= n && n <= p.to || n == anyNumber {
			return i
		}
	}
	return i
}

// hashIs is an exact value of a hashed column.
type hashIs struct {
	column int // of hashes
	hashes []uint32
}

func (p hashIs) next(b *block, i int) int {
	column := b.hashes[p.column]
	if len(p.hashes) == 1 {
		want := p.hashes[0]
		for ; i < len(column); i++ {
			if h := column[i]; h == want || h == anyHash {
				return i
			}
		}
		return i
	}
	for ; i < len(column); i++ {
		if column[i] == anyHash {
			return i
		}
		for _, want := range p.hashes {
			if column[i] == want {
				return i
			}
		}
	}
	return i
}

// setIn is a set of modalities: those whose number is marked.
type setIn struct{ marked []bool }

func (p setIn) next(b *block, i int) int {
	for ; i < len(b.modalities); i++ {
		if n := int(b.modalities[i]); n >= len(p.marked) || p.marked[n] {
			return i
		}
	}
	return i
}

// textHolds is a pattern of a text column.
type textHolds struct {
	column  int
	pattern pattern
}

func (p textHolds) next(b *block, i int) int {
	t := &b.texts[p.column]
	if p.pattern.prefix != "" && !t.parts {
		return p.nextPrefix(t, i)
	}
	for i < len(t.ends) {
		offset := t.start(i)
		at := p.pattern.find(t.data[offset:])
		if at < 0 {
			return len(t.ends)
		}
		if offset+at > int(t.ends[i]) {
			i += t.ahead(i, offset+at)
		}
		if p.pattern.match(t.row(i)) {
			return i
		}
		i++
	}
	return i
}

// nextPrefix is next for a pattern with a literal beginning, in a column whose
// texts have one part each: it looks at the beginnings only.
func (p textHolds) nextPrefix(t *text, i int) int {
	prefix, data, start := p.pattern.prefix, t.data, t.start(i)
	for ; i < len(t.ends); i++ {
		end := int(t.ends[i])
		if data[start] == prefix[0] && end-start >= len(prefix) && string(data[start:start+len(prefix)]) == prefix && // an empty text has its separator
			p.pattern.match(data[start:end]) {
			return i
		}
		start = end + 1
	}
	return i
}

// ahead returns how many rows after row i the offset lies.
func (t *text) ahead(i, offset int) int {
	step := 1
	for i+step < len(t.ends) && int(t.ends[i+step-1]) < offset {
		if int(t.ends[i+step]) >= offset {
			return step
		}
		step++
		if step > 8 {
			return t.rowAt(offset) - i
		}
	}
	return step
}

// pattern is a wildcard pattern, cut at its stars. It matches a text when it
// matches one of its values (cut at backslashes) or component groups (cut at
// equals signs), or all of it.
type pattern struct {
	pieces   []string // between the stars, in order; each may hold '?'
	fromHere bool     // the first piece stands at the beginning
	toEnd    bool     // the last piece stands at the end
	prefix   string   // the beginning without wildcards
	needle   string   // the longest part without wildcards
	bytes    []byte   // of the needle
	rare     int      // the byte of the needle that names hold least
}

// newPattern compiles a pattern in which * stands for any text and ? for any
// character. It must be folded as the column is.
func newPattern(s string) pattern {
	p := pattern{fromHere: s == "" || s[0] != '*', toEnd: s == "" || s[len(s)-1] != '*'}
	for piece := range splitString(s, '*') {
		if piece == "" {
			continue
		}
		p.pieces = append(p.pieces, piece)
		for literal := range splitString(piece, '?') {
			if len(literal) > len(p.needle) {
				p.needle = literal
			}
		}
	}
	if p.fromHere && len(p.pieces) > 0 {
		p.prefix, _, _ = strings.Cut(p.pieces[0], "?")
	}
	p.bytes = []byte(p.needle)
	best := 256
	for i := range len(p.needle) {
		if f := int(frequency(p.needle[i])); f < best {
			best, p.rare = f, i
		}
	}
	return p
}

// find returns where the needle first stands in data, -1 when nowhere. It looks
// for the needle's rarest byte, which the machine does many bytes at a time;
// where that is not so rare, for all of it.
func (p *pattern) find(data []byte) int {
	n := len(p.needle)
	if n == 0 {
		return 0
	}
	c := p.needle[p.rare]
	misses := 0
	for from := p.rare; from < len(data); {
		at := bytes.IndexByte(data[from:], c)
		if at < 0 {
			return -1
		}
		start := from + at - p.rare
		if start+n > len(data) {
			return -1
		}
		if string(data[start:start+n]) == p.needle {
			return start
		}
		from += at + 1
		if misses++; misses > 2+from/64 {
			start = from - p.rare
			if at = bytes.Index(data[start:], p.bytes); at >= 0 {
				at += start
			}
			return at
		}
	}
	return -1
}

// match reports whether the pattern may match the text.
func (p *pattern) match(text []byte) bool {
	if p.matchValue(text) {
		return true
	}
	if bytes.IndexByte(text, '=') < 0 && bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	start := 0
	for i := 0; i <= len(text); i++ {
		if i == len(text) || text[i] == '=' || text[i] == '\\' {
			if p.matchValue(text[start:i]) {
				return true
			}
			start = i + 1
		}
	}
	return false
}

func (p *pattern) matchValue(text []byte) bool {
	pieces := p.pieces
	if len(pieces) == 0 {
		return !p.fromHere || len(text) == 0
	}
	if p.fromHere {
		n := matchPiece(pieces[0], text)
		if n < 0 {
			return false
		}
		if len(pieces) == 1 && p.toEnd {
			return n == len(text)
		}
		text, pieces = text[n:], pieces[1:]
	}
	if p.toEnd && len(pieces) > 0 {
		last := pieces[len(pieces)-1]
		if !endsWithPiece(last, text) {
			return false
		}
		pieces = pieces[:len(pieces)-1]
	}
	for _, piece := range pieces {
		found := false
		for i := 0; i <= len(text); i++ {
			if n := matchPiece(piece, text[i:]); n >= 0 {
				text, found = text[i+n:], true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// matchPiece returns how many bytes of the text's beginning the piece takes, -1
// when it does not match there. A '?' takes one UTF-8 character.
func matchPiece(piece string, text []byte) int {
	n := 0
	for i := range len(piece) {
		if n >= len(text) {
			return -1
		}
		if piece[i] != '?' {
			if piece[i] != text[n] {
				return -1
			}
			n++
			continue
		}
		for n++; n < len(text) && text[n]&0xc0 == 0x80; n++ {
		}
	}
	return n
}

// endsWithPiece reports whether the piece may match at the end of the text.
// That it overlaps what came before is left to the record.
func endsWithPiece(piece string, text []byte) bool {
	for i := len(text); i >= 0; i-- {
		if matchPiece(piece, text[i:]) == len(text)-i {
			return true
		}
	}
	return false
}

// splitString yields the parts of s between the separators.
func splitString(s string, separator byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		start := 0
		for i := 0; i <= len(s); i++ {
			if i == len(s) || s[i] == separator {
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

// frequency says how often a byte stands in names and numbers, roughly: 0 is
// rare. It only steers which byte of a needle is looked for.
func frequency(c byte) byte {
	const common = "aenirstolmdhcugbkyjpvfwzqx"
	switch {
	case c >= 'A' && c <= 'Z':
		c += 'a' - 'A'
	case c == '^' || c == ' ' || c >= '0' && c <= '9':
		return 25
	}
	for i := range len(common) {
		if common[i] == c {
			return byte(30 - i)
		}
	}
	return 0
}
