package audit

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

// Proof shows that a checkpoint signs a leaf: the leaf, its audit path
// (RFC 6962, section 2.1.1) and the checkpoint. It holds no patient data.
type Proof struct {
	Index      uint64           `json:"index"`
	Leaf       []byte           `json:"leaf"` // encoded
	Path       tlog.RecordProof `json:"path"`
	Checkpoint string           `json:"checkpoint"` // signed note
}

// ParseProof reads a proof from its JSON.
func ParseProof(b []byte) (Proof, error) {
	var p Proof
	if err := json.Unmarshal(b, &p); err != nil {
		return Proof{}, errors.New("not an inclusion proof in JSON")
	}
	return p, nil
}

// Verify checks the proof against a verifier key and returns the leaf that it
// proves. It needs nothing else.
func (p Proof) Verify(vkey string) (Leaf, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return Leaf{}, errors.New("not a verifier key: name+hash+base64")
	}
	c, err := OpenCheckpoint([]byte(p.Checkpoint), v)
	if err != nil {
		return Leaf{}, fmt.Errorf("%w: checkpoint: %w", ErrTampered, err)
	}
	if p.Index >= c.Size {
		return Leaf{}, fmt.Errorf("%w: the checkpoint signs %d records, not number %d", ErrTampered, c.Size, p.Index)
	}
	if err := tlog.CheckRecord(p.Path, int64(c.Size), c.Root, int64(p.Index), tlog.RecordHash(p.Leaf)); err != nil {
		return Leaf{}, fmt.Errorf("%w: the path does not lead from the leaf to the checkpoint's root", ErrTampered)
	}
	return ParseLeaf(p.Leaf)
}

// hashReader reads tree hashes from the hash files, as tlog wants them.
type hashReader struct {
	fsys durable.FS
	dir  string
}

// ReadHashes implements tlog.HashReader. A hash between two kept levels is
// computed from those below it.
func (h hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		kept, above := level/tileHeight, level%tileHeight
		hashes, err := readHashes(h.fsys, h.dir, kept, uint64(n)<<above, 1<<above)
		if err != nil {
			return nil, err
		}
		out[i] = foldHashes(hashes)
	}
	return out, nil
}
