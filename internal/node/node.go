package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"lumen/access"
	"lumen/audit"
	"lumen/config"
	"lumen/internal/durable"
	"lumen/scp"
	"lumen/store"
	"lumen/store/index"
	"lumen/store/seal"
	"lumen/wado"
)

// nodeTenant owns the keys of the node's own journal. It cannot be the name of
// a tenant in the configuration.
const nodeTenant = ".node"

// ownSegment is the segment size of the node's own journal, which has a few
// records for each start.
const ownSegment = 256 << 10

// nodePrincipal is the node acting for itself.
var nodePrincipal = access.System(nodeTenant, "node")

// node is the parts behind the listeners, put together.
type node struct {
	config   config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	folder   *Folder
	fs       durable.FS

	own     *journal // of the node: start, stop, configuration
	tenant  *journal // of the tenant: everything about its data
	blobs   store.Blobs
	keys    *seal.Keyring // of the tenant
	index   *index.DB
	archive *store.Archive

	backedUp atomic.Bool // the root key is somewhere else too, or need not be

	// closers end the parts, the last one first.
	closers []func(context.Context) error
}

// openNode puts a node together on a locked folder. The parts come in the order
// in which they need each other; close ends them in the reverse one. One that
// is not to serve, but for a command, leaves background work alone.
func openNode(ctx context.Context, cfg config.Config, folder *Folder, log *slog.Logger, serving bool) (_ *node, err error) {
	if err := folder.needsRebuild(); err != nil {
		return nil, err
	}
	n, err := openBase(ctx, cfg, folder, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close(context.WithoutCancel(ctx)))
		}
	}()
	if n.index, err = n.openIndex(ctx, indexFile, n.registry); err != nil {
		return nil, err
	}
	if n.archive, err = store.Open(ctx, n.storeConfig(!serving)); err != nil {
		return nil, err
	}
	n.onClose(func(context.Context) error { return n.archive.Close() })
	return n, folder.forgetRestore(n.fs)
}

// openBase opens what comes before the index: objects, keys and journals.
func openBase(ctx context.Context, cfg config.Config, folder *Folder, log *slog.Logger) (_ *node, err error) {
	if err := hardenProcess(); err != nil { // before a key is in memory
		return nil, err
	}
	n := &node{config: cfg, log: log, registry: newRegistry(), folder: folder, fs: watchedFS{durable.OS(), exitOn(log)}}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close(context.WithoutCancel(ctx)))
		}
	}()
	if err = n.openBlobs(ctx); err != nil {
		return nil, err
	}
	root := rootKey(cfg, n.fs, folder)
	ownKeys, err := seal.OpenKeyring(ctx, seal.KeyringConfig{Root: root, Objects: n.blobs, Tenant: nodeTenant, Create: folder.mayBegin()})
	if err != nil {
		return nil, explainRestored(folder, err)
	}
	if n.keys, err = seal.OpenKeyring(ctx, seal.KeyringConfig{Root: root, Objects: n.blobs, Tenant: access.DefaultTenant, Create: folder.mayBegin()}); err != nil {
		return nil, explainRestored(folder, err)
	}
	if n.own, err = n.openJournal(ctx, "node", ownKeys, ownSegment); err != nil {
		return nil, err
	}
	if err = n.recordStart(ctx); err != nil {
		return nil, err
	}
	if err = n.recordRestore(ctx); err != nil {
		return nil, err
	}
	if n.tenant, err = n.openJournal(ctx, access.DefaultTenant, n.keys, int64(cfg.Audit.SegmentSize)); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *node) storeConfig(noSweep bool) store.Config {
	return store.Config{
		Tenant: access.DefaultTenant, Blobs: n.blobs, Index: n.index, Journal: n.tenant, Keys: n.keys,
		FreeSpace:  func() (free, total int64, err error) { return n.fs.Free(n.folder.root) },
		MinFree:    store.Floor{Bytes: int64(n.config.Storage.MinFree), Percent: float64(n.config.Storage.MinFreePercent)},
		Limits:     storeLimits(n.config.Limits),
		NoSweep:    noSweep,
		Logger:     n.log,
		Registerer: n.registry,
	}
}

func (n *node) onClose(f func(context.Context) error) { n.closers = append(n.closers, f) }

// close ends the parts in the reverse order of their opening.
func (n *node) close(ctx context.Context) error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i](ctx))
	}
	n.closers = nil
	return err
}

func rootKey(cfg config.Config, fsys durable.FS, folder *Folder) seal.Root {
	switch k := cfg.Keys.Root; {
	case k.Env != "":
		return seal.EnvRoot(k.Env)
	case k.File != "":
		return seal.FileRoot(fsys, k.File)
	}
	return seal.FileRoot(fsys, folder.path("keys", "root"))
}

// JournalOrigin is the name under which the journal in DIR/audit/name is signed.
func JournalOrigin(name string) string { return "lumen/" + name }

// openJournal opens the journal called name under DIR/audit, with its signing
// key under DIR/keys.
func (n *node) openJournal(ctx context.Context, name string, keys *seal.Keyring, segment int64) (*journal, error) {
	key, created, err := audit.LoadOrGenerateKey(n.fs, n.folder.path("keys", "journal-"+name), JournalOrigin(name))
	if err != nil {
		return nil, fmt.Errorf("signing key of the %s journal: %w", name, err)
	}
	if created {
		n.log.Warn("a journal was begun: keep its public key elsewhere, `lumen audit verify --key` proves it unaltered", "public_key", key.Public())
	}
	token := keys.JournalToken()
	p := &payloads{key: keys.JournalKey}
	log, err := audit.Open(ctx, audit.Config{
		FS: n.fs, Dir: n.folder.path("audit", name), Key: key,
		Token:       func(kind, value string) audit.Token { return seal.Token(token, kind+"\x00"+value) },
		Seal:        p.Seal,
		Open:        p.Open,
		SegmentSize: segment,
		Reserve:     int(n.config.Audit.Reserve),
		Logger:      n.log.With("journal", name),
	})
	if err != nil {
		return nil, fmt.Errorf("open the %s journal: %w", name, err)
	}
	n.onClose(log.Close)
	if err := watchJournal(n.registry, name, log); err != nil {
		return nil, err
	}
	return &journal{log: log, logger: n.log}, nil
}

// recordStart journals that the node starts, with a digest of its configuration
// when that is another than last time, and that it stops when it does.
func (n *node) recordStart(ctx context.Context) error {
	if err := n.record(ctx, store.EventStart, nil); err != nil {
		return err
	}
	n.onClose(func(ctx context.Context) error { return n.record(ctx, store.EventStop, nil) })
	return n.recordConfig(ctx)
}

func (n *node) recordConfig(ctx context.Context) error {
	digest := sha256.Sum256(fmt.Appendf(nil, "%+v", n.config))
	text := hex.EncodeToString(digest[:]) + "\n"
	name := n.folder.path("run", "config.sha256")
	if last, err := durable.ReadFile(n.fs, name, 128); err == nil && string(last) == text {
		return nil
	}
	if err := n.record(ctx, store.EventConfig, map[string]string{"sha256": text[:64]}); err != nil {
		return err
	}
	return durable.WriteFile(n.fs, name, []byte(text), 0o600)
}

// indexFile is the tenant's index below DIR/index.
const indexFile = access.DefaultTenant + ".db"

func (n *node) openIndex(ctx context.Context, file string, registerer prometheus.Registerer) (*index.DB, error) {
	if err := n.fs.MkdirAll(n.folder.path("index"), 0o700); err != nil {
		return nil, err
	}
	token := n.keys.IndexToken()
	db, err := index.Open(ctx, index.Config{
		Path:   n.folder.path("index", file),
		Tenant: n.keys.Tenant(),
		Token:  func(value string) [32]byte { return seal.Token(token, value) },
		RecordKey: func(version uint32) ([]byte, error) {
			k, err := n.keys.RecordKey(context.WithoutCancel(ctx), version, true)
			if err != nil {
				return nil, err
			}
			return k.Bytes(), nil
		},
		Registerer: registerer,
		Fatal:      exitOn(n.log),
	})
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	n.onClose(func(context.Context) error { return db.Close() })
	return db, nil
}

// openWeb lets HTTP requests through to the archive.
func (n *node) openWeb(w *web) error {
	policy := n.config.Policy()
	dicomweb, err := wado.New(wado.Config{
		Archive: n.archive,
		Principal: func(r *http.Request) (access.Principal, error) {
			addr, err := netip.ParseAddrPort(r.RemoteAddr)
			if err != nil {
				return access.Principal{}, err
			}
			peer := access.Peer{Addr: addr.Addr()}
			if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
				peer.Certificate = r.TLS.VerifiedChains[0][0]
			}
			return policy.ForClient(peer)
		},
		Limits:     wadoLimits(n.config.Limits),
		Logger:     n.log,
		Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	w.open(&webParts{dicomweb: dicomweb, metrics: n.registry, ready: n.ready})
	return nil
}

// dimseServer builds the services of DICOM's own protocol.
func (n *node) dimseServer() (*scp.Server, error) {
	destinations, err := destinations(n.config.Destinations)
	if err != nil {
		return nil, err
	}
	users, err := users(n.config.DIMSE.Users)
	if err != nil {
		return nil, err
	}
	return scp.New(scp.Config{
		Quirks: quirks(n.config.AEs), SOPClasses: n.config.DIMSE.SOPClasses, Specialized: n.config.DIMSE.Specialized, Users: users,
		AETitle: n.config.DIMSE.AETitle, Archive: n.archive, Policy: n.config.Policy(), Destinations: destinations,
		Journal: n.tenant, Matches: int(n.config.Limits.Matches), Limits: dimseLimits(n.config.Limits),
		Logger: n.log, Registerer: n.registry,
	})
}

// errNoBackup: what a bucket is for, to survive this machine, it does not do
// without the root key.
var errNoBackup = errors.New("the root key of what goes to the bucket is on this machine alone: run lumen keys backup, or waive it")

// ready is nil while the node can serve.
func (n *node) ready() error {
	if err := n.tenant.Err(); err != nil {
		return store.ErrJournal // its cause is in the log
	}
	if n.config.Storage.Bucket.Endpoint != "" && !n.backedUp.Load() {
		return errNoBackup
	}
	return nil
}
