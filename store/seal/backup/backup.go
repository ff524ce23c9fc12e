// Package backup copies the root key to somewhere else and back.
//
// A backup is a file encrypted by age (filippo.io/age) to one or more recipients,
// armored. Inside are a few lines of text, so that age alone and a pair of eyes
// can recover the key, should no Lumen be at hand. The objects hold all other keys,
// wrapped: so they and this file are enough.
//
// That a backup was made, or that somebody decided to do without one, is kept as a
// receipt among the objects, sealed under the root key that it is about: a new root
// key has none.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"lumen/store/blob"
	"lumen/store/seal"
)

const (
	title      = "lumen root key, format 0"
	maxBackup  = 1 << 20
	maxReceipt = 64 << 10
)

var errNoBackup = errors.New("not a backup of a root key")

// Write writes a backup of root for the holders of recipients, each an age
// recipient ("age1..."). What was written protects nobody before it is durable:
// the caller sees to that, and then calls [Record].
func Write(w io.Writer, root seal.Key, made time.Time, recipients ...string) error {
	if root.IsZero() {
		return errors.New("back up the root key: there is none")
	}
	to, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil {
		return fmt.Errorf("back up the root key: %w", err)
	}
	armored := armor.NewWriter(w)
	sealed, err := age.Encrypt(armored, to...)
	if err != nil {
		return fmt.Errorf("back up the root key: %w", err)
	}
	_, err = fmt.Fprintf(sealed, "%s\nid %s\nmade %s\nkey %s\n", title, root.ID(), made.UTC().Format(time.RFC3339), hex.EncodeToString(root.Bytes()))
	if err = errors.Join(err, sealed.Close(), armored.Close()); err != nil {
		return fmt.Errorf("back up the root key: %w", err)
	}
	return nil
}

// Read returns the root key in a backup, with the identities of a recipient: the
// lines of an age key file.
func Read(r, identities io.Reader) (seal.Key, error) {
	with, err := age.ParseIdentities(io.LimitReader(identities, maxBackup))
	if err != nil {
		return seal.Key{}, fmt.Errorf("read identities: %w", err)
	}
	buffered := bufio.NewReader(io.LimitReader(r, maxBackup))
	var sealed io.Reader = buffered
	if start, err := buffered.Peek(len(armor.Header)); err == nil && string(start) == armor.Header {
		sealed = armor.NewReader(buffered)
	}
	plain, err := age.Decrypt(sealed, with...)
	if err != nil {
		return seal.Key{}, fmt.Errorf("open the backup: %w", err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		return seal.Key{}, fmt.Errorf("open the backup: %w", err)
	}
	return parse(string(text))
}

func parse(text string) (seal.Key, error) {
	lines := strings.Split(text, "\n")
	if lines[0] != title {
		return seal.Key{}, errNoBackup
	}
	fields := map[string]string{}
	for _, line := range lines[1:] {
		if name, value, ok := strings.Cut(line, " "); ok {
			fields[name] = value
		}
	}
	b, err := hex.DecodeString(fields["key"])
	if err != nil {
		return seal.Key{}, errNoBackup // not what the error shows of it
	}
	k, err := seal.NewKey(b)
	if err != nil {
		return seal.Key{}, errNoBackup
	}
	if k.ID().String() != fields["id"] {
		return seal.Key{}, fmt.Errorf("%w: the key in it is not the one that its id names", errNoBackup)
	}
	return k, nil
}

// Receipt says that a root key was backed up, or that somebody waived it.
type Receipt struct {
	Time       time.Time `json:"time"`
	Recipients []string  `json:"recipients,omitempty"` // public keys
	Waived     bool      `json:"waived,omitempty"`     // there is none, and that is meant so
}

// Prefix is that of the names of receipts.
const Prefix = "backup/"

func receiptName(root seal.Key) string { return Prefix + root.ID().String() }

func receiptHeader(root seal.Key) seal.Header {
	return seal.Header{Version: seal.Version, Suite: seal.SuiteAES256GCM, Kind: seal.KindFact, Blob: root.ID()}
}

// Record keeps a receipt, in the place of an earlier one.
func Record(ctx context.Context, objects seal.Objects, root seal.Key, receipt Receipt) error {
	plain, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("record a backup: %w", err)
	}
	err = objects.Put(ctx, receiptName(root), seal.SealedSize(int64(len(plain))), func(w io.Writer) error {
		s, err := seal.NewWriter(w, root, receiptHeader(root))
		if err != nil {
			return err
		}
		_, err = s.Write(plain)
		return errors.Join(err, s.Close())
	})
	if err != nil {
		return fmt.Errorf("record a backup: %w", err)
	}
	return nil
}

// Find returns the receipt of a root key; ok is false while there is none: then
// it is time to warn, and with a remote bucket not to be ready.
func Find(ctx context.Context, objects seal.Objects, root seal.Key) (receipt Receipt, ok bool, err error) {
	rc, err := objects.Open(ctx, receiptName(root), 0, maxReceipt)
	if errors.Is(err, blob.ErrNotFound) {
		return Receipt{}, false, nil
	}
	if err != nil {
		return Receipt{}, false, fmt.Errorf("look for a backup: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(rc, maxReceipt))
	if err = errors.Join(err, rc.Close()); err != nil {
		return Receipt{}, false, fmt.Errorf("look for a backup: %w", err)
	}
	s, err := seal.NewReader(bytes.NewReader(b), root, receiptHeader(root))
	if err != nil {
		return Receipt{}, false, fmt.Errorf("receipt of a backup: %w", err)
	}
	defer s.Close() // it holds nothing but memory
	if err := json.NewDecoder(s).Decode(&receipt); err != nil {
		return Receipt{}, false, fmt.Errorf("receipt of a backup: %w", err)
	}
	return receipt, true, nil
}
