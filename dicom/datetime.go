package dicom

import (
	"strings"
	"time"
)

// The normal forms in which dates, times and date times are compared: as
// strings, so that the earlier one is less.
//
//	DA  YYYYMMDD
//	TM  HHMMSS.FFFFFF
//	DT  YYYYMMDDHHMMSS.FFFFFF
const (
	earliestTM = "000000.000000"
	latestTM   = "235959.999999"
)

// plainDate brings YYYY.MM.DD, which ACR-NEMA had (PS3.5 table 6.2-1), to
// YYYYMMDD.
func plainDate(s string) string {
	if len(s) == 10 && (s[4] == '.' && s[7] == '.' || s[4] == '-' && s[7] == '-') {
		return s[:4] + s[5:7] + s[8:]
	}
	return s
}

// normalDate returns the normal form of a DA value.
func normalDate(s string) (string, bool) {
	s = plainDate(strings.TrimSpace(s))
	if len(s) != 8 || !digits(s) || !validDay(s) {
		return "", false
	}
	return s, true
}

func validDay(s string) bool {
	month, day := number(s[4:6]), number(s[6:8])
	return month >= 1 && month <= 12 && day >= 1 && day <= daysIn(number(s[:4]), month)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// normalTime returns the first and the last moment that a TM value stands for:
// they differ where it leaves components out. HH:MM:SS is what ACR-NEMA had.
func normalTime(s string) (first, last string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) >= 5 && s[2] == ':' {
		s = strings.ReplaceAll(s, ":", "")
	}
	whole, fraction, point := strings.Cut(s, ".")
	if n := len(whole); n != 2 && n != 4 && n != 6 || point && (n != 6 || fraction == "" || len(fraction) > 6) ||
		!digits(whole) || !digits(fraction) || whole[:2] > "23" || n >= 4 && whole[2:4] > "59" || n == 6 && whole[4:] > "60" {
		return "", "", false
	}
	if point {
		whole += "." + fraction
	}
	return whole + earliestTM[len(whole):], whole + latestTM[len(whole):], true
}

// normalDateTime returns the first and the last moment that a DT value stands
// for. One with an offset from UTC is brought to UTC; one without is taken as
// it is.
func normalDateTime(s string) (first, last string, ok bool) {
	s = strings.TrimSpace(s)
	minutes := 0
	if i := len(s) - 5; i >= 4 && (s[i] == '+' || s[i] == '-') && digits(s[i+1:]) {
		hours := number(s[i+1 : i+3])
		if minutes = hours*60 + number(s[i+3:]); hours > 14 || number(s[i+3:]) > 59 {
			return "", "", false
		}
		if s[i] == '-' {
			minutes = -minutes
		}
		s = s[:i]
	}
	date, clock := s, ""
	if len(s) > 8 {
		date, clock = s[:8], s[8:]
	}
	if n := len(date); n != 4 && n != 6 && n != 8 || !digits(date) {
		return "", "", false
	}
	firstDay, lastDay := date, date
	switch len(date) {
	case 4:
		firstDay, lastDay = date+"0101", date+"1231"
	case 6:
		if m := number(date[4:]); m < 1 || m > 12 {
			return "", "", false
		}
		n := daysIn(number(date[:4]), number(date[4:]))
		firstDay, lastDay = date+"01", date+string([]byte{'0' + byte(n/10), '0' + byte(n%10)})
	}
	if !validDay(firstDay) {
		return "", "", false
	}
	firstTime, lastTime := earliestTM, latestTM
	if clock != "" {
		if firstTime, lastTime, ok = normalTime(clock); !ok {
			return "", "", false
		}
	}
	return shift(firstDay+firstTime, -minutes), shift(lastDay+lastTime, -minutes), true
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// number reads decimal digits, of which there are few.
func number(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// shift moves a date time in its normal form by minutes.
func shift(s string, minutes int) string {
	if minutes == 0 {
		return s
	}
	t, err := time.Parse("20060102150405.000000", leapSecond(s))
	if err != nil {
		return s
	}
	switch t = t.Add(time.Duration(minutes) * time.Minute); {
	case t.Year() < 0: // the form has four digits
		return "00000101" + earliestTM
	case t.Year() > 9999:
		return "99991231" + latestTM
	}
	return t.Format("20060102150405.000000")
}

// leapSecond makes a second 60, which package time does not know, a 59.
func leapSecond(s string) string {
	if len(s) >= 14 && s[12:14] == "60" {
		return s[:12] + "59" + s[14:]
	}
	return s
}
