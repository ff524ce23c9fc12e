package e2e_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whoever alters the journal's files is found out by `lumen audit verify` with
// the key that the first start printed, even if they know the format and mend
// numbers and checksums.
func TestTamperedJournalIsNamed(t *testing.T) {
	n := startNode(t, "")
	key := publicKey(t, n)
	c, err := n.associate(vlEndoscopic, jpegBaseline)
	if err != nil {
		t.Fatal(err)
	}
	rng := rngFor(t)
	for range 20 {
		s := still{Study: uid(rng), Series: uid(rng), Instance: uid(rng), Name: "A^B", ID: "1", Size: 1000}
		if status, err := c.store(vlEndoscopic, s.Instance, bytes.NewReader(s.dataSet(rng))); err != nil || status != 0 {
			t.Fatalf("C-STORE: %04x, %v", status, err)
		}
	}
	c.abort()
	n.stop()
	if out, code := n.lumen("audit", "verify", "--key", key); code != 0 {
		t.Fatalf("an honest journal does not verify: %s", out)
	}

	for _, c := range []struct {
		kind  string // what the output names it; empty when mending makes several names fit
		forge func(frames [][]byte) [][]byte
	}{
		{"altered", func(f [][]byte) [][]byte { f[entry(f, 5)][frameHead+40] ^= 1; return f }},
		{"removed", func(f [][]byte) [][]byte { return slices.Delete(f, entry(f, 5), entry(f, 5)+1) }},
		{"reordered", func(f [][]byte) [][]byte {
			a, b := entry(f, 5), entry(f, 6)
			f[a], f[b] = f[b], f[a]
			return f
		}},
		{"inserted", func(f [][]byte) [][]byte {
			return slices.Insert(f, entry(f, 5), bytes.Clone(f[entry(f, 3)]))
		}},
		{"cut", func(f [][]byte) [][]byte { return f[:entry(f, 5)] }},
		{"", func(f [][]byte) [][]byte { f[entry(f, 5)][frameHead+40] ^= 1; return mend(f) }},
		{"", func(f [][]byte) [][]byte { return mend(slices.Delete(f, entry(f, 5), entry(f, 5)+1)) }},
		{"", func(f [][]byte) [][]byte {
			return mend(slices.Insert(f, entry(f, 5), bytes.Clone(f[entry(f, 3)])))
		}},
		{"", func(f [][]byte) [][]byte { return withoutCheckpoints(f[:entry(f, 5)]) }},
	} {
		copied := newNode(t, "", "")
		if err := os.CopyFS(copied.data+"/audit", os.DirFS(n.data+"/audit")); err != nil {
			t.Fatal(err)
		}
		forgeSegment(t, copied.data, c.forge)
		out, code := copied.lumen("audit", "verify", "--key", key)
		if code != 1 || !strings.Contains(out, "PROBLEM") || !strings.Contains(out, c.kind) {
			t.Errorf("journal with a record %s: code %d\n%s", c.kind, code, out)
		}
	}
}

// publicKey is the tenant's key as the first start printed it.
func publicKey(t *testing.T, n *node) (key string) {
	t.Helper()
	n.until("the first start prints a public key", startTimeout, func() bool {
		for line := range strings.Lines(n.log.String()) {
			if _, rest, ok := strings.Cut(line, "public_key="); ok && strings.HasPrefix(rest, "lumen/default+") && strings.HasSuffix(rest, "\n") {
				key = strings.TrimSpace(rest)
			}
		}
		return key != ""
	})
	return key
}

// A segment is a page, then frames: a header of 32 bytes, a body, and zeros up
// to a multiple of 8 (docs/formats/journal.md).
const (
	segmentHead = 4096
	frameHead   = 32
)

// forgeSegment rewrites the frames of the first segment of the tenant's journal.
func forgeSegment(t *testing.T, data string, forge func([][]byte) [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "audit", "default", "segments", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal("no segments", err)
	}
	content, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for rest := content[segmentHead:]; ; {
		length := int(binary.BigEndian.Uint32(rest))
		if length == 0 {
			break
		}
		size := (frameHead + length + 7) &^ 7
		frames = append(frames, bytes.Clone(rest[:size]))
		rest = rest[size:]
	}
	forged := slices.Concat(append([][]byte{content[:segmentHead]}, forge(frames)...)...)
	forged = append(forged, make([]byte, max(0, len(content)-len(forged)))...)
	if err := os.WriteFile(names[0], forged, 0o600); err != nil {
		t.Fatal(err)
	}
}

// entry is where the nth record is among the frames.
func entry(frames [][]byte, n int) int {
	for i, f := range frames {
		if f[8] == 'E' {
			if n == 0 {
				return i
			}
			n--
		}
	}
	panic("not so many records")
}

// mend numbers the records anew and makes all checksums right.
func mend(frames [][]byte) [][]byte {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	next := uint64(0)
	for _, f := range frames {
		binary.BigEndian.PutUint64(f[16:], next)
		if f[8] == 'E' {
			next++
		}
		end := frameHead + int(binary.BigEndian.Uint32(f))
		sum := crc32.Update(crc32.Checksum(f[:4], castagnoli), castagnoli, f[8:end])
		binary.BigEndian.PutUint32(f[4:], sum)
	}
	return frames
}

func withoutCheckpoints(frames [][]byte) [][]byte {
	return slices.DeleteFunc(frames, func(f []byte) bool { return f[8] == 'C' })
}
