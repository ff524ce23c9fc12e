package node

import (
	"bytes"
	"context"
	"testing"

	"lumen/store/seal"
)

func newPayloads() *payloads {
	keys := map[string]seal.Key{}
	return &payloads{key: func(_ context.Context, month string, create bool) (seal.Key, error) {
		if _, ok := keys[month]; !ok && create {
			keys[month] = seal.GenerateKey()
		}
		if k, ok := keys[month]; ok {
			return k, nil
		}
		return seal.Key{}, errPayload
	}}
}

func TestPayloadsOpenAgain(t *testing.T) {
	p := newPayloads()
	var sealed [][]byte
	for _, month := range []string{"2026-11", "2026-12", "2026-11"} {
		s, err := p.Seal(month, []byte("who and "+month))
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, s)
	}
	// Another process reads what this one wrote.
	other := &payloads{key: p.key}
	for i, month := range []string{"2026-11", "2026-12", "2026-11"} {
		if plain, err := other.Open(month, sealed[i]); err != nil || string(plain) != "who and "+month {
			t.Errorf("%q, %v", plain, err)
		}
	}
	if _, err := other.Open("2026-12", sealed[0]); err == nil {
		t.Error("a payload opened as one of another month")
	}
	if bytes.Equal(sealed[0][:payloadHead], sealed[2][:payloadHead]) {
		t.Error("a nonce was used twice")
	}
}

func TestAlteredPayloadsDoNotOpen(t *testing.T) {
	p := newPayloads()
	sealed, err := p.Seal("2026-11", []byte("who"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := p.Open("2026-11", altered); err == nil {
			t.Errorf("opened with byte %d altered", i)
		}
		if _, err := p.Open("2026-11", sealed[:i]); err == nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
}
