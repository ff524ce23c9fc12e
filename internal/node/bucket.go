package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lumen/config"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/blob/s3"
	"lumen/store/blob/spool"
	"lumen/store/blob/stage"
	"lumen/store/seal"
	"lumen/store/seal/backup"
)

const (
	probeTimeout = 30 * time.Second
	probeAgain   = 30 * time.Second // after a start without the bucket
	// staleUpload is how old an upload in parts must be to have been left by a
	// process that is gone; the bucket may have other users.
	staleUpload = 24 * time.Hour
)

// openBlobs opens where objects are: DIR/blobs, or a bucket with DIR/spool
// before it. A folder that was used the one way is refused the other way: its
// objects would be gone from sight.
func (n *node) openBlobs(ctx context.Context) error {
	place, other, hint := "blobs", "spool", "this data folder keeps its objects in a bucket: configure storage.bucket"
	bucket := n.config.Storage.Bucket
	if bucket.Endpoint != "" {
		place, other = "spool", "blobs"
		hint = "this data folder keeps its objects in blobs: rename it to spool, and they go to the bucket"
	}
	if _, err := n.fs.Stat(n.folder.path(other)); err == nil {
		return errors.New(hint)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	local, err := n.openLocal(ctx, place)
	if err != nil || bucket.Endpoint == "" {
		n.blobs = local
		return err
	}
	return n.openSpool(ctx, local)
}

// openSpool puts local before the bucket. What an archive cannot be opened
// without stays local for good, so that a node starts while its bucket is away:
// but not the first time, when nobody knows what the bucket holds.
func (n *node) openSpool(ctx context.Context, local store.Blobs) error {
	bucket := n.config.Storage.Bucket
	remote, err := newBucket(bucket)
	if err != nil {
		return fmt.Errorf("configure the bucket: %w", err)
	}
	away := probe(ctx, remote)
	var trouble *s3.ProbeError
	if away != nil && !(errors.As(away, &trouble) && trouble.Away()) {
		return away
	}
	cfg := spool.Config{
		Local: local, Remote: remote, HighWater: int64(bucket.HighWater), Grace: time.Duration(bucket.Grace), Keep: staysHere,
		Workers: int(bucket.Workers), Logger: n.log, Registerer: n.registry, Fatal: exitOn(n.log),
	}
	if cfg.Grace == 0 {
		cfg.Grace = -1 // zero would be the spool's default
	}
	if bucket.Ack == "bucket" {
		cfg.Ack = spool.AckRemote
	}
	s, err := spool.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	n.blobs = s
	n.onClose(func(context.Context) error { return s.Close() })
	err = away
	if err == nil {
		err = fetchKeys(ctx, s, remote)
	}
	switch {
	case err != nil && !s.Fetched():
		return fmt.Errorf("the bucket is needed for the first start with it: %w", err)
	case err != nil:
		n.log.Warn("the bucket is away: what is received waits in the spool, what is only in the bucket cannot be read", "error", err)
	}
	n.tendBucket(ctx, remote, away != nil)
	return nil
}

// staysHere chooses the objects that stay in the spool after their upload.
func staysHere(name string) bool {
	return seal.IsTenantKey(name) || strings.HasPrefix(name, backup.Prefix)
}

// fetchKeys copies what stays here of what another machine has put into the
// bucket.
func fetchKeys(ctx context.Context, s *spool.Spool, remote *s3.Blobs) error {
	prefixes, err := seal.TenantKeyPrefixes(ctx, remote)
	if err != nil {
		return fmt.Errorf("look for keys in the bucket: %w", err)
	}
	return s.Fetch(ctx, append(prefixes, backup.Prefix)...)
}

// tendBucket ends uploads in parts that were given up, now and then every day.
// While the bucket is away it tries it again and again.
func (n *node) tendBucket(ctx context.Context, remote *s3.Blobs, away bool) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	n.onClose(func(context.Context) error {
		stop()
		<-done
		return nil
	})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			pause := staleUpload
			if away {
				pause = probeAgain
			} else if _, err := remote.AbortUploads(ctx, time.Now().Add(-staleUpload)); err != nil && ctx.Err() == nil {
				n.log.Warn("old uploads to the bucket were not ended", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if away {
				away = n.stillAway(ctx, remote)
			}
		}
	}()
}

func (n *node) stillAway(ctx context.Context, remote *s3.Blobs) bool {
	err := probe(ctx, remote)
	if ctx.Err() != nil {
		return true
	}
	var trouble *s3.ProbeError
	switch {
	case err == nil:
		n.log.Info("the bucket is back")
	case errors.As(err, &trouble) && trouble.Away():
		n.log.Warn("the bucket is still away", "error", err)
	default:
		n.log.Error("the bucket is back, but not as it should be", "error", err)
	}
	return err != nil
}

// logSegments is how many segments the write log has.
const logSegments = 8

// openLocal opens the objects that are files below place, behind the write log
// unless that is switched off: then what is still in it moves to files now.
func (n *node) openLocal(ctx context.Context, place string) (store.Blobs, error) {
	files, err := dir.New(n.fs, n.folder.path(place))
	if err != nil {
		return nil, err
	}
	size := int64(n.config.Storage.WriteLog)
	cfg := stage.Config{
		FS: n.fs, Dir: n.folder.path("stage"), Next: files,
		Segments: logSegments, SegmentSize: size / logSegments, Logger: n.log,
	}
	if _, err := n.fs.Stat(cfg.Dir); size == 0 && errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	log, err := stage.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the write log: %w", err)
	}
	if size == 0 {
		if err := log.Close(ctx); err != nil {
			return nil, fmt.Errorf("empty the write log: %w", err)
		}
		return files, nil
	}
	n.onClose(log.Close)
	if err := watchWriteLog(n.registry, log.Staged); err != nil {
		return nil, err
	}
	return log, nil
}

// newBucket makes the client of a bucket. It does not connect.
func newBucket(b config.Bucket) (*s3.Blobs, error) {
	access, err := b.AccessKey.Read()
	if err != nil {
		return nil, fmt.Errorf("access key: %w", err)
	}
	secret, err := b.SecretKey.Read()
	if err != nil {
		return nil, fmt.Errorf("secret key: %w", err)
	}
	roots, err := b.Roots()
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return s3.New(s3.Config{
		Endpoint: b.URL(), Region: b.Region, Bucket: b.Name, Prefix: b.Prefix,
		AccessKey: access, SecretKey: secret, VirtualHost: b.VirtualHost,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	})
}

// probe tries everything that an archive does in its bucket, so that what is
// wrong is said at once and in words.
func probe(ctx context.Context, remote *s3.Blobs) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := remote.Probe(ctx); err != nil {
		return fmt.Errorf("try the bucket: %w", err)
	}
	return nil
}
