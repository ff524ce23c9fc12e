package dicom_test

import (
	"errors"
	"testing"
	"time"

	"lumen/dicom"
)

func TestParseDates(t *testing.T) {
	day := func(h, m, s, us int) time.Time { return time.Date(2024, 2, 29, h, m, s, us*1000, time.UTC) }
	if d, err := dicom.ParseDA("20240229"); err != nil || !d.Equal(day(0, 0, 0, 0)) {
		t.Errorf("DA: %v, %v", d, err)
	}
	first, last, err := dicom.ParseTM("1011")
	if err != nil || first != 10*time.Hour+11*time.Minute || last-first != time.Minute-time.Microsecond {
		t.Errorf("TM: %v to %v, %v", first, last, err)
	}
	zone, err := dicom.ParseOffset("+0200")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		value       string
		zone        *time.Location
		first, last time.Time
	}{
		{"20240229101112.5", nil, day(10, 11, 12, 500_000), day(10, 11, 12, 599_999)},
		{"20240229101112.500000", zone, day(8, 11, 12, 500_000), day(8, 11, 12, 500_000)},
		{"2024022910-0330", zone, day(13, 30, 0, 0), day(14, 29, 59, 999_999)},
		{"2024", zone, time.Date(2023, 12, 31, 22, 0, 0, 0, time.UTC), time.Date(2024, 12, 31, 21, 59, 59, 999_999_000, time.UTC)},
	} {
		first, last, err := dicom.ParseDT(c.value, c.zone)
		if err != nil || !first.Equal(c.first) || !last.Equal(c.last) {
			t.Errorf("DT %s: %v to %v, %v", c.value, first.UTC(), last.UTC(), err)
		}
	}
}

func TestParseNumbersAndAges(t *testing.T) {
	if n, err := dicom.ParseIS(" -042 "); n != -42 || err != nil {
		t.Errorf("IS %v, %v", n, err)
	}
	if f, err := dicom.ParseDS("+1.5e-3 "); f != 0.0015 || err != nil {
		t.Errorf("DS %v, %v", f, err)
	}
	if a, err := dicom.ParseAS("018M"); a != (dicom.Age{N: 18, Unit: 'M'}) || err != nil || a.String() != "018M" {
		t.Errorf("AS %v, %v", a, err)
	}
}

func TestParsePN(t *testing.T) {
	const name = "Yamada^Tarou^^Dr=山田^太郎=やまだ^たろう"
	n, err := dicom.ParsePN(name + "^^^")
	want := dicom.PersonName{
		Alphabetic:  dicom.NameComponents{Family: "Yamada", Given: "Tarou", Prefix: "Dr"},
		Ideographic: dicom.NameComponents{Family: "山田", Given: "太郎"},
		Phonetic:    dicom.NameComponents{Family: "やまだ", Given: "たろう"},
	}
	if n != want || err != nil || n.String() != name {
		t.Errorf("%+v %q, %v", n, n, err)
	}
	if n, err := dicom.ParsePN("=山田"); n.Ideographic.Family != "山田" || err != nil || n.String() != "=山田" {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestParsersRefuse(t *testing.T) {
	for name, err := range map[string]error{
		"DA of 30 February": second(dicom.ParseDA("20240230")),
		"DA that is empty":  second(dicom.ParseDA("")),
		"TM":                third(dicom.ParseTM("2460")),
		"DT":                third(dicom.ParseDT("20240229-9900", nil)),
		"offset":            second(dicom.ParseOffset("0200")),
		"AS":                second(dicom.ParseAS("18Y")),
		"IS of 33 bits":     second(dicom.ParseIS("4294967296")),
		"IS with a point":   second(dicom.ParseIS("1.0")),
		"DS in hexadecimal": second(dicom.ParseDS("0x1p4")),
		"DS that is none":   second(dicom.ParseDS("NaN")),
		"DS too large":      second(dicom.ParseDS("1e999")),
		"PN of four groups": second(dicom.ParsePN("a=b=c=d")),
		"PN, six parts":     second(dicom.ParsePN("a^b^c^d^e^f")),
	} {
		if !errors.Is(err, dicom.ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func third[T any](_, _ T, err error) error { return err }
