package seal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lumen/internal/durable"
)

// ErrNoRoot says that there is no root key where it should be.
var ErrNoRoot = errors.New("there is no root key")

// Root provides the key that wraps the tenants' keys: the one secret that is
// not among the objects.
type Root interface {
	// Key returns the root key. Where there is none it makes one when create is
	// set and the provider can, durably; else the error wraps [ErrNoRoot].
	Key(ctx context.Context, create bool) (Key, error)
	// Provider says in one word where the key comes from, for status and logs.
	Provider() string
}

// FileRoot keeps the root key as 32 bytes in a file of mode 0600, which it makes
// with its folder (mode 0700). It refuses a file that others than its owner may
// read or write.
func FileRoot(fsys durable.FS, name string) Root { return fileRoot{fsys, name} }

type fileRoot struct {
	fs   durable.FS
	name string
}

func (fileRoot) Provider() string { return "file" }

func (r fileRoot) Key(_ context.Context, create bool) (Key, error) {
	info, err := r.fs.Stat(r.name)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return Key{}, fmt.Errorf("%w: %s is missing, restore it from its backup", ErrNoRoot, r.name)
		}
		k := GenerateKey()
		return k, r.write(k)
	}
	if err != nil {
		return Key{}, fmt.Errorf("root key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("root key file %s has mode %v, others may use it: chmod 600, and consider it known to them", r.name, info.Mode())
	}
	b, err := durable.ReadFile(r.fs, r.name, KeySize)
	if err != nil {
		return Key{}, fmt.Errorf("root key: %w", err)
	}
	k, err := NewKey(b)
	if err != nil {
		return Key{}, fmt.Errorf("root key file %s: %w", r.name, err)
	}
	return k, nil
}

// WriteRoot writes a root key where [FileRoot] reads it, durably. It never
// replaces a file that holds another key.
func WriteRoot(fsys durable.FS, name string, k Key) error {
	if k.IsZero() {
		return errors.New("write the root key: there is none")
	}
	r := fileRoot{fsys, name}
	old, err := r.Key(context.Background(), false)
	switch {
	case errors.Is(err, ErrNoRoot):
		return r.write(k)
	case err != nil:
		return err
	case !old.Equal(k):
		return fmt.Errorf("root key file %s holds another key, %s: move it away first", name, old.ID())
	}
	return nil
}

func (r fileRoot) write(k Key) error {
	if err := r.fs.MkdirAll(filepath.Dir(r.name), 0o700); err != nil {
		return fmt.Errorf("make the folder of the root key: %w", err)
	}
	if err := durable.WriteFile(r.fs, r.name, k.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the root key: %w", err)
	}
	return nil
}

// EnvRoot takes the root key from an environment variable, as 64 hexadecimal
// digits. It cannot make one.
func EnvRoot(name string) Root { return envRoot(name) }

type envRoot string

func (envRoot) Provider() string { return "env" }

func (r envRoot) Key(context.Context, bool) (Key, error) {
	s, ok := os.LookupEnv(string(r))
	if !ok {
		return Key{}, fmt.Errorf("%w: environment variable %s is not set", ErrNoRoot, string(r))
	}
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) != KeySize {
		return Key{}, fmt.Errorf("environment variable %s does not hold 64 hexadecimal digits", string(r)) // never its value
	}
	return NewKey(b)
}
