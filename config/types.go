package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It is written as a whole number with an optional
// unit: B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/unit.bytes {
			break
		}
		*s = Size(int64(n) * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: write 64MiB, 2GiB or a number of bytes", text)
}

// String writes the size with the largest unit of 1024 that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits[:4] {
		if s != 0 && int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Duration is a time.Duration written as 30s, 5m or 1h30m.
type Duration time.Duration

// UnmarshalText reads a duration, which must have a unit and not be negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write 500ms, 30s or 5m", text)
	}
	*d = Duration(v)
	return nil
}

// String writes the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// Secret says where a secret is kept: in a file or in an environment variable.
// The secret itself is never part of the configuration.
type Secret struct {
	File string // file:PATH
	Env  string // env:NAME
}

// UnmarshalText reads file:PATH or env:NAME. The text is not repeated in the
// error: somebody may have put the secret itself here.
func (s *Secret) UnmarshalText(text []byte) error {
	kind, value, _ := strings.Cut(string(text), ":")
	switch {
	case kind == "file" && value != "":
		*s = Secret{File: value}
	case kind == "env" && value != "":
		*s = Secret{Env: value}
	default:
		return errors.New("write file:PATH or env:NAME, never the secret itself")
	}
	return nil
}

// String names the place.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file:" + s.File
	case s.Env != "":
		return "env:" + s.Env
	}
	return ""
}

// Read returns the secret, without space around it. It refuses a file that
// others may read.
func (s Secret) Read() (string, error) {
	if s.Env != "" {
		value, ok := os.LookupEnv(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return strings.TrimSpace(value), nil
	}
	info, err := os.Stat(s.File)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %04o: others may read it; run chmod 600", s.File, info.Mode().Perm())
	}
	value, err := os.ReadFile(s.File)
	return strings.TrimSpace(string(value)), err
}

func (s Secret) isZero() bool { return s == Secret{} }
