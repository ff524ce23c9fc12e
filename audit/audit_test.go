package audit_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lumen/audit"
	"lumen/internal/durable"
)

const origin = "lumen.test/default"

// clock advances a millisecond each time it is asked.
type clock struct{ ticks chan time.Time }

func newClock() durable.Clock {
	c := clock{make(chan time.Time, 1)}
	c.ticks <- time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return c
}

func (c clock) Now() time.Time {
	t := <-c.ticks
	c.ticks <- t.Add(time.Millisecond)
	return t
}

func token(kind, value string) audit.Token {
	h := hmac.New(sha256.New, []byte("token key of the tests"))
	fmt.Fprintf(h, "%s\x00%s", kind, value)
	return audit.Token(h.Sum(nil))
}

// aead is deterministic, which is right for golden files only.
func aead(month string) cipher.AEAD {
	key := sha256.Sum256([]byte("payload key of " + month))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return g
}

func sealPayload(month string, plain []byte) ([]byte, error) {
	nonce := sha256.Sum256(plain)
	return aead(month).Seal(nonce[:12:12], nonce[:12], plain, nil), nil
}

func openPayload(month string, sealed []byte) ([]byte, error) {
	if len(sealed) < 12 {
		return nil, errors.New("too short")
	}
	return aead(month).Open(nil, sealed[:12], sealed[12:], nil)
}

// home is a folder with a signing key.
type home struct {
	fsys durable.FS
	dir  string
	key  *audit.Key
}

func newHome(t testing.TB, fsys durable.FS, root string) home {
	t.Helper()
	if err := fsys.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	key, _, err := audit.LoadOrGenerateKey(fsys, filepath.Join(root, "sign"), origin)
	if err != nil {
		t.Fatal(err)
	}
	return home{fsys, filepath.Join(root, "log"), key}
}

func memHome(t testing.TB) (home, *durable.Mem) {
	mem := durable.NewMem(0)
	return newHome(t, mem, "/audit"), mem
}

func (h home) config() audit.Config {
	return audit.Config{FS: h.fsys, Dir: h.dir, Key: h.key, Token: token, Seal: sealPayload, Open: openPayload,
		SegmentSize: 64 << 10, Clock: newClock()}
}

func (h home) open(t testing.TB) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), h.config())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func record(i int) audit.Record {
	return audit.Record{Code: audit.Stored, Actor: "TOWER1", Patient: fmt.Sprintf("P%d", i%3), Study: fmt.Sprintf("1.2.%d", i%5),
		Request: "6f1c", Object: fmt.Sprintf("aa/bb/%04x", i), Instances: 1, Bytes: int64(i),
		Payload: fmt.Appendf(nil, "payload %d %s", i, strings.Repeat("x", i%400))}
}

func fill(t testing.TB, l *audit.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		next, err := l.Append(t.Context(), record(i))
		if err != nil || next != uint64(i+1) {
			t.Fatalf("append %d: %d, %v", i, next, err)
		}
	}
}

// replayed lists the payloads from a position on.
func replayed(t testing.TB, l *audit.Log, from uint64) []audit.Entry {
	t.Helper()
	var all []audit.Entry
	for e, err := range l.Replay(t.Context(), from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func checkFilled(t testing.TB, l *audit.Log, from uint64, n int) {
	t.Helper()
	all := replayed(t, l, from)
	if len(all) != n {
		t.Fatalf("%d records from %d, want %d", len(all), from, n)
	}
	for i, e := range all {
		want := record(int(from) + i)
		if e.Index != from+uint64(i) || string(e.Payload) != string(want.Payload) || e.Leaf.Object != want.Object ||
			e.Leaf.Patient != token("patient", want.Patient) || e.Leaf.Bytes != want.Bytes {
			t.Fatalf("record %d came back as %+v", i, e.Leaf)
		}
	}
}
