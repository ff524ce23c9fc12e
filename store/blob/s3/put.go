package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"lumen/store/blob"
)

const (
	sumHeader       = "X-Amz-Checksum-Crc32c"
	algorithmHeader = "X-Amz-Checksum-Algorithm"
	typeHeader      = "X-Amz-Checksum-Type"
	maxParts        = 10_000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errWrongBytes = errors.New("the server does not hold the bytes that were sent")

func encodeSum(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// decodeSum reads a checksum over a whole object; one made of the parts'
// checksums has "-" and their number at its end and is of no use.
func decodeSum(s string) (uint32, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// Put implements store.Blobs.
func (b *Blobs) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	u := &upload{b: b, ctx: ctx, key: b.key(name), buf: b.part()}
	defer u.release() // also when write panics
	if err := write(u); err != nil {
		if u.err != nil {
			return u.err // the cause of whatever write made of it
		}
		return fmt.Errorf("write object: %w", err)
	}
	if u.err != nil {
		return u.err
	}
	if size >= 0 && u.size != size {
		return blob.ErrSize
	}
	return u.finish()
}

func (b *Blobs) part() []byte { return (*b.parts.Get().(*[]byte))[:0] }

func (b *Blobs) putBack(part []byte) { b.parts.Put(&part) }

// upload collects what is written into parts. One part is on its way while the
// next is filled; the writer waits when it has filled that too.
type upload struct {
	b    *Blobs
	ctx  context.Context
	key  string
	size int64
	sum  uint32
	buf  []byte
	err  error

	id       string // of the multipart upload; empty while there is one part
	parts    []minio.CompletePart
	inFlight chan partResult // nil, or delivers once
	complete bool
}

type partResult struct {
	part minio.CompletePart
	buf  []byte
	err  error
}

func (u *upload) Write(p []byte) (int, error) {
	if u.err == nil {
		u.err = u.ctx.Err()
	}
	written := 0
	for u.err == nil && len(p) > 0 {
		if len(u.buf) == cap(u.buf) {
			if u.err = u.sendPart(); u.err != nil {
				break
			}
		}
		n := copy(u.buf[len(u.buf):cap(u.buf)], p)
		u.buf = u.buf[:len(u.buf)+n]
		u.sum = crc32.Update(u.sum, castagnoli, p[:n])
		p, written, u.size = p[n:], written+n, u.size+int64(n)
	}
	return written, u.err
}

// sendPart hands the filled part to a goroutine, which wait waits for.
func (u *upload) sendPart() error {
	if u.id == "" {
		if err := u.begin(); err != nil {
			return wrap(u.ctx, "begin upload", err)
		}
	}
	if err := u.wait(); err != nil {
		return err
	}
	number := len(u.parts) + 1
	if number > maxParts {
		return fmt.Errorf("upload: more than %d parts of %d bytes", maxParts, u.b.cfg.PartSize)
	}
	buf, done := u.buf, make(chan partResult, 1)
	u.buf, u.inFlight = u.b.part(), done
	go func() {
		part, err := u.b.putPart(u.ctx, u.key, u.id, number, buf)
		done <- partResult{part, buf, err}
	}()
	return nil
}

// begin makes the upload that parts belong to.
func (u *upload) begin() error {
	ctx, cancel := u.b.deadline(u.ctx, 0)
	defer cancel()
	return u.b.again(ctx, func() (err error) {
		u.id, err = u.b.core.NewMultipartUpload(ctx, u.b.cfg.Bucket, u.key, minio.PutObjectOptions{
			UserMetadata: map[string]string{algorithmHeader: "CRC32C", typeHeader: minio.ChecksumFullObjectMode.String()},
		})
		return err
	})
}

// wait takes the result of the part that is on its way, if there is one.
func (u *upload) wait() error {
	if u.inFlight == nil {
		return nil
	}
	r := <-u.inFlight
	u.inFlight = nil
	u.b.putBack(r.buf)
	if r.err != nil {
		return wrap(u.ctx, "upload a part", r.err)
	}
	u.parts = append(u.parts, r.part)
	return nil
}

// payloadSum signs the body of a request that TLS does not protect.
func (b *Blobs) payloadSum(body []byte) string {
	if b.secure {
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (b *Blobs) putPart(ctx context.Context, key, id string, number int, body []byte) (minio.CompletePart, error) {
	ctx, cancel := b.deadline(ctx, int64(len(body)))
	defer cancel()
	sum := encodeSum(crc32.Checksum(body, castagnoli))
	opts := minio.PutObjectPartOptions{
		Sha256Hex:            b.payloadSum(body),
		DisableContentSha256: true, // no chunked signature: the sum above, or TLS
		CustomHeader:         http.Header{sumHeader: {sum}},
	}
	var part minio.ObjectPart
	err := b.again(ctx, func() (err error) {
		part, err = b.core.PutObjectPart(ctx, b.cfg.Bucket, key, id, number, bytes.NewReader(body), int64(len(body)), opts)
		return err
	})
	return minio.CompletePart{PartNumber: number, ETag: part.ETag, ChecksumCRC32C: sum}, err
}

// finish sends what is left and makes sure that the server has all of it.
func (u *upload) finish() error {
	if u.id == "" {
		return u.putWhole()
	}
	if err := u.sendPart(); err != nil {
		return err
	}
	if err := u.wait(); err != nil {
		return err
	}
	ctx, cancel := u.b.deadline(u.ctx, 0)
	defer cancel()
	info, err := u.b.core.CompleteMultipartUpload(ctx, u.b.cfg.Bucket, u.key, u.id, u.parts, minio.PutObjectOptions{
		UserMetadata: map[string]string{sumHeader: encodeSum(u.sum), typeHeader: minio.ChecksumFullObjectMode.String()},
	})
	if err != nil {
		// The answer may have been lost, to this or to an earlier try.
		if same, _, checkErr := u.check(""); checkErr != nil || !same {
			return wrap(u.ctx, "complete upload", err)
		}
		u.complete = true
		return nil
	}
	u.complete = true
	return u.verify(info.ChecksumCRC32C)
}

func (u *upload) putWhole() error {
	ctx, cancel := u.b.deadline(u.ctx, u.size)
	defer cancel()
	opts := minio.PutObjectOptions{DisableContentSha256: true, UserMetadata: map[string]string{sumHeader: encodeSum(u.sum)}}
	var info minio.UploadInfo
	err := u.b.again(ctx, func() (err error) {
		info, err = u.b.core.PutObject(ctx, u.b.cfg.Bucket, u.key, bytes.NewReader(u.buf), u.size, "", u.b.payloadSum(u.buf), opts)
		return err
	})
	if err != nil {
		return wrap(u.ctx, "put object", err)
	}
	return u.verify(info.ChecksumCRC32C)
}

// verify makes sure that the object is what was sent, and removes it if not.
func (u *upload) verify(reported string) error {
	same, readBack, err := u.check(reported)
	for try := 1; err == nil && !same && readBack && try < u.b.cfg.Retries; try++ {
		same, _, err = u.check(reported) // the way back may have been at fault
	}
	switch {
	case err != nil:
		return wrap(u.ctx, "verify object", err)
	case !same:
		return u.wrong()
	}
	return nil
}

// check compares the checksum that the server reports, asks for it when it did
// not come with the answer, and reads the object back when there is none.
func (u *upload) check(reported string) (same, readBack bool, err error) {
	if sum, known := decodeSum(reported); known {
		return sum == u.sum, false, nil
	}
	info, err := u.b.stat(u.ctx, u.key)
	if err != nil {
		return false, false, err
	}
	if info.Size != u.size {
		return false, false, nil
	}
	if sum, known := decodeSum(info.ChecksumCRC32C); known {
		return sum == u.sum, false, nil
	}
	hash := crc32.New(castagnoli)
	rc, err := u.b.openKey(u.ctx, u.key, 0, -1)
	if err != nil {
		return false, true, err
	}
	_, err = io.Copy(hash, rc)
	return hash.Sum32() == u.sum, true, errors.Join(err, rc.Close())
}

// wrong removes an object that is not what was sent.
func (u *upload) wrong() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), cleanupTimeout)
	defer cancel()
	return errors.Join(fmt.Errorf("put object: %w", errWrongBytes), u.b.remove(ctx, u.key))
}

// release waits for the part on its way, aborts an upload that was not completed
// and gives the memory back.
func (u *upload) release() {
	if u.inFlight != nil {
		_ = u.wait() // Put returns an error already
	}
	if u.id != "" && !u.complete {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), cleanupTimeout)
		defer cancel()
		// Should this fail, AbortUploads finds it at the next start.
		_ = u.b.core.AbortMultipartUpload(ctx, u.b.cfg.Bucket, u.key, u.id)
	}
	u.b.putBack(u.buf)
}
