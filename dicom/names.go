package dicom

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// FoldName brings a person name to the form in which names are compared: lower
// case, composed characters, without the "^" and "=" and spaces at the end of
// groups and components that mean nothing (PS3.5 section 6.2.1).
func FoldName(name string) string {
	ascii := true
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if !ascii {
		name = norm.NFC.String(name)
	}
	name = strings.ToLower(name)
	if !strings.ContainsAny(name, " =") && !strings.HasSuffix(name, "^") {
		return name
	}
	groups := strings.Split(name, "=")
	for i, g := range groups {
		components := strings.Split(g, "^")
		for j, c := range components {
			components[j] = strings.TrimSpace(c)
		}
		groups[i] = strings.TrimRight(strings.Join(components, "^"), "^")
	}
	return strings.TrimRight(strings.Join(groups, "="), "=")
}

// fuzzyName reports whether each word of a folded pattern is, without its
// accents, the start of some word of the folded name, or sounds like one.
func fuzzyName(pattern, name string) bool {
	words := NameWords(name)
	for _, p := range NameWords(pattern) {
		if !anyWord(p, words) {
			return false
		}
	}
	return true
}

func anyWord(p string, words []string) bool {
	sound := soundex(p)
	for _, w := range words {
		if strings.HasPrefix(w, p) || hasWildcard(p) && Glob(p, w) || sound != "" && sound == soundex(w) {
			return true
		}
	}
	return false
}

// NameWords splits a folded name into words without accents: what fuzzy
// matching compares.
func NameWords(name string) []string {
	return strings.FieldsFunc(plain(name), func(r rune) bool {
		return r == '^' || r == '=' || r == ' ' || r == '-' || r == ',' || r == '.' || r == '\''
	})
}

// letters that Unicode does not decompose, as names in other spellings have them.
var spelling = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "ł", "l", "þ", "th", "ı", "i")

// plain removes accents.
func plain(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range norm.NFD.String(spelling.Replace(s)) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// soundex is the American Soundex code of a word of Latin letters: "" for
// others, and for words of less than three letters.
func soundex(word string) string {
	const codes = "01230120022455012623010202"
	if len(word) < 3 {
		return ""
	}
	var out [4]byte
	n, last := 0, byte('0')
	for i := 0; i < len(word); i++ {
		c := word[i]
		if c < 'a' || c > 'z' {
			return ""
		}
		code := codes[c-'a']
		switch {
		case n == 0:
			out[0], n = c, 1
		case code != '0' && code != last && n < len(out):
			out[n], n = code, n+1
		}
		if c != 'h' && c != 'w' { // these two do not separate equal codes
			last = code
		}
	}
	for ; n < len(out); n++ {
		out[n] = '0'
	}
	return string(out[:])
}

// sameNumber reports whether two decimal strings are the same number.
func sameNumber(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	if err != nil {
		return false
	}
	y, err := strconv.ParseFloat(b, 64)
	return err == nil && x == y
}
