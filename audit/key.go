package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"lumen/internal/durable"
)

// Key signs a journal's checkpoints. Its name is the journal's origin line.
type Key struct {
	secret string // as note.GenerateKey made it
	public string
	signer note.Signer
}

// GenerateKey makes an Ed25519 key for the journal named origin: no spaces, no
// plus sign, at most 255 bytes.
func GenerateKey(origin string) (*Key, error) {
	if origin == "" || len(origin) > maxOrigin || strings.ContainsFunc(origin, func(r rune) bool {
		return r <= ' ' || r == '+' || r > '~'
	}) {
		return nil, fmt.Errorf("%q cannot be the name of a journal: printable ASCII without spaces and +", origin)
	}
	secret, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return parseKey(secret)
}

// parseKey reads a note signer key; errors never hold any of it.
func parseKey(secret string) (*Key, error) {
	bad := errors.New("not an Ed25519 signing key")
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, bad
	}
	parts := strings.SplitN(secret, "+", 5) // PRIVATE+KEY+name+hash+keydata; base64 has plus signs as well
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, bad
	}
	private := ed25519.NewKeyFromSeed(raw[1:])
	public, err := note.NewEd25519VerifierKey(signer.Name(), private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, bad
	}
	return &Key{secret, public, signer}, nil
}

// LoadKey reads the key from a file. It refuses a file that others can read.
func LoadKey(fsys durable.FS, name string) (*Key, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: make it mode 0600", filepath.Base(name))
	}
	b, err := durable.ReadFile(fsys, name, 4096)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return key, nil
}

// LoadOrGenerateKey reads the key from a file, or makes one for origin and
// writes it there, durably and with mode 0600, when there is no such file.
func LoadOrGenerateKey(fsys durable.FS, name, origin string) (key *Key, created bool, err error) {
	key, err = LoadKey(fsys, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = GenerateKey(origin); err != nil {
		return nil, false, err
	}
	if err := durable.WriteFile(fsys, name, []byte(key.secret+"\n"), 0o600); err != nil {
		return nil, false, fmt.Errorf("write the signing key: %w", err)
	}
	return key, true, nil
}

// Origin is the name of the journal that the key signs.
func (k *Key) Origin() string { return k.signer.Name() }

// Public is the verifier key, one line: what [Verify] takes.
func (k *Key) Public() string { return k.public }

// LogValue keeps the secret out of logs.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.public) }

// String is the public key.
func (k *Key) String() string { return k.public }

// GoString is the public key: %#v must not print the other one.
func (k *Key) GoString() string { return k.public }

func (k *Key) verifier() note.Verifier {
	v, err := note.NewVerifier(k.public)
	if err != nil {
		panic("audit: a key's own public key does not parse: " + err.Error())
	}
	return v
}
