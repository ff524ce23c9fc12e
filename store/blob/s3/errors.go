package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"lumen/store/blob"
)

// wrap says what was tried and why it did not work, without the key: neither the
// URL of a failed request nor what the server says about it is repeated.
func wrap(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("%s: %w", what, ctxErr)
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		switch {
		case answer.Code == minio.NoSuchKey, answer.Code == "NotFound":
			return fmt.Errorf("%s: %w", what, blob.ErrNotFound)
		case answer.StatusCode == http.StatusInsufficientStorage, answer.Code == "QuotaExceeded", answer.Code == "XMinioStorageFull":
			return fmt.Errorf("%s: %w: server answered %s", what, blob.ErrNoSpace, answer.Code)
		}
		err = fmt.Errorf("server answered %s (%d)", answer.Code, answer.StatusCode)
		if answer.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("%s: %w: %w", what, blob.ErrAway, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	var request *url.Error
	if errors.As(err, &request) {
		return fmt.Errorf("%s: %w: %w", what, blob.ErrAway, request.Err)
	}
	if broken(err) {
		return fmt.Errorf("%s: %w: %w", what, blob.ErrAway, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// broken reports whether a connection ended in the middle of an answer, or did
// not get on.
func broken(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, errStalled) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded)
}

// again repeats do while its error may be the network's: minio-go repeats what
// fails before the answer, but not where the answer breaks off or says that the
// bytes changed on their way.
func (b *Blobs) again(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try >= b.cfg.Retries || ctx.Err() != nil || !mayWorkAgain(err) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func mayWorkAgain(err error) bool {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		switch answer.Code {
		case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout", "InternalError":
			return true
		}
		return false
	}
	var network *net.OpError
	return !errors.As(err, &network) || network.Op != "dial" // that has been repeated
}

// pause waits before a repetition, longer each time, at random.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(rand.N(100 * time.Millisecond << min(try, 5)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
