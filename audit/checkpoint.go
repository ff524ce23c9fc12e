package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a signed statement that a journal had Size records whose tree
// has this Root (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
}

// text is the note's text: three lines, no extensions.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

func signCheckpoint(c Checkpoint, signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

var errForeignKey = errors.New("foreign key")

// OpenCheckpoint checks the signature of a checkpoint and reads it. The error
// names the key that signed when it is not the one asked for.
func OpenCheckpoint(signed []byte, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		var unverified *note.UnverifiedNoteError
		var bad *note.InvalidSignatureError
		switch {
		case errors.As(err, &unverified) && len(unverified.Note.UnverifiedSigs) > 0:
			s := unverified.Note.UnverifiedSigs[0]
			return Checkpoint{}, fmt.Errorf("%w: it is signed by %s+%08x, not by %s+%08x", errForeignKey,
				s.Name, s.Hash, v.Name(), v.KeyHash())
		case errors.As(err, &bad):
			return Checkpoint{}, fmt.Errorf("its signature by %s+%08x is not valid", bad.Name, bad.Hash)
		}
		return Checkpoint{}, errors.New("it is not a signed note")
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != v.Name() {
		err = fmt.Errorf("it is of the journal %q, not of %q", c.Origin, v.Name())
	}
	return c, err
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return Checkpoint{}, errors.New("it is not a checkpoint of three lines")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, errors.New("its size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("its root is not a hash")
	}
	return Checkpoint{lines[0], size, tlog.Hash(root)}, nil
}
