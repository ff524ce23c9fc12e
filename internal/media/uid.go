package media

import (
	"crypto/rand"
	"math/big"
)

// newUID makes a UID of a random UUID (PS3.5 annex B.2).
func newUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return "2.25." + new(big.Int).SetBytes(u[:]).String()
}
