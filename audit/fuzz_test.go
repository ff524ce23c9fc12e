package audit_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"testing"
	"time"

	"lumen/audit"
	"lumen/internal/durable"
)

func FuzzParseLeaf(f *testing.F) {
	full, err := audit.Leaf{Outcome: audit.MinorFailure, Time: time.Unix(1770000000, 5), Code: audit.Query, Actor: token("actor", "A"),
		Instances: 3, Frames: 4, Bytes: 5, Request: "r", Object: "a/b"}.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(full[:190])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		leaf, err := audit.ParseLeaf(b)
		if err != nil {
			return
		}
		again, err := leaf.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

// FuzzSegment gives a journal whose only segment holds anything at all to
// everything that reads segments. Nothing may panic, and what verifies must open.
func FuzzSegment(f *testing.F) {
	h, _ := memHome(f)
	l := h.open(f)
	fill(f, l, 0, 3)
	closeLog(f, l)
	segment := h.read(f, segmentFile(0))
	_, offsets := parseFrames(segment)
	f.Add(segment[headerPage:offsets[len(offsets)-1]], false)
	f.Add(segment[headerPage:offsets[2]], true)
	f.Add(bytes.Repeat([]byte{0xff}, 100), true)
	f.Fuzz(func(t *testing.T, content []byte, mend bool) {
		if len(content) > len(segment)-headerPage {
			return
		}
		b := bytes.Clone(segment)
		clear(b[headerPage:])
		copy(b[headerPage:], content)
		if mend {
			mendChecksums(b)
		}
		file, err := h.fsys.OpenFile(h.path(segmentFile(0)), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		file.Close()
		_, verifyErr := h.verify(t)
		if r, err := audit.OpenReader(t.Context(), h.fsys, h.dir); err == nil {
			for _, err := range r.Entries(t.Context(), 0, openPayload) {
				if err != nil {
					break
				}
			}
		}
		if verifyErr == nil && !bytes.Equal(b, segment) {
			if r, err := h.verify(t); r.Tail == 0 {
				t.Errorf("another segment verifies: %v", err)
			}
		}
	})
}

func mendChecksums(b []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for at := headerPage; at+32 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n == 0 || n > len(b)-at-32 {
			return
		}
		end := at + 32 + n
		binary.BigEndian.PutUint32(b[at+4:], crc32.Update(crc32.Checksum(b[at:at+4], table), table, b[at+8:end]))
		at = (end + 7) &^ 7
	}
}

func FuzzCheckpoint(f *testing.F) {
	h, _ := memHome(f)
	l := h.open(f)
	fill(f, l, 0, 3)
	closeLog(f, l)
	f.Add(h.read(f, "checkpoint"))
	f.Add([]byte("a\n1\nAAAA\n\n— a AAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := durable.WriteFile(h.fsys, h.path("checkpoint"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.verify(t); err != nil && !errors.Is(err, audit.ErrTampered) && len(b) < 64<<10 {
			t.Errorf("verify: %v", err)
		}
	})
}

func FuzzParsePayload(f *testing.F) {
	f.Add(audit.Payload{Actor: "TOWER1", PatientName: "Ä^B", InstanceUIDs: []string{"1.2"}, Detail: map[string]string{"k": "v"}}.Encode())
	f.Add([]byte(`{"other":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := audit.ParsePayload(b)
		if err != nil {
			return
		}
		again, err := audit.ParsePayload(p.Encode())
		if err != nil || !bytes.Equal(again.Encode(), p.Encode()) {
			t.Errorf("%q became %q, %v", p.Encode(), again.Encode(), err)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	h, _ := memHome(f)
	f.Add([]byte(`{"index":1,"leaf":"AA==","path":[],"checkpoint":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := audit.ParseProof(b)
		if err != nil {
			return
		}
		if _, err := p.Verify(h.key.Public()); err == nil {
			t.Error("a proof without a signature holds")
		}
	})
}
