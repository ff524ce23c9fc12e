package seal

import "io"

// NewWriterWithSalt seals the same plaintext to the same bytes, for vectors.
func NewWriterWithSalt(w io.Writer, key Key, h Header, salt [24]byte) (*Writer, error) {
	return newWriter(w, key, h, salt)
}
