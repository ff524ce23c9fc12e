package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"lumen/config"
	"lumen/store"
	"lumen/store/blob/dir"
	"lumen/store/blob/s3"
	"lumen/store/blob/spool"
	"lumen/store/blob/stage"
)

// How long the bucket's probe may take, and how old an upload in parts must be
// to have been left by a process that is gone.
const (
	probeTimeout = 30 * time.Second
	staleUpload  = 24 * time.Hour
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
	remote, err := openBucket(ctx, bucket)
	if err != nil {
		return err
	}
	cfg := spool.Config{
		Local: local, Remote: remote, HighWater: int64(bucket.HighWater), Grace: time.Duration(bucket.Grace),
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
	return nil
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
	return log, nil
}

// openBucket connects to the bucket and tries everything that an archive does
// there, so that what is wrong is said now and in words.
func openBucket(ctx context.Context, b config.Bucket) (*s3.Blobs, error) {
	access, err := b.AccessKey.Read()
	if err != nil {
		return nil, fmt.Errorf("storage.bucket.access_key: %w", err)
	}
	secret, err := b.SecretKey.Read()
	if err != nil {
		return nil, fmt.Errorf("storage.bucket.secret_key: %w", err)
	}
	remote, err := s3.New(s3.Config{
		Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Name, Prefix: b.Prefix,
		AccessKey: access, SecretKey: secret, VirtualHost: b.VirtualHost,
	})
	if err != nil {
		return nil, fmt.Errorf("configure the bucket: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := remote.Probe(ctx); err != nil {
		return nil, fmt.Errorf("probe the bucket: %w", err)
	}
	if _, err := remote.AbortUploads(ctx, time.Now().Add(-staleUpload)); err != nil {
		return nil, fmt.Errorf("end old uploads to the bucket: %w", err)
	}
	return remote, nil
}
