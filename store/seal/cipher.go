package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// batch is how many chunks are sealed or opened between two calls to the
// underlying writer or reader.
const batch = 8

// Buffers are pooled as pointers to arrays, so that putting one back does not
// allocate.
var (
	sealedBuffers = sync.Pool{New: func() any { return new([batch * sealedChunk]byte) }}
	chunkBuffers  = sync.Pool{New: func() any { return new([ChunkSize]byte) }}
	plainBuffers  = sync.Pool{New: func() any { return new([batch * ChunkSize]byte) }}
)

// message is the key material of one object: safe for concurrent use.
type message struct {
	aead       cipher.AEAD
	base       [nonceSize]byte
	commitment [commitmentSize]byte
}

// derive makes the key, base nonce and commitment of an object.
func derive(key Key, salt []byte, header [HeaderSize]byte) (*message, error) {
	if key.IsZero() {
		return nil, errors.New("no key")
	}
	info := make([]byte, 0, len(suiteLabel)+1+saltSize+HeaderSize)
	info = append(info, suiteLabel...)
	info = append(info, 0)
	info = append(info, salt...)
	info = append(info, header[:]...)
	material, err := hkdf.Expand(sha512.New, key.Bytes(), string(info), KeySize+nonceSize+commitmentSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of an object: %w", err)
	}
	block, err := aes.NewCipher(material[:KeySize])
	if err != nil {
		return nil, fmt.Errorf("derive the key of an object: %w", err)
	}
	m := &message{}
	if m.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("derive the key of an object: %w", err)
	}
	copy(m.base[:], material[KeySize:])
	copy(m.commitment[:], material[KeySize+nonceSize:])
	return m, nil
}

// openPrefix checks the first [PrefixSize] bytes of an object against what is
// expected and derives its key.
func openPrefix(prefix []byte, key Key, want Header) (*message, error) {
	h, err := ParseHeader(prefix)
	if err != nil {
		return nil, err
	}
	if h != want.withDefaults() {
		return nil, ErrHeader
	}
	m, err := derive(key, prefix[HeaderSize:HeaderSize+saltSize], [HeaderSize]byte(prefix))
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(m.commitment[:], prefix[HeaderSize+saltSize:PrefixSize]) != 1 {
		return nil, ErrKey
	}
	return m, nil
}

// nonce is scratch space for one goroutine, so that chunks need no allocation.
type nonce [nonceSize]byte

func (n *nonce) set(m *message, chunk int64) []byte {
	*n = m.base
	low := binary.BigEndian.Uint64(n[nonceSize-8:])
	binary.BigEndian.PutUint64(n[nonceSize-8:], low^uint64(chunk))
	return n[:]
}

// openChunks opens the chunks in sealed, all full but possibly the last, the
// first of which has number first. It appends to plain, which has the room.
func (m *message) openChunks(plain, sealed []byte, first int64, n *nonce) ([]byte, error) {
	for i := first; len(sealed) > 0; i++ {
		size := min(len(sealed), sealedChunk)
		if size < tagSize {
			return nil, ErrTruncated
		}
		var err error
		if plain, err = m.aead.Open(plain, n.set(m, i), sealed[:size], nil); err != nil {
			return nil, fmt.Errorf("open chunk %d: %w", i, ErrCorrupt)
		}
		sealed = sealed[size:]
	}
	return plain, nil
}
