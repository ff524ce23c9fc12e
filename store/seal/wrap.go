package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"lumen/store/blob"
)

// Objects is what a [Keyring] needs of store.Blobs.
type Objects interface {
	Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error
	Open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error]
}

// Names of objects. Everything in them is random or says what every archive has.
const tenantPrefix = "tenant/"

func tenantName(tenant Handle) string              { return tenantPrefix + tenant.String() }
func keyPrefix(tenant Handle) string               { return tenant.String() + "/key/" }
func keyName(tenant Handle, purpose string) string { return keyPrefix(tenant) + purpose }

// ObjectName is the name of an object of a study.
func ObjectName(tenant, study, object Handle) string {
	return StudyPrefix(tenant, study) + object.String()
}

// StudyKeyName is the name of the object that holds a study's wrapped key.
func StudyKeyName(tenant, study Handle) string { return StudyPrefix(tenant, study) + "key" }

// StudyPrefix is the prefix of a study's objects, its key among them.
func StudyPrefix(tenant, study Handle) string { return tenant.String() + "/" + study.String() + "/" }

// IsTenantKey reports whether name is that of a key that a node needs whatever it
// does: a tenant's wrapped key, or one of the keys that every tenant has. There
// are a dozen a year.
func IsTenantKey(name string) bool {
	_, purpose, _ := strings.Cut(name, "/")
	return strings.HasPrefix(name, tenantPrefix) || strings.HasPrefix(purpose, "key/")
}

// TenantKeyPrefixes are the prefixes below which all objects are that
// [IsTenantKey] knows.
func TenantKeyPrefixes(ctx context.Context, objects Objects) ([]string, error) {
	tenants, err := listTenants(ctx, objects)
	if err != nil {
		return nil, err
	}
	prefixes := []string{tenantPrefix}
	for _, tenant := range tenants {
		prefixes = append(prefixes, keyPrefix(tenant))
	}
	return prefixes, nil
}

// TenantPrefix is the prefix of all objects of a tenant but the one that holds
// its wrapped key.
func TenantPrefix(tenant Handle) string { return tenant.String() + "/" }

// ParseObjectName takes apart what [ObjectName] made; ok is false for every
// other name, those of keys included.
func ParseObjectName(name string) (tenant, study, object Handle, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return tenant, study, object, false
	}
	for i, h := range []*Handle{&tenant, &study, &object} {
		var err error
		if *h, err = ParseHandle(parts[i]); err != nil {
			return Handle{}, Handle{}, Handle{}, false
		}
	}
	return tenant, study, object, true
}

// wrapped is the plaintext of an object of kind key.
type wrapped struct {
	key     Key
	created time.Time // by the second
	label   string    // tenant's name, study's UID, or purpose: it binds the key to its use
}

const (
	maxKeyLabel  = 1 << 10
	maxKeyObject = 4 << 10
)

func (w wrapped) encode() []byte {
	b := append([]byte(nil), w.key.Bytes()...)
	b = binary.BigEndian.AppendUint64(b, uint64(w.created.Unix()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.label)))
	return append(b, w.label...)
}

func decodeWrapped(b []byte) (w wrapped, err error) {
	const fixed = KeySize + 8 + 2
	if len(b) < fixed || len(b) != fixed+int(binary.BigEndian.Uint16(b[KeySize+8:])) {
		return w, fmt.Errorf("wrapped key: %w", ErrFormat)
	}
	w.key, err = NewKey(b[:KeySize])
	w.created = time.Unix(int64(binary.BigEndian.Uint64(b[KeySize:])), 0)
	w.label = string(b[fixed:])
	return w, err
}

// putKey seals w under by and stores it.
func putKey(ctx context.Context, objects Objects, name string, by Key, tenant, study Handle, w wrapped) error {
	if len(w.label) > maxKeyLabel {
		return errors.New("wrap a key: its label is too long")
	}
	var out bytes.Buffer
	s, err := NewWriter(&out, by, Header{Kind: KindKey, Tenant: tenant, Study: study, Blob: by.ID()})
	if err != nil {
		return fmt.Errorf("wrap a key: %w", err)
	}
	_, err = s.Write(w.encode())
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("wrap a key: %w", err)
	}
	err = objects.Put(ctx, name, int64(out.Len()), func(dst io.Writer) error {
		_, err := dst.Write(out.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("store a wrapped key: %w", err)
	}
	return nil
}

// getKey reads an object that putKey wrote. The error is [ErrKey] when another
// key than by wraps it.
func getKey(ctx context.Context, objects Objects, name string, by Key, tenant, study Handle) (wrapped, error) {
	rc, err := objects.Open(ctx, name, 0, maxKeyObject)
	if err != nil {
		return wrapped{}, fmt.Errorf("open a wrapped key: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(rc, maxKeyObject))
	if err = errors.Join(err, rc.Close()); err != nil {
		return wrapped{}, fmt.Errorf("read a wrapped key: %w", err)
	}
	h, err := ParseHeader(b)
	if err != nil {
		return wrapped{}, fmt.Errorf("wrapped key: %w", err)
	}
	want := Header{Version: Version, Suite: SuiteAES256GCM, Kind: KindKey, Tenant: tenant, Study: study, Blob: by.ID()}
	if h.Kind == KindKey && h.Blob != want.Blob {
		return wrapped{}, fmt.Errorf("wrapped by key %s, the one at hand is %s: %w", h.Blob, want.Blob, ErrKey)
	}
	r, err := NewReader(bytes.NewReader(b), by, want)
	if err != nil {
		return wrapped{}, fmt.Errorf("wrapped key: %w", err)
	}
	defer r.Close() // it holds nothing but memory
	plain, err := io.ReadAll(r)
	if err != nil {
		return wrapped{}, fmt.Errorf("wrapped key: %w", err)
	}
	return decodeWrapped(plain)
}
