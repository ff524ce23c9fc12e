package node

import (
	"context"
	"encoding/hex"
	"testing"

	"lumen/store/seal"
)

// The format on disk is frozen: this payload was made once, by another
// implementation of docs/formats/journal.md, and every version opens it.
func TestSealedPayloadIsFrozen(t *testing.T) {
	key, err := seal.NewKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	p := &payloads{key: func(context.Context, string, bool) (seal.Key, error) { return key, nil }}
	const frozen = "01000102030405060708090a0b0c0d0e0f00000000000000074cd0bb9bc738f11784f93e5463a74ebafba1be24d1b67c49a7bbfc5c0120423dd853"
	sealed, err := hex.DecodeString(frozen)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := p.Open("2026-11", sealed); err != nil || string(plain) != `{"actor":"TOWER1"}` {
		t.Errorf("%q, %v", plain, err)
	}
}
