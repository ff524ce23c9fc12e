package audit

import (
	"golang.org/x/mod/sumdb/tlog"

	"lumen/internal/durable"
)

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
