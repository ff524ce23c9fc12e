package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"lumen/internal/durable"
	"lumen/store/blob"
)

// Errors of [OpenKeyring].
var (
	// ErrNoTenant: the objects hold no tenant of that name.
	ErrNoTenant = errors.New("there is no such tenant")
	// ErrWrongRoot: there are tenants, but another root key wraps their keys.
	ErrWrongRoot = errors.New("the root key is not the one that wraps this archive's keys")
)

// Labels of the keys that every tenant has, which are also the names of their
// objects.
const (
	labelIndexToken   = "index-token"
	labelJournalToken = "journal-token"
	labelRecord       = "record-"  // and the version
	labelJournal      = "journal-" // and the month
)

// Keyring holds the keys of one tenant. It is safe for concurrent use.
type Keyring struct {
	objects Objects
	clock   durable.Clock
	rootID  Handle
	source  string
	name    string
	tenant  Handle
	key     Key

	mu       sync.Mutex // held while a named key is made, so that it is made once
	named    map[string]Key
	studies  *lru
	indexTok Key
	jourTok  Key
}

// KeyringConfig says where keys come from and go to.
type KeyringConfig struct {
	Root    Root
	Objects Objects
	Clock   durable.Clock // nil is the system's
	Tenant  string        // its name, which appears only inside sealed objects
	// Create makes the tenant when there is none yet, and the root key when there
	// is no tenant at all: never a new root key beside objects of an old one.
	Create bool
	// Cache is how many study keys are kept in memory; 0 is 16 384 (3 MiB).
	Cache int
}

const defaultStudyCache = 16 << 10

// OpenKeyring opens the keys of a tenant, or makes them. What it made is durable
// when it returns.
func OpenKeyring(ctx context.Context, cfg KeyringConfig) (*Keyring, error) {
	if cfg.Clock == nil {
		cfg.Clock = durable.SystemClock()
	}
	if cfg.Cache <= 0 {
		cfg.Cache = defaultStudyCache
	}
	k := &Keyring{objects: cfg.Objects, clock: cfg.Clock, name: cfg.Tenant, source: cfg.Root.Provider(),
		named: map[string]Key{}, studies: newLRU(cfg.Cache)}
	tenants, err := listTenants(ctx, cfg.Objects)
	if err != nil {
		return nil, err
	}
	root, err := cfg.Root.Key(ctx, cfg.Create && len(tenants) == 0)
	if err != nil {
		return nil, err
	}
	k.rootID = root.ID()
	for _, tenant := range tenants {
		w, err := getKey(ctx, cfg.Objects, tenantName(tenant), root, tenant, Handle{})
		if errors.Is(err, ErrKey) {
			return nil, fmt.Errorf("%w: tenant %s: %w", ErrWrongRoot, tenant, err)
		}
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", tenant, err)
		}
		if w.label == cfg.Tenant {
			k.tenant, k.key = tenant, w.key
		}
	}
	if k.tenant.IsZero() {
		if !cfg.Create {
			return nil, ErrNoTenant
		}
		return k, k.create(ctx, root)
	}
	if k.indexTok, err = k.load(ctx, labelIndexToken); err != nil {
		return nil, err
	}
	if k.jourTok, err = k.load(ctx, labelJournalToken); err != nil {
		return nil, err
	}
	return k, nil
}

func listTenants(ctx context.Context, objects Objects) ([]Handle, error) {
	var tenants []Handle
	for info, err := range objects.List(ctx, tenantPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list tenants: %w", err)
		}
		if h, err := ParseHandle(strings.TrimPrefix(info.Name, tenantPrefix)); err == nil {
			tenants = append(tenants, h)
		}
	}
	return tenants, nil
}

// create makes a tenant: first the keys that it must have, last the key that
// opens them. After a crash in between there is no such tenant.
func (k *Keyring) create(ctx context.Context, root Key) (err error) {
	k.tenant, k.key = NewHandle(), GenerateKey()
	if k.indexTok, err = k.make(ctx, labelIndexToken); err != nil {
		return err
	}
	if k.jourTok, err = k.make(ctx, labelJournalToken); err != nil {
		return err
	}
	w := wrapped{key: k.key, created: k.clock.Now(), label: k.name}
	return putKey(ctx, k.objects, tenantName(k.tenant), root, k.tenant, Handle{}, w)
}

// Tenant is the tenant's handle, the first segment of its objects' names.
func (k *Keyring) Tenant() Handle { return k.tenant }

// Status is what an operator may know of the keys.
type Status struct {
	Provider string // of the root key: file, env
	RootID   Handle // names the root key, also in its backups
	Tenant   Handle
}

// Status describes where the keys come from.
func (k *Keyring) Status() Status {
	return Status{Provider: k.source, RootID: k.rootID, Tenant: k.tenant}
}

// IndexToken keys the tokens in the index.
func (k *Keyring) IndexToken() Key { return k.indexTok }

// JournalToken keys the tokens in the journal.
func (k *Keyring) JournalToken() Key { return k.jourTok }

// RecordKey seals the records of the index. Versions count from 1: a new one is
// due after 2^30 seals. A missing one is made when create is set; else the error
// is that of the objects.
func (k *Keyring) RecordKey(ctx context.Context, version uint32, create bool) (Key, error) {
	return k.forUse(ctx, fmt.Sprintf("%s%d", labelRecord, version), create)
}

// JournalKey seals the journal's payloads of a month, written "2026-11". A
// missing one is made when create is set: for appending, not for reading.
func (k *Keyring) JournalKey(ctx context.Context, month string, create bool) (Key, error) {
	if len(month) != len("2006-01") || strings.Trim(month, "0123456789-") != "" {
		return Key{}, errors.New("a month is written as in 2006-01")
	}
	return k.forUse(ctx, labelJournal+month, create)
}

func (k *Keyring) forUse(ctx context.Context, label string, create bool) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.named[label]; ok {
		return key, nil
	}
	key, err := k.load(ctx, label)
	if errors.Is(err, blob.ErrNotFound) && create {
		key, err = k.make(ctx, label)
	}
	if err != nil {
		return Key{}, err
	}
	k.named[label] = key
	return key, nil
}

func (k *Keyring) load(ctx context.Context, label string) (Key, error) {
	w, err := getKey(ctx, k.objects, keyName(k.tenant, label), k.key, k.tenant, Handle{})
	if err != nil {
		return Key{}, fmt.Errorf("%s key: %w", label, err)
	}
	if w.label != label {
		return Key{}, fmt.Errorf("%s key: %w", label, ErrHeader)
	}
	return w.key, nil
}

func (k *Keyring) make(ctx context.Context, label string) (Key, error) {
	w := wrapped{key: GenerateKey(), created: k.clock.Now(), label: label}
	return w.key, putKey(ctx, k.objects, keyName(k.tenant, label), k.key, k.tenant, Handle{}, w)
}

// NewStudy makes a key for a study under a new handle, which is the caller's so
// that it can be known before the key is there. The wrapped key, with the Study
// Instance UID beside it, is durable when NewStudy returns.
func (k *Keyring) NewStudy(ctx context.Context, study Handle, studyUID string) (Key, error) {
	w := wrapped{key: GenerateKey(), created: k.clock.Now(), label: studyUID}
	if err := putKey(ctx, k.objects, StudyKeyName(k.tenant, study), k.key, k.tenant, study, w); err != nil {
		return Key{}, err
	}
	k.studies.put(study, w.key)
	return w.key, nil
}

// Study returns the key of a study. The error is that of the objects
// (blob.ErrNotFound) when the study has no key: what it sealed is gone.
func (k *Keyring) Study(ctx context.Context, study Handle) (Key, error) {
	if key, ok := k.studies.get(study); ok {
		return key, nil
	}
	w, err := getKey(ctx, k.objects, StudyKeyName(k.tenant, study), k.key, k.tenant, study)
	if err != nil {
		return Key{}, fmt.Errorf("study key: %w", err)
	}
	k.studies.put(study, w.key)
	return w.key, nil
}

// StudyUID returns the Study Instance UID that a study's key was made for. It
// always reads the object.
func (k *Keyring) StudyUID(ctx context.Context, study Handle) (string, error) {
	w, err := getKey(ctx, k.objects, StudyKeyName(k.tenant, study), k.key, k.tenant, study)
	if err != nil {
		return "", fmt.Errorf("study key: %w", err)
	}
	return w.label, nil
}

// Forget drops a study's key from memory, after its object was deleted.
func (k *Keyring) Forget(study Handle) { k.studies.remove(study) }
