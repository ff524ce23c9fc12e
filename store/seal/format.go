package seal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Sizes of the parts of a sealed object, in bytes.
const (
	HeaderSize = 60 // the header, in clear
	PrefixSize = HeaderSize + saltSize + commitmentSize
	ChunkSize  = 16 << 10 // plaintext of every chunk but the last, which has less

	saltSize       = 24
	commitmentSize = 32
	tagSize        = 16
	nonceSize      = 12
	sealedChunk    = ChunkSize + tagSize
	maxChunks      = 1 << 38 // the construction's limit: 4 PiB
)

const (
	magic = "LUMENB\x00"
	// Version is the format that this package writes; it is 0, and may change,
	// until the first release.
	Version = 0
	// SuiteAES256GCM is AES-256-GCM with HKDF-Expand-SHA-512 and 16 KiB chunks.
	SuiteAES256GCM = 1

	suiteLabel = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM"
)

// Errors that callers tell apart. All of them mean that no plaintext was
// returned for the part in question.
var (
	// ErrFormat: not a sealed object, or one of a version this package is too
	// old for.
	ErrFormat = errors.New("not a sealed object of a known format")
	// ErrHeader: a sealed object, but not the one that was asked for.
	ErrHeader = errors.New("sealed object is not the one asked for")
	// ErrKey: sealed with another key, or its first bytes were changed.
	ErrKey = errors.New("sealed object does not open with this key")
	// ErrCorrupt: changed since it was sealed.
	ErrCorrupt = errors.New("sealed object was changed")
	// ErrTruncated: its end is missing.
	ErrTruncated = errors.New("sealed object is cut short")
)

// Kind says what the plaintext of an object is.
type Kind byte

// The kinds of object.
const (
	KindInstance Kind = 1 // a Part 10 file and its trailer
	KindKey      Kind = 2 // a wrapped key
	KindFact     Kind = 3 // what is in no instance: holds, deletions, corrections
	KindDerived  Kind = 4 // can be made again: thumbnails, series metadata
	KindBackup   Kind = 5 // a copy of keys or of the index
)

var kindNames = [...]string{KindInstance: "instance", KindKey: "key", KindFact: "fact", KindDerived: "derived", KindBackup: "backup"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Handle is a random name: of a tenant, a study or an object. It says nothing
// about what it names, so it may stand in clear in paths and logs.
type Handle [16]byte

// NewHandle returns a handle that nobody has.
func NewHandle() (h Handle) {
	rand.Read(h[:]) // never fails
	return h
}

// ParseHandle reads the 32 hexadecimal digits that [Handle.String] writes.
func ParseHandle(s string) (h Handle, err error) {
	if len(s) != 2*len(h) {
		return h, errors.New("a handle has 32 hexadecimal digits")
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return h, errors.New("a handle has lower-case hexadecimal digits only")
		}
	}
	_, err = hex.Decode(h[:], []byte(s))
	return h, err
}

// String returns 32 lower-case hexadecimal digits.
func (h Handle) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h names nothing.
func (h Handle) IsZero() bool { return h == Handle{} }

// Header stands in clear at the beginning of an object and is authenticated
// with every chunk. The zero Version is the current one, the zero Suite means
// [SuiteAES256GCM] when sealing.
type Header struct {
	Version byte
	Suite   byte
	Kind    Kind
	Tenant  Handle
	Study   Handle // zero for what belongs to no study
	Blob    Handle // the object; for [KindKey] the id of the key that wraps it
}

func (h Header) withDefaults() Header {
	if h.Suite == 0 {
		h.Suite = SuiteAES256GCM
	}
	return h
}

func (h Header) encode() (b [HeaderSize]byte) {
	n := copy(b[:], magic)
	b[n], b[n+1], b[n+2] = h.Version, h.Suite, byte(h.Kind)
	binary.BigEndian.PutUint16(b[n+3:], HeaderSize)
	copy(b[12:], h.Tenant[:])
	copy(b[28:], h.Study[:])
	copy(b[44:], h.Blob[:])
	return b
}

// ParseHeader reads the header at the beginning of b, which holds at least
// [HeaderSize] bytes. Nothing vouches for it until the object has been opened.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %w", ErrFormat, ErrTruncated)
	}
	n := len(magic)
	if string(b[:n]) != magic {
		return Header{}, ErrFormat
	}
	h := Header{Version: b[n], Suite: b[n+1], Kind: Kind(b[n+2])}
	if h.Version != Version || h.Suite != SuiteAES256GCM || binary.BigEndian.Uint16(b[n+3:]) != HeaderSize {
		return Header{}, fmt.Errorf("%w: version %d, suite %d", ErrFormat, h.Version, h.Suite)
	}
	copy(h.Tenant[:], b[12:])
	copy(h.Study[:], b[28:])
	copy(h.Blob[:], b[44:])
	return h, nil
}

// SealedSize is the size of an object with plain bytes of plaintext.
func SealedSize(plain int64) int64 {
	return PrefixSize + plain/ChunkSize*sealedChunk + plain%ChunkSize + tagSize
}

// PlainSize is the size of the plaintext of an object of sealed bytes; it is
// [ErrTruncated] when no object has that size.
func PlainSize(sealed int64) (int64, error) {
	body := sealed - PrefixSize
	last := body % sealedChunk
	if body < tagSize || last < tagSize {
		return 0, ErrTruncated
	}
	return body/sealedChunk*ChunkSize + last - tagSize, nil
}
