package node

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"

	"lumen/store/seal"
)

// A sealed payload of the journal is
//
//	version 1 | salt 16 | number 8 | AES-256-GCM ciphertext and tag
//
// under the key HKDF-SHA-256(month's journal key, salt, payloadLabel), with the
// number, big-endian in the last 8 bytes, as nonce and all before the
// ciphertext as additional data. The salt is random for each process and
// month and the number counts up: so no nonce repeats however many are sealed.
const (
	payloadVersion = 1
	payloadSalt    = 16
	payloadHead    = 1 + payloadSalt + 8
	payloadLabel   = "lumen journal payload"
)

// maxOpeners bounds the cached keys for opening: one is needed for each process
// that wrote the journal.
const maxOpeners = 64

// errPayload says that a payload does not open: wrong key, or altered.
var errPayload = errors.New("a journal payload does not open")

// payloads seals and opens the payloads of one tenant's journal.
type payloads struct {
	// key returns the journal key of a month, making it when create is set.
	key func(ctx context.Context, month string, create bool) (seal.Key, error)

	mu      sync.Mutex
	month   string
	current *payloadSealer // of month
	openers map[string]cipher.AEAD
}

type payloadSealer struct {
	aead cipher.AEAD
	salt [payloadSalt]byte
	used uint64
}

// Seal implements audit.Config.Seal.
func (p *payloads) Seal(month string, plain []byte) ([]byte, error) {
	aead, head, err := p.next(month)
	if err != nil {
		return nil, err
	}
	out := make([]byte, payloadHead, payloadHead+len(plain)+aead.Overhead())
	copy(out, head[:])
	return aead.Seal(out, payloadNonce(out), plain, out[:payloadHead]), nil
}

// next returns the cipher of a month and the head of its next payload.
func (p *payloads) next(month string) (aead cipher.AEAD, head [payloadHead]byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || p.month != month {
		s := &payloadSealer{}
		rand.Read(s.salt[:]) // never fails
		if s.aead, err = p.derive(month, s.salt[:], true); err != nil {
			return nil, head, err
		}
		p.month, p.current = month, s
	}
	p.current.used++
	head[0] = payloadVersion
	copy(head[1:], p.current.salt[:])
	binary.BigEndian.PutUint64(head[1+payloadSalt:], p.current.used)
	return p.current.aead, head, nil
}

// Open implements audit.Config.Open.
func (p *payloads) Open(month string, sealed []byte) ([]byte, error) {
	if len(sealed) < payloadHead || sealed[0] != payloadVersion {
		return nil, errPayload
	}
	aead, err := p.opener(month, sealed[1:1+payloadSalt])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, payloadNonce(sealed), sealed[payloadHead:], sealed[:payloadHead])
	if err != nil {
		return nil, errPayload
	}
	return plain, nil
}

func (p *payloads) opener(month string, salt []byte) (cipher.AEAD, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := month + string(salt)
	if aead, ok := p.openers[id]; ok {
		return aead, nil
	}
	aead, err := p.derive(month, salt, false)
	if err != nil {
		return nil, err
	}
	if p.openers == nil || len(p.openers) >= maxOpeners {
		p.openers = map[string]cipher.AEAD{}
	}
	p.openers[id] = aead
	return aead, nil
}

func (p *payloads) derive(month string, salt []byte, create bool) (cipher.AEAD, error) {
	k, err := p.key(context.Background(), month, create)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, k.Bytes(), salt, payloadLabel, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// payloadNonce is the nonce of a payload whose head is in b.
func payloadNonce(b []byte) []byte {
	return append(make([]byte, 4, 12), b[1+payloadSalt:payloadHead]...)
}
