package wado_test

import (
	"context"
	"path/filepath"
	"testing"

	"lumen/access"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/index"
	"lumen/store/seal"
	"lumen/store/storetest"
	"lumen/wado"
)

// newArchive opens an archive over objects in memory and the real index.
func newArchive(t testing.TB, journal *storetest.Journal, blobs store.Blobs) wado.Archive {
	t.Helper()
	keys, err := seal.OpenKeyring(t.Context(), seal.KeyringConfig{
		Root: seal.FileRoot(durable.NewMem(0), "/keys/root"), Objects: blobs, Tenant: access.DefaultTenant, Create: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	token := keys.IndexToken()
	db, err := index.Open(t.Context(), index.Config{
		Path:   filepath.Join(t.TempDir(), "index"),
		Tenant: keys.Tenant(),
		Token:  func(value string) [32]byte { return seal.Token(token, value) },
		RecordKey: func(version uint32) ([]byte, error) {
			key, err := keys.RecordKey(context.Background(), version, true)
			if err != nil {
				return nil, err
			}
			return key.Bytes(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := store.Open(t.Context(), store.Config{Blobs: blobs, Index: db, Journal: journal, Keys: keys, NoSweep: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := archive.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return archive
}

// newBlobs is where objects are kept in most tests.
func newBlobs() store.Blobs { return new(mem.Blobs) }
