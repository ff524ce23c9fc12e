package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// KeySize is the size of every key, in bytes.
const KeySize = 32

const redacted = "[key]"

// Key is a secret of 32 bytes. It prints as "[key]" through fmt, slog and
// encoding/json, and as an address from inside the private fields of other
// structs: the bytes are behind a function, which fmt cannot follow (a pointer
// it does follow, for a verb that does not fit). The zero Key is no key.
type Key struct{ secret func() *[KeySize]byte }

// NewKey returns the key with the given 32 bytes, which it copies.
func NewKey(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, errors.New("a key has 32 bytes")
	}
	secret := [KeySize]byte(b)
	return Key{func() *[KeySize]byte { return &secret }}, nil
}

// GenerateKey returns a new random key.
func GenerateKey() Key {
	var secret [KeySize]byte
	rand.Read(secret[:]) // never fails
	return Key{func() *[KeySize]byte { return &secret }}
}

// Bytes returns the secret. The caller does not modify or keep it.
func (k Key) Bytes() []byte {
	if k.secret == nil {
		return nil
	}
	return k.secret()[:]
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// Equal compares in constant time.
func (k Key) Equal(other Key) bool {
	return subtle.ConstantTimeCompare(k.Bytes(), other.Bytes()) == 1
}

// ID names the key without telling anything about it.
func (k Key) ID() Handle {
	sum := Token(k, "lumen key id")
	return Handle(sum[:len(Handle{})])
}

// Format implements [fmt.Formatter] for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the key out of encodings.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Token is HMAC-SHA-256 of value: equal values have equal tokens, and without
// the key a token cannot be tied to a value.
func Token(k Key, value string) (token [sha256.Size]byte) {
	mac := hmac.New(sha256.New, k.Bytes())
	mac.Write([]byte(value))
	mac.Sum(token[:0])
	return token
}
