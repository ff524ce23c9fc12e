package audit_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lumen/audit"
	"lumen/internal/durable"
)

// rawFrame is a frame as docs/formats/journal.md describes it, read and written
// by code of the test's own: what an attacker would have.
type rawFrame struct {
	kind    byte
	segment uint32
	index   uint64
	durable uint64
	body    []byte
}

const headerPage = 4096

func (h home) path(name string) string { return filepath.Join(h.dir, name) }

func segmentFile(n int) string { return fmt.Sprintf("segments/%08d.seg", n) }

func (h home) read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := durable.ReadFile(h.fsys, h.path(name), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (h home) write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := durable.WriteFile(h.fsys, h.path(name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file in place.
func (h home) edit(t testing.TB, name string, change func(b []byte) []byte) {
	t.Helper()
	h.write(t, name, change(h.read(t, name)))
}

func parseFrames(b []byte) (frames []rawFrame, offsets []int) {
	for at := headerPage; at+32 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n == 0 {
			break
		}
		frames = append(frames, rawFrame{b[at+8], binary.BigEndian.Uint32(b[at+12:]), binary.BigEndian.Uint64(b[at+16:]),
			binary.BigEndian.Uint64(b[at+24:]), slices.Clone(b[at+32 : at+32+n])})
		offsets = append(offsets, at)
		at += (32 + n + 7) &^ 7
	}
	return frames, offsets
}

// forge writes frames with right checksums into a segment.
func forge(b []byte, frames []rawFrame) []byte {
	out := slices.Clone(b[:headerPage])
	for _, f := range frames {
		at := len(out)
		out = binary.BigEndian.AppendUint32(out, uint32(len(f.body)))
		out = append(out, 0, 0, 0, 0, f.kind, 0, 0, 0)
		out = binary.BigEndian.AppendUint32(out, f.segment)
		out = binary.BigEndian.AppendUint64(out, f.index)
		out = binary.BigEndian.AppendUint64(out, min(f.durable, uint64(at)))
		out = append(out, f.body...)
		table := crc32.MakeTable(crc32.Castagnoli)
		binary.BigEndian.PutUint32(out[at+4:], crc32.Update(crc32.Checksum(out[at:at+4], table), table, out[at+8:]))
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
	}
	return append(out, make([]byte, max(0, len(b)-len(out)))...)
}

// rewrite changes the frames of a segment and makes its checksums right.
func (h home) rewrite(t testing.TB, segment int, change func([]rawFrame) []rawFrame) {
	t.Helper()
	h.edit(t, segmentFile(segment), func(b []byte) []byte {
		frames, _ := parseFrames(b)
		return forge(b, change(frames))
	})
}

// renumber makes the indexes of entries run on from the first.
func renumber(frames []rawFrame) []rawFrame {
	next := frames[0].index
	for i := range frames {
		frames[i].index = next
		if frames[i].kind == 'E' {
			next++
		}
	}
	return frames
}

func locate(frames []rawFrame, index uint64) int {
	return slices.IndexFunc(frames, func(f rawFrame) bool { return f.kind == 'E' && f.index == index })
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x10; return b }
}

// verify checks the journal with its own key given from outside.
func (h home) verify(t testing.TB) (audit.Report, error) {
	t.Helper()
	return audit.Verify(t.Context(), h.fsys, h.dir, h.key.Public())
}

func wantClean(t testing.TB, h home, records uint64) audit.Report {
	t.Helper()
	r, err := h.verify(t)
	if err != nil || r.Records != records || r.Tail != 0 {
		t.Fatalf("verify: %v\n%s", err, r.String())
	}
	return r
}

func TestVerifyNamesWhatWasDone(t *testing.T) {
	const n = 60 // in one segment
	swap := func(frames []rawFrame) []rawFrame {
		i := locate(frames, 20)
		frames[i], frames[i+1] = frames[i+1], frames[i]
		return frames
	}
	remove := func(frames []rawFrame) []rawFrame {
		i := locate(frames, 20)
		return slices.Delete(frames, i, i+1)
	}
	insert := func(frames []rawFrame) []rawFrame {
		i := locate(frames, 20)
		added := frames[i]
		added.body = slices.Clone(frames[i].body)
		added.body[2+60] ^= 1
		return slices.Insert(frames, i, added)
	}
	inRecord := func(h home, t *testing.T, index uint64, at int) {
		h.edit(t, segmentFile(0), func(b []byte) []byte {
			frames, offsets := parseFrames(b)
			b[offsets[locate(frames, index)]+at] ^= 1
			return b
		})
	}
	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, h home)
		kind   audit.Kind
		record int64 // -1 none
		where  string
	}{
		{"byte of a leaf", func(t *testing.T, h home) { inRecord(h, t, 20, 100) }, audit.Altered, 20, "segments/00000000.seg, offset"},
		{"byte of a length", func(t *testing.T, h home) { inRecord(h, t, 20, 3) }, audit.Altered, 20, "segments/00000000.seg, offset"},
		{"byte of a number", func(t *testing.T, h home) { inRecord(h, t, 20, 23) }, audit.Altered, 20, "segments/00000000.seg, offset"},
		{"byte of the first", func(t *testing.T, h home) { inRecord(h, t, 0, 50) }, audit.Altered, 0, "segments/00000000.seg, offset 4096"},
		{"byte of the last", func(t *testing.T, h home) { inRecord(h, t, n-1, 50) }, audit.Altered, n - 1, "segments/00000000.seg, offset"},
		{"byte of a leaf, checksum mended", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { f[locate(f, 20)].body[2+140] ^= 1; return f })
		}, audit.Altered, 20, "hashes/0"},
		{"byte of a payload, checksum mended", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { b := f[locate(f, 20)].body; b[len(b)-1] ^= 1; return f })
		}, audit.Altered, 20, "segments/00000000.seg, offset"},
		{"last leaf, checksum mended", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { f[locate(f, n-1)].body[2+140] ^= 1; return f })
		}, audit.Altered, n - 1, "hashes/0"},
		{"leaf and hash file", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { f[locate(f, 20)].body[2+140] ^= 1; return f })
			h.edit(t, "hashes/0", flip(32*20))
		}, audit.Altered, 0, "checkpoint"},
		{"removed", func(t *testing.T, h home) { h.rewrite(t, 0, remove) }, audit.Removed, 20, "segments/00000000.seg, offset"},
		{"removed and renumbered", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { return renumber(remove(f)) })
		}, audit.Removed, 20, "hashes/0"},
		{"inserted", func(t *testing.T, h home) { h.rewrite(t, 0, insert) }, audit.Inserted, 20, "segments/00000000.seg, offset"},
		{"inserted and renumbered", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { return renumber(insert(f)) })
		}, audit.Inserted, 20, "hashes/0"},
		{"reordered", func(t *testing.T, h home) { h.rewrite(t, 0, swap) }, audit.Reordered, 20, "segments/00000000.seg, offset"},
		{"reordered and renumbered", func(t *testing.T, h home) {
			h.rewrite(t, 0, func(f []rawFrame) []rawFrame { return renumber(swap(f)) })
		}, audit.Reordered, 20, "hashes/0"},
		{"cut", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte {
				frames, offsets := parseFrames(b)
				clear(b[offsets[locate(frames, 50)]:])
				return b
			})
		}, audit.Cut, 50, "checkpoint"},
		{"cut short", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte {
				frames, offsets := parseFrames(b)
				return b[:offsets[locate(frames, 50)]+70]
			})
		}, audit.Cut, 50, "checkpoint"},
		{"all records gone", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte { clear(b); return b })
		}, audit.Cut, 0, "checkpoint"},
		{"segment file gone", func(t *testing.T, h home) {
			if err := h.fsys.Remove(h.path(segmentFile(0))); err != nil {
				t.Fatal(err)
			}
		}, audit.Cut, 0, "checkpoint"},
		{"header", func(t *testing.T, h home) { h.edit(t, segmentFile(0), flip(20)) }, audit.Altered, -1, "segments/00000000.seg"},
		{"checkpoint of another size", func(t *testing.T, h home) {
			h.edit(t, "checkpoint", func(b []byte) []byte { return []byte(strings.Replace(string(b), "\n60\n", "\n59\n", 1)) })
		}, audit.Signature, -1, "checkpoint"},
		{"checkpoint that is no note", func(t *testing.T, h home) { h.write(t, "checkpoint", []byte("x")) }, audit.Signature, -1, "checkpoint"},
		{"checkpoint gone", func(t *testing.T, h home) {
			if err := h.fsys.Remove(h.path("checkpoint")); err != nil {
				t.Fatal(err)
			}
		}, audit.Missing, -1, "checkpoint"},
		{"last checkpoint cleared in the segment", func(t *testing.T, h home) {
			h.edit(t, segmentFile(0), func(b []byte) []byte {
				_, offsets := parseFrames(b)
				clear(b[offsets[len(offsets)-1]:])
				return b
			})
		}, audit.Removed, n, "segments"},
		{"key replaced", func(t *testing.T, h home) {
			other, err := audit.GenerateKey(origin)
			if err != nil {
				t.Fatal(err)
			}
			h.write(t, "key.pub", []byte(other.Public()+"\n"))
		}, audit.ForeignKey, -1, "key.pub"},
		{"hash file", func(t *testing.T, h home) { h.edit(t, "hashes/0", flip(32*20)) }, audit.Derived, 20, "hashes/0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, _ := memHome(t)
			l := h.open(t)
			fill(t, l, 0, n)
			closeLog(t, l)
			wantClean(t, h, n)
			tc.tamper(t, h)
			r, err := h.verify(t)
			if !errors.Is(err, audit.ErrTampered) {
				t.Fatalf("verify: %v", err)
			}
			for _, p := range r.Problems {
				if p.Kind == tc.kind && strings.HasPrefix(p.Where, tc.where) &&
					(p.Record == nil) == (tc.record < 0) && (p.Record == nil || *p.Record == tc.record) {
					if len(r.Problems) > 3 {
						t.Errorf("one deed, %d problems:\n%s", len(r.Problems), r.String())
					}
					return
				}
			}
			t.Errorf("want %s of record %d in %s:\n%s", tc.kind, tc.record, tc.where, r.String())
		})
	}
}

func TestVerifyOverManySegments(t *testing.T) {
	const n = 700
	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, h home)
		want   string // part of a problem
	}{
		{"first segment gone", func(t *testing.T, h home) { remove(t, h, segmentFile(0)) }, "removed (segments/00000000.seg): the segment is missing"},
		{"middle segment gone", func(t *testing.T, h home) { remove(t, h, segmentFile(2)) }, "removed (segments/00000002.seg): the segment is missing"},
		{"end of a full segment cleared", func(t *testing.T, h home) {
			h.edit(t, segmentFile(1), func(b []byte) []byte {
				_, offsets := parseFrames(b)
				clear(b[offsets[len(offsets)-3]:])
				return b
			})
		}, "cut: record"},
		{"bytes behind the end of a full segment", func(t *testing.T, h home) {
			h.edit(t, segmentFile(1), func(b []byte) []byte { b[len(b)-1] = 1; return b })
		}, "belong to nothing"},
		{"a stray file", func(t *testing.T, h home) { h.write(t, "segments/1.seg", nil) }, "inserted (segments)"},
		{"segments swapped", func(t *testing.T, h home) {
			a, b := h.read(t, segmentFile(1)), h.read(t, segmentFile(2))
			h.write(t, segmentFile(1), b)
			h.write(t, segmentFile(2), a)
		}, "the header says that it is segment 2"},
		{"middle segment rewritten", func(t *testing.T, h home) {
			h.rewrite(t, 2, func(f []rawFrame) []rawFrame { f[3].body[2+140] ^= 1; return f })
		}, "altered: record"},
		{"hash of a higher level", func(t *testing.T, h home) { h.edit(t, "hashes/1", flip(40)) }, "derived (hashes/1, offset 32)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, _ := memHome(t)
			l := h.open(t)
			fill(t, l, 0, n)
			closeLog(t, l)
			r := wantClean(t, h, n)
			if r.Segments < 5 || r.Checkpoints < r.Segments {
				t.Fatalf("a report of\n%s", r.String())
			}
			tc.tamper(t, h)
			r, err := h.verify(t)
			if !errors.Is(err, audit.ErrTampered) || !strings.Contains(r.String(), tc.want) {
				t.Errorf("want %q, got %v\n%s", tc.want, err, r.String())
			}
		})
	}
}

func remove(t testing.TB, h home, name string) {
	t.Helper()
	if err := h.fsys.Remove(h.path(name)); err != nil {
		t.Fatal(err)
	}
}

// Whoever can write to the folder can make a whole new journal. Only the key,
// or a checkpoint kept elsewhere, tells.
func TestForgedJournalNeedsTheKeyOrAKnownCheckpoint(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, 30)
	closeLog(t, l)
	known := h.read(t, "checkpoint")
	genuine := h.key

	forged, _ := memHome(t) // another key of the same name
	l = forged.open(t)
	fill(t, l, 1, 1)
	for i := 1; i < 40; i++ {
		if _, err := l.Append(t.Context(), record(i)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)

	r, err := audit.Verify(t.Context(), forged.fsys, forged.dir, "")
	if err != nil || !r.KeyFromFolder || !strings.Contains(r.String(), "proves nothing") {
		t.Errorf("with the folder's own key: %v\n%s", err, r.String())
	}
	r, err = audit.Verify(t.Context(), forged.fsys, forged.dir, genuine.Public())
	if !errors.Is(err, audit.ErrTampered) || r.KeyFromFolder || r.Problems[0].Kind != audit.ForeignKey ||
		!strings.Contains(r.String(), "checkpoint: foreign key: it is signed by "+origin) {
		t.Errorf("with the genuine key: %v\n%s", err, r.String())
	}

	// The genuine key's owner rewrites history: an earlier checkpoint tells.
	rewritten := newHome(t, durable.NewMem(0), "/audit")
	secret, err := durable.ReadFile(h.fsys, "/audit/sign", 4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(rewritten.fsys, "/audit/sign", secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if rewritten.key, err = audit.LoadKey(rewritten.fsys, "/audit/sign"); err != nil {
		t.Fatal(err)
	}
	l = rewritten.open(t)
	for i := range 40 {
		if _, err := l.Append(t.Context(), record(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	wantClean(t, rewritten, 40)
	_, err = audit.Verify(t.Context(), rewritten.fsys, rewritten.dir, genuine.Public(), known)
	if !errors.Is(err, audit.ErrTampered) || !strings.Contains(err.Error(), "known checkpoint 1") {
		t.Errorf("with a known checkpoint: %v", err)
	}
	if _, err = audit.Verify(t.Context(), h.fsys, h.dir, genuine.Public(), known); err != nil {
		t.Errorf("the genuine journal with its known checkpoint: %v", err)
	}
}

// Any flipped byte is a problem, or is named as part of the tail when it lies
// where nothing has been written yet.
func TestEveryFlippedByteIsSeen(t *testing.T) {
	h, _ := memHome(t)
	l := h.open(t)
	fill(t, l, 0, 12)
	closeLog(t, l)
	wantClean(t, h, 12)
	for _, name := range []string{segmentFile(0), "checkpoint", "key.pub", "hashes/0"} {
		original := h.read(t, name)
		stride := 1 + len(original)/1000
		f, err := h.fsys.OpenFile(h.path(name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(original); at += stride {
			if name == segmentFile(0) && at == 16<<10 {
				stride = 1999 // zeros from here on
			}
			for _, b := range []byte{original[at] ^ 0x10, original[at]} {
				if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
					t.Fatal(err)
				}
				r, err := h.verify(t)
				if seen := err != nil || r.Tail > 0; seen != (b != original[at]) {
					t.Fatalf("%s, byte %d, seen %v: %v\n%s", name, at, seen, err, r.String())
				}
			}
		}
		f.Close()
	}
}
