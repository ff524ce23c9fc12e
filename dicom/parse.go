package dicom

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lumen/dicom/dict"
)

// ErrValue is wrapped by errors about text that is no value of its VR.
var ErrValue = errors.New("not a value of this VR")

func notAValue(vr VR) error { return fmt.Errorf("dicom: %v: %w", vr, ErrValue) }

// ParseDA returns the start of the day, in UTC, that a DA value stands for
// (PS3.5 section 6.2). YYYY.MM.DD, as ACR-NEMA wrote it, is read too. The error
// wraps [ErrValue].
func ParseDA(s string) (time.Time, error) {
	day, ok := normalDate(s)
	if !ok {
		return time.Time{}, notAValue(dict.DA)
	}
	return civil(day+earliestTM, time.UTC), nil
}

// ParseTM returns the first and the last moment of the day that a TM value
// stands for, to the microsecond: they differ where it leaves components out
// (PS3.5 section 6.2). A leap second counts as the second before. The error wraps
// [ErrValue].
func ParseTM(s string) (first, last time.Duration, err error) {
	a, b, ok := normalTime(s)
	if !ok {
		return 0, 0, notAValue(dict.TM)
	}
	const day = "20000101"
	midnight := civil(day+earliestTM, time.UTC)
	return civil(day+a, time.UTC).Sub(midnight), civil(day+b, time.UTC).Sub(midnight), nil
}

// ParseDT returns the first and the last moment that a DT value stands for, to
// the microsecond (PS3.5 section 6.2). One without an offset of its own is in the
// zone given: that of Timezone Offset From UTC (0008,0201), see [ParseOffset];
// nil is UTC. The error wraps [ErrValue].
func ParseDT(s string, zone *time.Location) (first, last time.Time, err error) {
	a, b, ok := normalDateTime(s)
	if !ok {
		return first, last, notAValue(dict.DT)
	}
	if zone == nil || hasOffset(s) {
		zone = time.UTC
	}
	return civil(a, zone), civil(b, zone), nil
}

// ParseOffset returns the zone that a value of Timezone Offset From UTC
// (0008,0201) names: "+0200" (PS3.3 section C.12.1.1.8). The error wraps
// [ErrValue].
func ParseOffset(s string) (*time.Location, error) {
	s = strings.TrimSpace(s)
	if len(s) != 5 || s[0] != '+' && s[0] != '-' || !digits(s[1:]) || number(s[1:3]) > 14 || number(s[3:]) > 59 {
		return nil, notAValue(dict.SH)
	}
	seconds := (number(s[1:3])*60 + number(s[3:])) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), nil
}

// hasOffset reports whether a DT value, which is valid, ends in an offset from UTC.
func hasOffset(s string) bool { return strings.ContainsAny(s, "+-") }

// civil reads the normal form of a date time.
func civil(s string, zone *time.Location) time.Time {
	t, _ := time.ParseInLocation("20060102150405.000000", leapSecond(s), zone) // it is valid
	return t
}

// Age is a value of AS: so many days, weeks, months or years.
type Age struct {
	N    int  // 0 to 999
	Unit byte // 'D', 'W', 'M' or 'Y'
}

// ParseAS reads an age, nnnD, nnnW, nnnM or nnnY (PS3.5 section 6.2). The error
// wraps [ErrValue].
func ParseAS(s string) (Age, error) {
	s = strings.TrimSpace(s)
	if len(s) != 4 || !digits(s[:3]) || strings.IndexByte("DWMY", s[3]) < 0 {
		return Age{}, notAValue(dict.AS)
	}
	return Age{N: number(s[:3]), Unit: s[3]}, nil
}

// String returns the age as AS writes it.
func (a Age) String() string { return fmt.Sprintf("%03d%c", a.N, a.Unit) }

// ParseIS reads an integer string (PS3.5 section 6.2): one that fits 32 bits.
// The error wraps [ErrValue].
func ParseIS(s string) (int32, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, notAValue(dict.IS)
	}
	return int32(n), nil
}

// ParseDS reads a decimal string (PS3.5 section 6.2). More than the 16 characters
// that are allowed are taken, as many devices write them. The error wraps
// [ErrValue].
func ParseDS(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, notAValue(dict.DS)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, notAValue(dict.DS)
	}
	return f, nil
}

// NameComponents are the five components of one group of a person name.
type NameComponents struct{ Family, Given, Middle, Prefix, Suffix string }

// PersonName is a value of PN in its three component groups (PS3.5 section
// 6.2.1).
type PersonName struct{ Alphabetic, Ideographic, Phonetic NameComponents }

// ParsePN takes a name apart. Spaces around components mean nothing; a sixth
// component or a fourth group has no place in a name and is an error, which
// wraps [ErrValue].
func ParsePN(s string) (PersonName, error) {
	var n PersonName
	groups := strings.Split(s, "=")
	if len(groups) > 3 {
		return n, notAValue(dict.PN)
	}
	for i, to := range [...]*NameComponents{&n.Alphabetic, &n.Ideographic, &n.Phonetic} {
		if i == len(groups) {
			break
		}
		components := strings.Split(groups[i], "^")
		for j, field := range [...]*string{&to.Family, &to.Given, &to.Middle, &to.Prefix, &to.Suffix} {
			if j < len(components) {
				*field = strings.Trim(components[j], " ")
			}
		}
		if len(components) > 5 {
			return PersonName{}, notAValue(dict.PN)
		}
	}
	return n, nil
}

// String returns the name as PN writes it, without the delimiters at its end.
func (n PersonName) String() string {
	return strings.TrimRight(n.Alphabetic.String()+"="+n.Ideographic.String()+"="+n.Phonetic.String(), "=")
}

// String returns the components, without the delimiters at their end.
func (c NameComponents) String() string {
	return strings.TrimRight(strings.Join([]string{c.Family, c.Given, c.Middle, c.Prefix, c.Suffix}, "^"), "^")
}
