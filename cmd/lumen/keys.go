package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lumen/config"
	"lumen/internal/durable"
	"lumen/internal/node"
)

func keysStatus(ctx context.Context, args []string) error {
	cfg, err := newOptions("keys status").parse(args)
	if err != nil {
		return err
	}
	var s node.KeyStatus
	if err := ask(ctx, cfg, "GET", "/keys", func(r io.Reader) error { return json.NewDecoder(r).Decode(&s) }); err != nil {
		return err
	}
	fmt.Printf("root key %s, %s %s\n", s.ID, s.Provider, s.Where)
	switch {
	case s.BackedUp:
		fmt.Printf("backed up %s for\n  %s\n", s.Time.Format(time.RFC3339), strings.Join(s.Recipients, "\n  "))
	case s.Waived:
		fmt.Printf("no backup, which was waived %s\n", s.Time.Format(time.RFC3339))
	default:
		fmt.Println("no backup: run `lumen keys backup`; without the root key nothing that is stored can ever be opened")
	}
	return nil
}

func keysBackup(ctx context.Context, args []string) error {
	o := newOptions("keys backup")
	var recipients recipientList
	o.Var(&recipients, "recipient", "`age1...`, the public key of who may restore; may be given several times")
	o.Func("recipients-file", "`file` with a public key in each line", recipients.read)
	to := o.String("to", "", "`file` to write, or - for standard output")
	waive := o.Bool("waive", false, "note that there is to be no backup")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	if *waive {
		if len(recipients) > 0 || *to != "" {
			return errors.New("--waive makes no backup: it goes alone")
		}
		return noteBackup(ctx, cfg, url.Values{"waived": {"true"}})
	}
	if len(recipients) == 0 || *to == "" {
		return errors.New("for whom, and where to? lumen keys backup --recipient age1... --to FILE; age-keygen makes a pair of keys")
	}
	query := url.Values{"recipient": recipients}
	var sealed bytes.Buffer
	err = ask(ctx, cfg, "POST", "/keys/backup?"+query.Encode(), func(r io.Reader) error {
		_, err := sealed.ReadFrom(r)
		return err
	})
	if err != nil {
		return err
	}
	if *to == "-" {
		_, err = os.Stdout.Write(sealed.Bytes())
	} else {
		err = writeBackup(cfg, *to, sealed.Bytes())
	}
	if err != nil {
		return fmt.Errorf("the backup is not kept: %w", err)
	}
	return noteBackup(ctx, cfg, query)
}

// noteBackup has the node note that the backup is safe.
func noteBackup(ctx context.Context, cfg config.Config, query url.Values) error {
	return ask(ctx, cfg, "POST", "/keys/receipt?"+query.Encode(), func(io.Reader) error { return nil })
}

// writeBackup writes a new file, durably. One in the data folder would be lost
// together with what it is to save.
func writeBackup(cfg config.Config, name string, content []byte) error {
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return err
	}
	full, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	if inside, err := filepath.Rel(data, full); err == nil && filepath.IsLocal(inside) {
		return fmt.Errorf("%s is in the data folder: it would be lost with it", name)
	}
	fsys := durable.OS()
	f, err := fsys.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(full))
	}
	return fsys.SyncDir(filepath.Dir(full))
}

func keysRestore(ctx context.Context, args []string) (err error) {
	o := newOptions("keys restore")
	identity := o.String("identity", "", "`file` with the secret key of a recipient, as age-keygen writes it")
	from := o.String("from", "", "`file` with the backup, or - for standard input")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	if *identity == "" || *from == "" {
		return errors.New("from what, and with which key? lumen keys restore --identity FILE --from FILE")
	}
	identities, err := os.Open(*identity)
	if err != nil {
		return err
	}
	defer identities.Close()
	sealed := os.Stdin
	if *from != "-" {
		if sealed, err = os.Open(*from); err != nil {
			return err
		}
		defer sealed.Close()
	}
	id, err := node.RestoreRootKey(ctx, cfg, sealed, identities)
	if errors.Is(err, node.ErrRunning) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("root key %s restored; with the objects in their place, `lumen index rebuild` makes the rest\n", id)
	return nil
}

// recipientList collects age recipients.
type recipientList []string

func (l *recipientList) String() string { return strings.Join(*l, " ") }

func (l *recipientList) Set(recipient string) error {
	*l = append(*l, recipient)
	return nil
}

// read adds the recipients in a file, in which # begins a comment.
func (l *recipientList) read(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			*l = append(*l, line)
		}
	}
	return nil
}
