package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"lumen/store/seal"
)

// Part says which part of the configuration, or of the world, is wrong.
type Part string

// What a probe may find wrong.
const (
	PartEndpoint    Part = "endpoint"
	PartCertificate Part = "certificate"
	PartBucket      Part = "bucket"
	PartRegion      Part = "region"
	PartCredentials Part = "credentials"
	PartRights      Part = "rights"
	PartClock       Part = "clock"
	PartServer      Part = "server"
)

// ProbeError explains what is wrong with a bucket, for whoever configured it.
type ProbeError struct {
	Part Part
	What string // a sentence: what is wrong, and what to do
	Err  error
}

func (e *ProbeError) Error() string { return fmt.Sprintf("s3 %s: %s", e.Part, e.What) }

// Unwrap returns what happened.
func (e *ProbeError) Unwrap() error { return e.Err }

// Away reports whether the server could not be reached or could not do its work:
// then it may be right later, without anybody changing the configuration.
func (e *ProbeError) Away() bool {
	var answer minio.ErrorResponse
	if errors.As(e.Err, &answer) && answer.StatusCode != 0 {
		return answer.StatusCode >= http.StatusInternalServerError
	}
	if e.Part != PartEndpoint {
		return false
	}
	var (
		network *net.OpError
		waited  net.Error
	)
	return errors.As(e.Err, &network) && network.Op != "remote error" || // an alert of TLS
		errors.As(e.Err, &waited) && waited.Timeout() ||
		errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF)
}

// maxSkew is how far clocks may be apart; S3 servers refuse more than 15 minutes.
const maxSkew = 5 * time.Minute

// Probe connects, and puts, reads, lists and deletes a small object as an archive
// does. The error is a *ProbeError.
func (b *Blobs) Probe(ctx context.Context) error {
	if err := b.probeServer(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.cfg.Stall)
	defer cancel()
	key := b.cfg.Prefix + "probe/" + seal.NewHandle().String()
	body := []byte("lumen was here")
	_, err := b.core.PutObject(ctx, b.cfg.Bucket, key, bytes.NewReader(body), int64(len(body)), "", b.payloadSum(body),
		minio.PutObjectOptions{DisableContentSha256: true})
	if err != nil {
		return b.explain("put an object", err)
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"read an object", func() error { return b.probeRead(ctx, key, body) }},
		{"list objects", func() error {
			for o := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: key, Recursive: true}) {
				return o.Err
			}
			return nil
		}},
		{"ask whether the bucket keeps versions", func() error { _, err := b.versioned(ctx); return err }},
		{"delete an object", func() error { return b.removeVersion(ctx, key, "") }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return b.explain(step.what, err)
		}
	}
	return nil
}

func (b *Blobs) probeRead(ctx context.Context, key string, body []byte) error {
	rc, err := b.openKey(ctx, key, 1, int64(len(body)-1))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(rc)
	if err = errors.Join(err, rc.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, body[1:]) {
		return errWrongBytes
	}
	return nil
}

// probeServer makes one request that needs no rights: is there a server, may we
// trust it, and what time is it there?
func (b *Blobs) probeServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Stall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.cfg.Endpoint, nil)
	if err != nil {
		return &ProbeError{PartEndpoint, "the endpoint is not a URL", err}
	}
	client := &http.Client{Transport: transport(b.cfg), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return b.explain("connect", err)
	}
	_ = resp.Body.Close() // only the header is of interest
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return nil // a server without a clock; should it mind ours it will say so
	}
	if skew := time.Since(there); skew.Abs() > maxSkew {
		return skewed(skew, nil)
	}
	return nil
}

func skewed(skew time.Duration, err error) error {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return &ProbeError{PartClock, fmt.Sprintf("this machine's clock is %v %s the server's: set one of them right (NTP)",
		skew.Abs().Round(time.Second), direction), err}
}

// explain makes a sentence of an error.
func (b *Blobs) explain(what string, err error) error {
	if answer := minio.ToErrorResponse(err); answer.Code != "" && answer.StatusCode != 0 {
		return b.explainAnswer(what, answer, err)
	}
	var (
		request   *url.Error
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
	)
	cause := err
	if errors.As(err, &request) {
		cause = request.Err
	}
	at := b.cfg.Endpoint
	switch {
	case errors.As(err, &dns):
		return &ProbeError{PartEndpoint, fmt.Sprintf("the name %q is not known: %v", dns.Name, dns.Err), err}
	case errors.As(err, &authority):
		return &ProbeError{PartCertificate, "the server's certificate comes from an authority that this machine does not trust", err}
	case errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify):
		return &ProbeError{PartCertificate, fmt.Sprintf("the server's certificate is not valid: %v", cause), err}
	case errors.As(err, &record), cause != nil && cause.Error() == "http: server gave HTTP response to HTTPS client":
		return &ProbeError{PartEndpoint, fmt.Sprintf("%s speaks HTTP, not HTTPS: the endpoint begins with http:// there", at), err}
	case errors.Is(err, errWrongBytes):
		return &ProbeError{PartServer, "the server returned other bytes than were put", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &ProbeError{PartEndpoint, fmt.Sprintf("%s does not answer in time, when asked to %s", at, what), err}
	}
	return &ProbeError{PartEndpoint, fmt.Sprintf("cannot %s at %s: %v", what, at, cause), err}
}

func (b *Blobs) explainAnswer(what string, answer minio.ErrorResponse, err error) error {
	switch answer.Code {
	case minio.NoSuchBucket:
		return &ProbeError{PartBucket, fmt.Sprintf("there is no bucket %q: make it, or correct its name", b.cfg.Bucket), err}
	case minio.InvalidBucketName:
		return &ProbeError{PartBucket, fmt.Sprintf("%q cannot be the name of a bucket", b.cfg.Bucket), err}
	case minio.InvalidAccessKeyID, "XAdminUserNotFound": // the latter from versitygw 1.8
		return &ProbeError{PartCredentials, "the server does not know this access key", err}
	case minio.SignatureDoesNotMatch:
		return &ProbeError{PartCredentials, "the secret key is not the one of this access key", err}
	case minio.RequestTimeTooSkewed:
		return &ProbeError{PartClock, "the server refuses requests of this time: this machine's clock and the server's are too far apart", err}
	case minio.InvalidRegion, "AuthorizationHeaderMalformed", "PermanentRedirect", "IncorrectEndpoint", "IllegalLocationConstraintException":
		return &ProbeError{PartRegion, fmt.Sprintf("region %q is not the bucket's: %s", b.cfg.Region, answer.Message), err}
	case minio.AccessDenied:
		return &ProbeError{PartRights, fmt.Sprintf("this access key may not %s in bucket %q", what, b.cfg.Bucket), err}
	}
	return &ProbeError{PartServer, fmt.Sprintf("asked to %s, the server answered %s (%d)", what, answer.Code, answer.StatusCode), err}
}
