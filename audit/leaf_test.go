package audit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"lumen/audit"
)

func fullLeaf() audit.Leaf {
	return audit.Leaf{Outcome: audit.MajorFailure, Time: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), Code: audit.RetrieveEnd,
		Actor: token("actor", "a"), Patient: token("patient", "p"), Study: token("study", "s"), Instances: 1, Frames: 2, Bytes: 3,
		Payload: [32]byte{9}, Request: strings.Repeat("r", 64), Object: strings.Repeat("o", 160)}
}

func TestLeafRoundTrip(t *testing.T) {
	for _, want := range []audit.Leaf{fullLeaf(), {Code: "x", Time: time.Unix(0, 0).UTC()}} {
		b, err := want.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := audit.ParseLeaf(b)
		if err != nil || got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
}

func TestLeafRefusesWhatItCannotHold(t *testing.T) {
	for name, change := range map[string]func(*audit.Leaf){
		"no code":                    func(l *audit.Leaf) { l.Code = "" },
		"code in capitals":           func(l *audit.Leaf) { l.Code = "Query" },
		"code with a slash in front": func(l *audit.Leaf) { l.Code = "/query" },
		"code of 25":                 func(l *audit.Leaf) { l.Code = audit.Code(strings.Repeat("c", 25)) },
		"outcome of 256":             func(l *audit.Leaf) { l.Outcome = 256 },
		"negative outcome":           func(l *audit.Leaf) { l.Outcome = -1 },
		"request of 65":              func(l *audit.Leaf) { l.Request += "r" },
		"request with a slash":       func(l *audit.Leaf) { l.Request = "a/b" },
		"object of 161":              func(l *audit.Leaf) { l.Object += "o" },
		"object that is a UID":       func(l *audit.Leaf) { l.Object = "1.2.840.10008" },
		"negative instances":         func(l *audit.Leaf) { l.Instances = -1 },
		"negative frames":            func(l *audit.Leaf) { l.Frames = -1 },
		"negative bytes":             func(l *audit.Leaf) { l.Bytes = -1 },
		"year 1":                     func(l *audit.Leaf) { l.Time = time.Time{} },
		"year 3000":                  func(l *audit.Leaf) { l.Time = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		l := fullLeaf()
		change(&l)
		if _, err := l.AppendBinary(nil); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseLeafRefuses(t *testing.T) {
	good, err := fullLeaf().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"cut":               func(b []byte) []byte { return b[:189] },
		"one byte less":     func(b []byte) []byte { return b[:len(b)-1] },
		"one byte more":     func(b []byte) []byte { return append(b, 'o') },
		"another version":   func(b []byte) []byte { b[0] = 1; return b },
		"code":              func(b []byte) []byte { b[12] = '.'; return b },
		"code, zero inside": func(b []byte) []byte { b[13] = 0; return b },
		"request":           func(b []byte) []byte { b[190] = '.'; return b },
		"object":            func(b []byte) []byte { b[190+64] = ' '; return b },
		"negative count":    func(b []byte) []byte { b[132] = 0x80; return b },
		"reserved byte":     func(b []byte) []byte { b[188] = 1; return b },
		"shifted lengths":   func(b []byte) []byte { b[2]++; b[3]--; return b },
	} {
		if _, err := audit.ParseLeaf(change(append([]byte(nil), good...))); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestTokensAsText(t *testing.T) {
	want := token("patient", "x")
	got, err := audit.ParseToken(want.String())
	if err != nil || got != want {
		t.Errorf("%v became %v, %v", want, got, err)
	}
	if s := (audit.Token{}).String(); s != "-" {
		t.Errorf("the token of nobody is %q", s)
	}
	for _, bad := range []string{"", "-", "xy", want.String()[2:], want.String() + "00"} {
		if _, err := audit.ParseToken(bad); err == nil {
			t.Errorf("%q is a token", bad)
		}
	}
	b, err := json.Marshal(map[string]audit.Token{"none": {}, "some": want})
	if err != nil || string(b) != `{"none":"","some":"`+want.String()+`"}` {
		t.Errorf("%s, %v", b, err)
	}
}
