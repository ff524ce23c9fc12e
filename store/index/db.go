package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"lumen/store"
)

// Config is what an index is opened with.
type Config struct {
	// Path is the file; it is made when it is not there. Its folder must exist.
	Path string
	// Tenant is the tenant's handle: a file of another tenant is refused.
	Tenant [16]byte
	// Token returns the HMAC-SHA-256 of a value under the tenant's index-token key.
	Token func(value string) [32]byte
	// RecordKey returns the 32-byte record key of a version, from 1, making it
	// durably when there is none.
	RecordKey func(version uint32) ([]byte, error)
	// Issuer is the issuer of Patient IDs that come without one.
	Issuer string
	// Registerer takes the metrics; nil takes none.
	Registerer prometheus.Registerer
	// Fatal is called when the disk failed beneath a transaction
	// (durable.IsFatal): it must end the process. Nil tells only who waits for
	// the transaction.
	Fatal func(error)
}

// ErrRebuild says that the file cannot be used and must be made anew.
var ErrRebuild = errors.New("run `lumen index rebuild`")

// format is the version of the file's layout.
const format = 1

// The buckets; see docs/formats/index.md.
var (
	bucketMeta     = []byte("meta")
	bucketStudy    = []byte("study")    // study -> studyRecord
	bucketSeries   = []byte("series")   // study series -> seriesRecord
	bucketInstance = []byte("instance") // study series instance -> row
	bucketLocation = []byte("location") // instance -> study series
	bucketParent   = []byte("parent")   // series study ->
	bucketPatient  = []byte("patient")  // patient study ->

	metaState = []byte("state")
)

// state is what the meta bucket says of the whole file, in one value.
type state struct {
	Covered    store.Position
	KeyVersion uint32
	Seals      uint64 // under KeyVersion
	Stats
}

// Stats counts what is in the index.
type Stats struct {
	Studies, Series, Instances uint64
	Bytes                      uint64 // of the data sets
	Conflicts                  uint64 // instances whose patient, study or series attributes differ from the first received
}

// DB is the index of one tenant: a [store.Index].
type DB struct {
	config Config
	bolt   *bolt.DB
	seal   sealer
	sets   modalitySets
	table  atomic.Pointer[table]
	state  atomic.Pointer[state] // as of the last commit
	budget int                   // of a search, in records

	queue
	done chan struct{} // closed when the committer has ended
}

// Open opens the index, or makes an empty one, and reads all studies into
// memory. A file that is damaged, of another tenant, or of another version is
// refused with an error that wraps [ErrRebuild].
func Open(ctx context.Context, config Config) (*DB, error) {
	file, err := openFile(config.Path)
	if err != nil {
		return nil, err
	}
	db := &DB{config: config, bolt: file, seal: sealer{key: config.RecordKey}, budget: budget, done: make(chan struct{})}
	db.queue.init()
	err = db.guard(func() error {
		if err := file.Update(db.prepare); err != nil {
			return err
		}
		return db.load(ctx)
	})
	if err == nil {
		err = db.register(config.Registerer)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go db.commitAll()
	return db, nil
}

func openFile(path string) (file *bolt.DB, err error) {
	var f *os.File
	err = guard(func() error {
		file, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Second,
			FreelistType: bolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err = os.OpenFile(name, flag, mode)
				return f, err
			},
		})
		return err
	})
	if err == nil {
		return file, nil
	}
	if f != nil {
		_ = f.Close() // a panic leaves it open
	}
	var cause *os.PathError
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, errors.New("the index is in use by another process")
	case errors.Is(err, ErrRebuild):
		return nil, err
	case errors.As(err, &cause):
		return nil, fmt.Errorf("open the index: %w", err)
	}
	return nil, damaged(err)
}

func damaged(err error) error {
	return fmt.Errorf("the index is damaged: %w: %w", err, ErrRebuild)
}

// guard runs f, which reads the file. What the file's own code panics with
// when the file is damaged, and faults past its end, become errors.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(fmt.Errorf("%v", r))
		}
	}()
	return f()
}

// guard is [guard] with the errors of values that do not open made clear.
func (db *DB) guard(f func() error) error {
	err := guard(f)
	if errors.Is(err, errValue) || errors.Is(err, errShort) {
		return damaged(err)
	}
	return err
}

// view runs f in a read transaction, which must end before anything is yielded.
func (db *DB) view(f func(tx *bolt.Tx) error) error {
	err := db.guard(func() error { return db.bolt.View(f) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// prepare makes the buckets of a new file, or checks that the file is ours.
func (db *DB) prepare(tx *bolt.Tx) error {
	s := &state{KeyVersion: 1}
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return damaged(errors.New("not an index"))
		}
		for _, name := range [][]byte{bucketMeta, bucketStudy, bucketSeries, bucketInstance, bucketLocation, bucketParent, bucketPatient} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketMeta).Put([]byte("format"), binary.BigEndian.AppendUint32(nil, format)); err != nil {
			return err
		}
		if err := tx.Bucket(bucketMeta).Put([]byte("tenant"), db.config.Tenant[:]); err != nil {
			return err
		}
		if err := tx.Bucket(bucketMeta).Put([]byte("derivation"), binary.BigEndian.AppendUint32(nil, store.IndexVersion)); err != nil {
			return err
		}
		db.state.Store(s)
		return db.saveState(tx, s)
	}
	for _, check := range []struct {
		name string
		want []byte
	}{
		{"format", binary.BigEndian.AppendUint32(nil, format)},
		{"derivation", binary.BigEndian.AppendUint32(nil, store.IndexVersion)},
		{"tenant", db.config.Tenant[:]},
	} {
		if got := meta.Get([]byte(check.name)); !bytes.Equal(got, check.want) {
			return fmt.Errorf("the index has another %s (%x, not %x): %w", check.name, got, check.want, ErrRebuild)
		}
	}
	for _, name := range [][]byte{bucketStudy, bucketSeries, bucketInstance, bucketLocation, bucketParent, bucketPatient} {
		if tx.Bucket(name) == nil {
			return damaged(errors.New("a bucket is missing"))
		}
	}
	plain, _, err := db.seal.open(nil, nil, bucketMeta, metaState, meta.Get(metaState))
	if err != nil {
		return damaged(err)
	}
	if err := s.parse(plain); err != nil {
		return damaged(err)
	}
	db.state.Store(s)
	return nil
}

func (s *state) fields() []*uint64 {
	return []*uint64{(*uint64)(&s.Covered), &s.Seals, &s.Studies, &s.Series, &s.Instances, &s.Bytes, &s.Conflicts}
}

func (s *state) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, s.KeyVersion)
	for _, n := range s.fields() {
		b = binary.BigEndian.AppendUint64(b, *n)
	}
	return b
}

func (s *state) parse(b []byte) error {
	if len(b) < 4+8*len(s.fields()) {
		return errShort
	}
	s.KeyVersion = binary.BigEndian.Uint32(b)
	for i, n := range s.fields() {
		*n = binary.BigEndian.Uint64(b[4+8*i:])
	}
	return nil
}

// saveState writes s. It counts its own seal, so the count may be ahead.
func (db *DB) saveState(tx *bolt.Tx, s *state) error {
	s.Seals++
	value, err := db.seal.seal(bucketMeta, metaState, s.append(nil), s.KeyVersion)
	if err != nil {
		return err
	}
	if err := tx.Bucket(bucketMeta).Put(metaState, value); err != nil {
		return err
	}
	if s.Seals >= maxSeals {
		s.KeyVersion, s.Seals = s.KeyVersion+1, 0
	}
	return nil
}

// Covered is the journal position below which every row is durable here.
func (db *DB) Covered() store.Position { return db.state.Load().Covered }

// Stats counts what is in the index, without pending rows.
func (db *DB) Stats() Stats { return db.state.Load().Stats }

// Close makes everything that was put durable and closes the file. Put, Remove
// and searches that come later fail with [store.ErrClosed].
func (db *DB) Close() error {
	db.queue.close()
	<-db.done
	err := db.queue.failure()
	return errors.Join(err, db.bolt.Close())
}
