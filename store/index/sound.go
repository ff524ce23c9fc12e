package index

import (
	"strings"

	"lumen/dicom"
	"lumen/store"
)

// Fuzzy matching compares the words of names by their beginning and by their
// Soundex code (see [dicom.Matcher]). The column of sounds has two bytes for
// each word of a name: its first letter, and the first two digits of its code.
// A word can only be like another whose bytes begin with its own, so a search
// looks at few names.

// sound is what the column knows of a word. A zero digit means that there is
// none.
type sound struct{ letter, first, second byte }

// anySound is in the column for what has no sound: a word that does not begin
// with a Latin letter, and what comes after soundWords.
const anySound = 0xff

// soundWords is how many words of a name have sounds of their own.
const soundWords = 12

// soundOf returns the sound of a word of [dicom.NameWords]; ok is false when it
// does not begin with a Latin letter.
func soundOf(word string) (s sound, ok bool) {
	const codes = "01230120022455012623010202" // Soundex, a to z
	last := byte(0)
	for i := range len(word) {
		c := word[i]
		if c < 'a' || c > 'z' {
			break
		}
		code := codes[c-'a'] - '0'
		switch {
		case i == 0:
			s.letter = c
		case code == 0 || code == last:
		case s.first == 0:
			s.first = code
		case s.second == 0:
			s.second = code
		}
		if c != 'h' && c != 'w' {
			last = code
		}
	}
	return s, s.letter != 0
}

// appendSounds appends the sounds of a folded name's words. No byte is a
// separator.
func appendSounds(b []byte, name string) []byte {
	for i, word := range dicom.NameWords(strings.ReplaceAll(name, `\`, "^")) { // of all its values
		s, ok := soundOf(word)
		switch {
		case i == soundWords:
			return append(b, anySound, anySound)
		case ok:
			b = append(b, s.letter, 1+s.first*7+s.second)
		default:
			b = append(b, anySound, anySound)
		}
	}
	return b
}

// soundsLike is a fuzzy name: each of the words must sound like a word of the
// name, and then the matcher must agree.
type soundsLike struct {
	words   []sound
	matcher dicom.Matcher
}

func newSoundsLike(k *store.Key) soundsLike {
	p := soundsLike{matcher: k.Matcher}
	for _, word := range dicom.NameWords(dicom.FoldName(k.Value)) {
		if i := strings.IndexAny(word, "*?"); i >= 0 {
			word = word[:i]
		}
		if s, ok := soundOf(word); ok {
			p.words = append(p.words, s)
		}
	}
	return p
}

func (p soundsLike) next(b *block, i int) int {
	sounds, names := &b.texts[columnSounds], &b.texts[columnName]
	for ; i < b.len(); i++ {
		if p.like(sounds.row(i)) && p.matches(names.row(i)) {
			return i
		}
	}
	return i
}

// like reports whether each word has a sound that may be its own.
func (p *soundsLike) like(sounds []byte) bool {
	for _, w := range p.words {
		found := false
		for s := sounds; len(s) >= 2 && !found; s = s[2:] {
			found = s[0] == anySound || s[0] == w.letter && w.begins(s[1]-1)
		}
		if !found {
			return false
		}
	}
	return true
}

// begins reports whether the digits are those of the sound, as far as it has
// any.
func (w sound) begins(digits byte) bool {
	return w.first == 0 || digits/7 == w.first && (w.second == 0 || digits%7 == w.second)
}

func (p *soundsLike) matches(names []byte) bool {
	for name := range strings.SplitSeq(string(names), `\`) {
		if p.matcher.MatchFolded(name) {
			return true
		}
	}
	return false
}
