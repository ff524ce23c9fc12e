package seal

import "io"

// NewWriterWithSalt seals the same plaintext to the same bytes, for vectors.
func NewWriterWithSalt(w io.Writer, key Key, h Header, salt [24]byte) (*Writer, error) {
	return newWriter(w, key, h, salt)
}

// ReencodeWrapped decodes the plaintext of a key object and encodes it again.
func ReencodeWrapped(b []byte) ([]byte, error) {
	w, err := decodeWrapped(b)
	if err != nil {
		return nil, err
	}
	return w.encode(), nil
}
