package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"lumen/store/blob"
)

// Config says where the bucket is and who asks. Zero fields have the defaults
// that their comments name.
type Config struct {
	Endpoint  string // URL: https://host, http://host:port
	Region    string // us-east-1
	Bucket    string
	Prefix    string // of all keys: empty, or ending in '/'
	AccessKey string
	SecretKey string
	// VirtualHost puts the bucket into the host name, not into the path.
	VirtualHost bool

	PartSize int64                                     // bytes of a part, 8 MiB; at least 5 MiB
	Stall    time.Duration                             // without a byte before a connection counts as broken, 30 s
	Retries  int                                       // tries of one request, 5; then the Put or Open fails
	TLS      *tls.Config                               // the system's roots, TLS 1.2 or later
	Wrap     func(http.RoundTripper) http.RoundTripper // for measuring; may be nil
}

const (
	defaultPartSize = 8 << 20
	minPartSize     = 5 << 20
	defaultStall    = 30 * time.Second
	defaultRetries  = 5
	defaultRegion   = "us-east-1"
	dialTimeout     = 5 * time.Second
	idleConns       = 64
	slowest         = 64 << 10 // bytes a second below which a request is given up
	cleanupTimeout  = 30 * time.Second
)

// Blobs implements store.Blobs.
type Blobs struct {
	cfg    Config
	core   minio.Core
	secure bool
	parts  sync.Pool // of *[]byte with the capacity of a part

	mu         sync.Mutex
	versioning *bool // nil until it was asked for
}

// New checks the configuration. It does not connect: see [Blobs.Probe].
func New(cfg Config) (*Blobs, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("s3: the endpoint is a URL like https://host or http://host:9000, without a path")
	}
	if cfg.Prefix != "" && !blob.ValidPrefix(cfg.Prefix) {
		return nil, errors.New("s3: the prefix has lower-case letters, digits, '-' and '/' only, and ends in '/'")
	}
	if cfg.Bucket == "" {
		return nil, errors.New("s3: there is no bucket in the configuration")
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = defaultPartSize
	}
	if cfg.PartSize < minPartSize {
		return nil, errors.New("s3: parts have at least 5 MiB")
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Retries <= 0 {
		cfg.Retries = defaultRetries
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	b := &Blobs{cfg: cfg, secure: u.Scheme == "https"}
	b.parts.New = func() any {
		p := make([]byte, 0, cfg.PartSize)
		return &p
	}
	lookup := minio.BucketLookupPath
	if cfg.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure:       b.secure,
		Transport:    transport(cfg),
		Region:       cfg.Region,
		BucketLookup: lookup,
		MaxRetries:   cfg.Retries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	b.core = minio.Core{Client: client}
	return b, nil
}

func transport(cfg Config) http.RoundTripper {
	tlsConfig := cfg.TLS.Clone()
	if tlsConfig == nil {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var rt http.RoundTripper = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: cfg.Stall,
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		WriteBufferSize:       128 << 10,
		ReadBufferSize:        64 << 10,
	}
	if cfg.Wrap != nil {
		rt = cfg.Wrap(rt)
	}
	return rt
}

func (b *Blobs) key(name string) string { return b.cfg.Prefix + name }

// check refuses malformed names and contexts that have ended.
func check(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return blob.ErrName
	}
	return ctx.Err()
}

// Stat implements store.Blobs.
func (b *Blobs) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := check(ctx, name); err != nil {
		return blob.Info{}, err
	}
	info, err := b.stat(ctx, b.key(name))
	if err != nil {
		return blob.Info{}, wrap(ctx, "stat object", err)
	}
	return blob.Info{Name: name, Size: info.Size, ModTime: info.LastModified}, nil
}

func (b *Blobs) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	ctx, cancel := b.deadline(ctx, 0)
	defer cancel()
	return b.core.StatObject(ctx, b.cfg.Bucket, key, minio.StatObjectOptions{Checksum: true})
}

// deadline bounds a request that moves size bytes, with its repetitions.
func (b *Blobs) deadline(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(b.cfg.Retries)*b.cfg.Stall+time.Duration(size/slowest)*time.Second)
}

// List implements store.Blobs.
func (b *Blobs) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if !blob.ValidPrefix(prefix) {
			yield(blob.Info{}, blob.ErrName)
			return
		}
		after, stopped := "", false
		err := b.again(ctx, func() error { // from where an answer broke off
			opts := minio.ListObjectsOptions{Prefix: b.key(prefix), Recursive: true, StartAfter: after}
			for o := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, opts) {
				if o.Err != nil {
					return o.Err
				}
				after = o.Key
				name := strings.TrimPrefix(o.Key, b.cfg.Prefix)
				if !blob.ValidName(name) {
					continue // the marker of a folder, or not ours
				}
				if !yield(blob.Info{Name: name, Size: o.Size, ModTime: o.LastModified}, nil) {
					stopped = true
					return nil
				}
			}
			return ctx.Err()
		})
		if err != nil && !stopped {
			yield(blob.Info{}, wrap(ctx, "list objects", err))
		}
	}
}

// Delete implements store.Blobs. In a bucket with versions all of them go.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	return b.remove(ctx, b.key(name))
}

func (b *Blobs) remove(ctx context.Context, key string) error {
	versioned, err := b.versioned(ctx)
	if err != nil {
		return wrap(ctx, "delete object", err)
	}
	if !versioned {
		err := b.removeVersion(ctx, key, "")
		return wrap(ctx, "delete object", err)
	}
	opts := minio.ListObjectsOptions{Prefix: key, Recursive: true, WithVersions: true}
	for o := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, opts) {
		if o.Err != nil {
			return wrap(ctx, "delete object", o.Err)
		}
		if o.Key != key {
			continue
		}
		if err := b.removeVersion(ctx, key, o.VersionID); err != nil {
			return wrap(ctx, "delete a version of an object", err)
		}
	}
	return ctx.Err()
}

func (b *Blobs) removeVersion(ctx context.Context, key, version string) error {
	ctx, cancel := b.deadline(ctx, 0)
	defer cancel()
	err := b.core.RemoveObject(ctx, b.cfg.Bucket, key, minio.RemoveObjectOptions{VersionID: version})
	if code := minio.ToErrorResponse(err).Code; code == minio.NoSuchKey || code == minio.NoSuchVersion {
		return nil
	}
	return err
}

// versioned says whether the bucket keeps versions; it asks once.
func (b *Blobs) versioned(ctx context.Context) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.versioning != nil {
		return *b.versioning, nil
	}
	ctx, cancel := b.deadline(ctx, 0)
	defer cancel()
	var v minio.BucketVersioningConfiguration
	err := b.again(ctx, func() (err error) {
		v, err = b.core.GetBucketVersioning(ctx, b.cfg.Bucket)
		return err
	})
	if err != nil && !hasNoVersions(err) {
		return false, err
	}
	on := err == nil && (v.Enabled() || v.Suspended())
	b.versioning = &on
	return on, nil
}

// hasNoVersions tells the answers of servers that know no versions from others.
// With AccessDenied the server may have them, but then it lets nobody delete one.
func hasNoVersions(err error) bool {
	switch minio.ToErrorResponse(err).Code {
	case "NotImplemented", "MethodNotAllowed", "VersioningNotConfigured", minio.AccessDenied:
		return true
	}
	return false
}

// AbortUploads ends multipart uploads below the prefix that began before a time:
// what a process that died has left. It returns how many there were.
func (b *Blobs) AbortUploads(ctx context.Context, before time.Time) (int, error) {
	count := 0
	ctx, cancel := context.WithCancel(ctx) // ends the listing when we leave early
	defer cancel()
	for u := range b.core.ListIncompleteUploads(ctx, b.cfg.Bucket, b.cfg.Prefix, true) {
		if u.Err != nil {
			return count, wrap(ctx, "list uploads", u.Err)
		}
		if !u.Initiated.Before(before) {
			continue
		}
		err := b.core.AbortMultipartUpload(ctx, b.cfg.Bucket, u.Key, u.UploadID)
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
			return count, wrap(ctx, "abort upload", err)
		}
		count++
	}
	return count, ctx.Err()
}

// Sum returns the size and the CRC-32C of an object as the server reports them;
// known is false when it reports no checksum over the whole object.
func (b *Blobs) Sum(ctx context.Context, name string) (size int64, sum uint32, known bool, err error) {
	if err := check(ctx, name); err != nil {
		return 0, 0, false, err
	}
	info, err := b.stat(ctx, b.key(name))
	if err != nil {
		return 0, 0, false, wrap(ctx, "stat object", err)
	}
	sum, known = decodeSum(info.ChecksumCRC32C)
	return info.Size, sum, known, nil
}
