package audit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"lumen/audit"
	"lumen/internal/durable"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// golden compares with a file of testdata/golden: the format is not to change
// by accident.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// hexDump is hex.Dump with a star in place of lines of zeros.
func hexDump(b []byte) []byte {
	var out []byte
	for line := range strings.Lines(hex.Dump(b)) {
		zeros := strings.Contains(line, strings.TrimSpace(strings.Repeat("00 ", 8))+"  "+strings.Repeat("00 ", 8))
		switch {
		case !zeros:
			out = append(out, line...)
		case !bytes.HasSuffix(out, []byte("*\n")):
			out = append(out, "*\n"...)
		}
	}
	return out
}

// goldenHome has the key of testdata, which signs nothing else.
func goldenHome(t *testing.T) home {
	t.Helper()
	mem := durable.NewMem(0)
	secret, err := os.ReadFile(filepath.Join("testdata", "sign.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(mem, "/sign", secret, 0o600); err != nil {
		t.Fatal(err)
	}
	return newHome(t, mem, "/")
}

func goldenRecords() []audit.Record {
	payload := audit.Payload{Actor: "TOWER1", Peer: "192.0.2.7:40112", Protocol: "C-STORE", PatientID: "PAT-0815",
		PatientName: "Müller^Käthe", StudyUID: "1.2.826.0.1.3680043.10.99.1", InstanceUIDs: []string{"1.2.826.0.1.3680043.10.99.1.1"}}
	stored := audit.Record{Code: audit.Stored, Actor: "TOWER1", Patient: payload.PatientID, Study: payload.StudyUID,
		Request: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", Object: "11/22/33", Instances: 1, Bytes: 226000, Payload: payload.Encode()}
	move := payload
	move.Protocol, move.Destination, move.Actor, move.Peer = "C-MOVE", "VIEWER", "WORKSTATION", "viewer.example.org"
	retrieve := stored
	retrieve.Code, retrieve.Object, retrieve.Actor, retrieve.Payload = audit.RetrieveBegin, "", "WORKSTATION", move.Encode()
	query := audit.Record{Code: audit.Query, Actor: "http", Request: "abc", Payload: audit.Payload{Actor: "http", Peer: "[2001:db8::1]:5000",
		Protocol: "QIDO-RS", Detail: map[string]string{"level": "study", "PatientName": "MÜLLER*", "reason": ""}}.Encode()}
	rejected := audit.Record{Code: audit.AssociationRejected, Outcome: audit.MinorFailure, Actor: "EVIL\x1b[2J", Request: "def",
		Payload: audit.Payload{Actor: "EVIL\x1b[2J", Peer: "192.0.2.66:1", Detail: map[string]string{"reason": "calling AE title not recognized"}}.Encode()}
	return []audit.Record{{Code: audit.Start}, stored, retrieve, query, rejected}
}

func TestGoldenJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := goldenHome(t)
		cfg := h.config()
		cfg.SegmentSize = 32 << 10
		l, err := audit.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), goldenRecords()...); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		wantClean(t, h, 5)

		segment := h.read(t, segmentFile(0))
		golden(t, "segment.hex", hexDump(bytes.TrimRight(segment, "\x00")))
		golden(t, "checkpoint", h.read(t, "checkpoint"))
		golden(t, "key.pub", h.read(t, "key.pub"))
		golden(t, "hashes.hex", hexDump(h.read(t, "hashes/0")))

		r := openReader(t, h)
		proof, err := r.Prove(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.MarshalIndent(proof, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "proof.json", append(b, '\n'))

		for _, f := range []audit.Format{audit.FormatText, audit.FormatJSON, audit.FormatDICOM, audit.FormatFHIR} {
			var open, sealed bytes.Buffer
			if err := audit.Show(&open, f, "lumen.test", r.Entries(t.Context(), 0, openPayload)); err != nil {
				t.Fatal(err)
			}
			if err := audit.Show(&sealed, f, "lumen.test", r.Entries(t.Context(), 0, nil)); err != nil {
				t.Fatal(err)
			}
			golden(t, "open."+string(f), open.Bytes())
			golden(t, "sealed."+string(f), sealed.Bytes())
		}
	})
}
