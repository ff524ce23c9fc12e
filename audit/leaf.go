package audit

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Token is a keyed hash that stands for an actor, a patient or a study. The
// zero Token stands for nobody.
type Token [32]byte

// String is the token in hex, or "-" for the zero token.
func (t Token) String() string {
	if t == (Token{}) {
		return "-"
	}
	return hex.EncodeToString(t[:])
}

// MarshalText is hex; empty for the zero token.
func (t Token) MarshalText() ([]byte, error) {
	if t == (Token{}) {
		return nil, nil
	}
	return hex.AppendEncode(nil, t[:]), nil
}

// ParseToken reads what [Token.String] wrote.
func ParseToken(s string) (Token, error) {
	var t Token
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(t) {
		return t, fmt.Errorf("a token is %d hexadecimal digits", 2*len(t))
	}
	copy(t[:], b)
	return t, nil
}

// Leaf is what the Merkle tree signs of one record. It holds no patient data.
type Leaf struct {
	Outcome Outcome
	Time    time.Time // UTC, nanoseconds
	Code    Code
	Actor   Token
	Patient Token
	Study   Token
	// How much was moved; zero where it means nothing.
	Instances, Frames, Bytes int64
	Payload                  [32]byte // SHA-256 of the sealed payload; zero without one
	Request                  string   // association or request id
	Object                   string   // object name
}

// The encoding of a leaf: leafFixed bytes, then the request id and the object name.
const (
	leafVersion = 0
	leafFixed   = 190
	codeSize    = 24
	maxRequest  = 64
	maxObject   = 160
	maxLeaf     = leafFixed + maxRequest + maxObject
)

// AppendBinary appends the leaf's encoding: the bytes that the tree hashes.
// It refuses what the encoding cannot hold.
func (l Leaf) AppendBinary(b []byte) ([]byte, error) {
	switch {
	case !validCode(string(l.Code)):
		return b, invalid("code")
	case l.Outcome < 0 || l.Outcome > 255:
		return b, invalid("outcome")
	case len(l.Request) > maxRequest || !plainName(l.Request, false):
		return b, invalid("request id")
	case len(l.Object) > maxObject || !plainName(l.Object, true):
		return b, invalid("object name")
	case l.Instances < 0 || l.Frames < 0 || l.Bytes < 0:
		return b, invalid("count")
	case l.Time.Before(minTime) || l.Time.After(maxTime):
		return b, invalid("time")
	}
	be := binary.BigEndian
	b = append(b, leafVersion, byte(l.Outcome), byte(len(l.Request)), byte(len(l.Object)))
	b = be.AppendUint64(b, uint64(l.Time.UnixNano()))
	var code [codeSize]byte
	copy(code[:], l.Code)
	b = append(b, code[:]...)
	b = append(b, l.Actor[:]...)
	b = append(b, l.Patient[:]...)
	b = append(b, l.Study[:]...)
	b = be.AppendUint64(b, uint64(l.Instances))
	b = be.AppendUint64(b, uint64(l.Frames))
	b = be.AppendUint64(b, uint64(l.Bytes))
	b = append(b, l.Payload[:]...)
	b = append(b, 0, 0)
	b = append(b, l.Request...)
	return append(b, l.Object...), nil
}

// ParseLeaf decodes a leaf. It accepts exactly what [Leaf.AppendBinary] makes,
// so that two different encodings never say the same.
func ParseLeaf(b []byte) (Leaf, error) {
	if len(b) < leafFixed {
		return Leaf{}, fmt.Errorf("leaf of %d bytes is too short", len(b))
	}
	if b[0] != leafVersion {
		return Leaf{}, fmt.Errorf("leaf version %d is unknown", b[0])
	}
	request, object := int(b[2]), int(b[3])
	if len(b) != leafFixed+request+object {
		return Leaf{}, fmt.Errorf("leaf of %d bytes should have %d", len(b), leafFixed+request+object)
	}
	be := binary.BigEndian
	l := Leaf{
		Outcome:   Outcome(b[1]),
		Time:      time.Unix(0, int64(be.Uint64(b[4:]))).UTC(),
		Instances: int64(be.Uint64(b[132:])),
		Frames:    int64(be.Uint64(b[140:])),
		Bytes:     int64(be.Uint64(b[148:])),
		Request:   string(b[leafFixed : leafFixed+request]),
		Object:    string(b[leafFixed+request:]),
	}
	code := b[12 : 12+codeSize]
	for len(code) > 0 && code[len(code)-1] == 0 {
		code = code[:len(code)-1]
	}
	l.Code = Code(code)
	copy(l.Actor[:], b[36:])
	copy(l.Patient[:], b[68:])
	copy(l.Study[:], b[100:])
	copy(l.Payload[:], b[156:])
	if b[188] != 0 || b[189] != 0 {
		return Leaf{}, fmt.Errorf("leaf has reserved bytes that are not zero")
	}
	switch {
	case !validCode(string(l.Code)):
		return Leaf{}, invalid("code")
	case request > maxRequest || !plainName(l.Request, false):
		return Leaf{}, invalid("request id")
	case object > maxObject || !plainName(l.Object, true):
		return Leaf{}, invalid("object name")
	case l.Instances < 0 || l.Frames < 0 || l.Bytes < 0:
		return Leaf{}, invalid("count")
	}
	return l, nil
}

// The times that 64 bits of nanoseconds hold.
var (
	minTime = time.Unix(0, -1<<63)
	maxTime = time.Unix(0, 1<<63-1)
)

func invalid(what string) error { return fmt.Errorf("%w: %s", ErrInvalid, what) }

// validCode: lower-case letters, digits, hyphens, and slashes between them.
func validCode(s string) bool {
	if s == "" || len(s) > codeSize || s[0] == '/' || s[len(s)-1] == '/' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '/' {
			return false
		}
	}
	return true
}

// plainName admits letters, digits, '-' and '_', and '/' in object names. There
// is no dot: so no UID, date or address can get into a leaf by mistake.
func plainName(s string, slash bool) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		case c == '/' && slash:
		default:
			return false
		}
	}
	return true
}
