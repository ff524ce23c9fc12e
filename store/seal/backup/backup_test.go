package backup_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"lumen/internal/durable"
	"lumen/store/blob/blobtest"
	"lumen/store/blob/mem"
	"lumen/store/seal"
	"lumen/store/seal/backup"
)

var made = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestEveryRecipientCanRestore(t *testing.T) {
	root, a, b, other := seal.GenerateKey(), identity(t), identity(t), identity(t)
	var out bytes.Buffer
	if err := backup.Write(&out, root, made, a.Recipient().String(), b.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), armor.Header) || strings.Contains(out.String(), hex.EncodeToString(root.Bytes())) {
		t.Errorf("a backup looks like %q", out.String())
	}
	for _, id := range []*age.X25519Identity{a, b} {
		k, err := backup.Read(bytes.NewReader(out.Bytes()), strings.NewReader("# a comment\n"+id.String()+"\n"))
		if err != nil || !k.Equal(root) {
			t.Errorf("Read = %v, %v", k, err)
		}
	}
	if _, err := backup.Read(bytes.NewReader(out.Bytes()), strings.NewReader(other.String())); err == nil {
		t.Error("somebody else could restore")
	}
	changed := bytes.Replace(out.Bytes(), []byte("\n"), []byte("\nA"), 3)
	if _, err := backup.Read(bytes.NewReader(changed), strings.NewReader(a.String())); err == nil {
		t.Error("a damaged backup was restored")
	}
	for _, recipients := range [][]string{nil, {"nobody"}, {"age1notakey"}} {
		if err := backup.Write(io.Discard, root, made, recipients...); err == nil {
			t.Errorf("a backup for %q", recipients)
		}
	}
	if err := backup.Write(io.Discard, seal.Key{}, made, a.Recipient().String()); err == nil {
		t.Error("a backup of no key")
	}
}

// What other programs wrote for us is looked at closely.
func TestReadRefusesOtherContent(t *testing.T) {
	id := identity(t)
	key := strings.Repeat("ab", 32)
	k, err := seal.NewKey(bytes.Repeat([]byte{0xab}, 32))
	if err != nil {
		t.Fatal(err)
	}
	const title = "lumen root key, format 0\n"
	for text, want := range map[string]bool{
		title + "id " + k.ID().String() + "\nmade then\nkey " + key + "\n": true,
		title + "key " + key + "\nid " + k.ID().String():                   true,
		title + "id " + k.ID().String() + "\nkey " + key[2:]:               false,
		title + "id " + k.ID().String() + "\nkey zz" + key[2:]:             false,
		title + "id " + strings.Repeat("0", 32) + "\nkey " + key:           false,
		"lumen root key, format 9\nkey " + key:                             false,
		"":                                                                 false,
	} {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := backup.Read(&out, strings.NewReader(id.String()))
		if (err == nil) != want || want && !got.Equal(k) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "abab") {
			t.Errorf("the key is in the error: %v", err)
		}
	}
}

func TestReceipts(t *testing.T) {
	objects, root, ctx := &mem.Blobs{}, seal.GenerateKey(), t.Context()
	if _, ok, err := backup.Find(ctx, objects, root); ok || err != nil {
		t.Errorf("before any backup: %v, %v", ok, err)
	}
	want := backup.Receipt{Time: made, Recipients: []string{"age1x"}}
	for range 2 {
		if err := backup.Record(ctx, objects, root, want); err != nil {
			t.Fatal(err)
		}
	}
	got, ok, err := backup.Find(ctx, objects, root)
	if !ok || err != nil || !got.Time.Equal(made) || len(got.Recipients) != 1 || got.Waived {
		t.Errorf("Find = %+v, %v, %v", got, ok, err)
	}
	if _, ok, err := backup.Find(ctx, objects, seal.GenerateKey()); ok || err != nil {
		t.Errorf("a new root key: %v, %v", ok, err)
	}
	blobtest.Put(t, objects, "backup/"+root.ID().String(), []byte(`{"time":"2026-11-23T06:00:00Z","waived":true}`))
	if _, ok, err := backup.Find(ctx, objects, root); ok || err == nil {
		t.Errorf("a forged receipt: %v, %v", ok, err)
	}
}

// An empty machine, a copy of the objects and a backup: everything opens again.
func TestRestoreOnAnEmptyMachine(t *testing.T) {
	ctx, id, objects := t.Context(), identity(t), &mem.Blobs{}
	here := seal.FileRoot(durable.NewMem(0), "/keys/root")
	ring, err := seal.OpenKeyring(ctx, seal.KeyringConfig{Root: here, Objects: objects, Tenant: "default", Create: true})
	if err != nil {
		t.Fatal(err)
	}
	study := seal.NewHandle()
	key, err := ring.NewStudy(ctx, study, "2.25.1")
	if err != nil {
		t.Fatal(err)
	}
	root, err := here.Key(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := backup.Write(&out, root, made, id.Recipient().String()); err != nil {
		t.Fatal(err)
	}

	machine := durable.NewMem(0)
	restored, err := backup.Read(&out, strings.NewReader(id.String()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // again is no error
		if err := seal.WriteRoot(machine, "/keys/root", restored); err != nil {
			t.Fatal(err)
		}
	}
	if err := seal.WriteRoot(machine, "/keys/root", seal.GenerateKey()); err == nil {
		t.Error("a root key was replaced by another")
	}
	machine.Crash(nil)
	ring, err = seal.OpenKeyring(ctx, seal.KeyringConfig{Root: seal.FileRoot(machine, "/keys/root"), Objects: objects, Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Study(ctx, study); err != nil || !got.Equal(key) {
		t.Errorf("study key: %v", err)
	}
	if err := seal.WriteRoot(machine, "/keys/other", seal.Key{}); err == nil {
		t.Error("no key was written as one")
	}
}
