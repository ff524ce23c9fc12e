package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"lumen/access"
	"lumen/config"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/seal"
	"lumen/store/seal/backup"
)

// RestoreRootKey reads the root key from a backup, with the identities of one
// of its recipients, and writes it where the configuration has it. The data
// folder is made when it is not there. A key that is there already is never
// replaced by another, and one that does not open the objects beside it is
// refused. It returns the key's id.
func RestoreRootKey(ctx context.Context, cfg config.Config, sealed, identities io.Reader) (id string, err error) {
	if cfg.Keys.Root.Env != "" {
		return "", fmt.Errorf("the configuration takes the root key from the variable %s: put it there, `age -d` shows it", cfg.Keys.Root.Env)
	}
	if err := hardenProcess(); err != nil {
		return "", err
	}
	key, err := backup.Read(sealed, identities)
	if err != nil {
		return "", err
	}
	fsys := durable.OS()
	folder, err := OpenFolder(fsys, cfg.Data, true)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	if err := fits(ctx, fsys, folder, key); err != nil {
		return "", err
	}
	// The mark comes first: a key without it could begin a new archive.
	if err := durable.WriteFile(fsys, folder.restoredFile(), []byte(key.ID().String()+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := seal.WriteRoot(fsys, rootPlace(cfg, folder), key); err != nil {
		return "", errors.Join(err, fsys.Remove(folder.restoredFile()))
	}
	return key.ID().String(), nil
}

// fits tries key on the objects that are in the folder. When there are none yet
// nothing can be said.
func fits(ctx context.Context, fsys durable.FS, folder *Folder, key seal.Key) error {
	for _, place := range []string{"blobs", "spool"} {
		if _, err := fsys.Stat(folder.path(place)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		objects, err := dir.New(fsys, folder.path(place))
		if err != nil {
			return err
		}
		_, err = seal.OpenKeyring(ctx, seal.KeyringConfig{Root: knownRoot{key}, Objects: objects, Tenant: access.DefaultTenant})
		if err != nil && !errors.Is(err, seal.ErrNoTenant) {
			return fmt.Errorf("try the key on the objects that are here: %w", err)
		}
	}
	return nil
}

// knownRoot is a root key that is in no place yet.
type knownRoot struct{ key seal.Key }

func (r knownRoot) Key(context.Context, bool) (seal.Key, error) { return r.key, nil }

func (knownRoot) Provider() string { return "backup" }

// restoredFile is there from the restore of the root key until objects were
// opened with it.
func (f *Folder) restoredFile() string { return f.path("run", "restored") }

// restored reports whether the folder waits for the objects of its root key. It
// must not begin a new archive then: they may only be on their way.
func (f *Folder) restored() bool {
	_, err := os.Stat(f.restoredFile())
	return err == nil
}

// mayBegin reports whether an archive may be begun where there is none.
func (f *Folder) mayBegin() bool { return !f.existing && !f.restored() }

// forgetRestore ends the wait for objects: they were opened.
func (f *Folder) forgetRestore(fsys durable.FS) error {
	if !f.restored() {
		return nil
	}
	return errors.Join(fsys.Remove(f.restoredFile()), fsys.SyncDir(f.path("run")))
}

// needsRebuild refuses to go without the index after a restore: an archive that
// shows nothing, or only what a sweep has found so far, must not be served.
func (f *Folder) needsRebuild() error {
	if _, err := os.Stat(f.path("index", indexFile)); f.restored() && errors.Is(err, fs.ErrNotExist) {
		return errors.New("the root key was restored: put the objects into their place and run `lumen index rebuild`")
	}
	return nil
}

// explainRestored says what keys lack where none may be begun.
func explainRestored(f *Folder, err error) error {
	switch {
	case !errors.Is(err, seal.ErrNoTenant) || f.mayBegin():
		return err
	case f.restored():
		return errors.New("the root key was restored, but the objects that it opens are not here: put them into their place")
	}
	return errors.New("there are no objects here: put them into their place")
}

// recordRestore journals that the root key was restored. It could not be
// recorded then: the journal's keys are among the objects.
func (n *node) recordRestore(ctx context.Context) error {
	if !n.folder.restored() {
		return nil
	}
	return n.record(ctx, store.EventKey, map[string]string{"operation": "restored"})
}
