package index

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// token stands for an identifier in keys: the first 16 bytes of its
// HMAC-SHA-256 under the tenant's index-token key.
type token [16]byte

// The kinds of identifier. The same text of two kinds has two tokens.
const (
	kindStudy    = "study\x00"
	kindSeries   = "series\x00"
	kindInstance = "instance\x00"
	kindPatient  = "patient\x00"
)

func (db *DB) token(kind, value string) token {
	sum := db.config.Token(kind + value)
	return token(sum[:16])
}

// maxSeals is how many values one record key seals: with random nonces of 96
// bits the chance that two are equal then stays below 2^-32 (NIST SP 800-38D,
// 8.3).
const maxSeals = 1 << 30

// valueHead is the version of the record key, before the nonce.
const valueHead = 4

// overhead is what a sealed value has more than its plaintext.
const overhead = valueHead + 12 + 16

var errValue = errors.New("a value does not open")

// sealer seals and opens values: version of the record key, nonce, AES-256-GCM
// ciphertext; bucket, key and version are authenticated with it.
type sealer struct {
	key func(version uint32) ([]byte, error)

	mu    sync.RWMutex
	aeads map[uint32]cipher.AEAD
}

// aead returns the cipher of one record key. It makes and takes the nonce
// itself, in front of the ciphertext.
func (s *sealer) aead(version uint32) (cipher.AEAD, error) {
	s.mu.RLock()
	a := s.aeads[version]
	s.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	key, err := s.key(version)
	if err != nil {
		return nil, fmt.Errorf("record key: %w", err)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("record key: %w", err)
	}
	if a, err = cipher.NewGCMWithRandomNonce(b); err != nil {
		return nil, fmt.Errorf("record key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aeads == nil {
		s.aeads = make(map[uint32]cipher.AEAD)
	}
	s.aeads[version] = a
	return a, nil
}

// appendAAD appends what is authenticated beside a value. No bucket's name is
// the beginning of another's followed by a zero.
func appendAAD(dst, bucket, key []byte, version uint32) []byte {
	dst = append(append(dst, bucket...), 0)
	dst = append(dst, key...)
	return binary.BigEndian.AppendUint32(dst, version)
}

// seal returns the value for plain.
func (s *sealer) seal(bucket, key, plain []byte, version uint32) ([]byte, error) {
	a, err := s.aead(version)
	if err != nil {
		return nil, err
	}
	value := make([]byte, valueHead, overhead+len(plain))
	binary.BigEndian.PutUint32(value, version)
	return a.Seal(value, nil, plain, appendAAD(nil, bucket, key, version)), nil
}

// open appends the plaintext of a value to dst. scratch is memory for the
// authenticated data, which it returns grown.
func (s *sealer) open(dst, scratch, bucket, key, value []byte) (plain, _ []byte, err error) {
	if len(value) < overhead {
		return nil, scratch, errValue
	}
	version := binary.BigEndian.Uint32(value)
	a, err := s.aead(version)
	if err != nil {
		return nil, scratch, err
	}
	scratch = appendAAD(scratch[:0], bucket, key, version)
	plain, err = a.Open(dst, nil, value[valueHead:], scratch)
	if err != nil {
		return nil, scratch, errValue
	}
	return plain, scratch, nil
}
