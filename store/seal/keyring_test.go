package seal_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"lumen/internal/durable"
	"lumen/store/blob"
	"lumen/store/blob/mem"
	"lumen/store/seal"
)

const tenantForTest = "north wing"

func openRing(t *testing.T, objects seal.Objects, root seal.Root, create bool) (*seal.Keyring, error) {
	t.Helper()
	return seal.OpenKeyring(t.Context(), seal.KeyringConfig{Root: root, Objects: objects, Tenant: tenantForTest, Create: create, Cache: 2})
}

func mustRing(t *testing.T, objects seal.Objects, root seal.Root) *seal.Keyring {
	t.Helper()
	k, err := openRing(t, objects, root, true)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRoot() seal.Root { return seal.FileRoot(durable.NewMem(0), "/keys/root") }

func TestKeysAreTheSameAfterReopening(t *testing.T) {
	objects, root, ctx := &mem.Blobs{}, newRoot(), t.Context()
	first := mustRing(t, objects, root)
	var handles []seal.Handle
	var keys []seal.Key
	for i := range 5 { // more than the cache holds
		h := seal.NewHandle()
		k, err := first.NewStudy(ctx, h, fmt.Sprintf("2.25.%d", i))
		if err != nil {
			t.Fatal(err)
		}
		handles, keys = append(handles, h), append(keys, k)
	}
	rootKey, err := root.Key(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.Status(); got != (seal.Status{Provider: "file", RootID: rootKey.ID(), Tenant: first.Tenant()}) {
		t.Errorf("Status = %+v", got)
	}
	record, err := first.RecordKey(ctx, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := first.JournalKey(ctx, "2026-11", true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := openRing(t, objects, root, false)
	if err != nil {
		t.Fatal(err)
	}
	if second.Tenant() != first.Tenant() || !second.IndexToken().Equal(first.IndexToken()) || !second.JournalToken().Equal(first.JournalToken()) {
		t.Error("tenant or token keys differ")
	}
	if k, err := second.RecordKey(ctx, 1, false); err != nil || !k.Equal(record) {
		t.Errorf("record key: %v", err)
	}
	if k, err := second.JournalKey(ctx, "2026-11", false); err != nil || !k.Equal(journal) {
		t.Errorf("journal key: %v", err)
	}
	for range 2 { // from the object and from the cache
		for i, h := range handles {
			if k, err := second.Study(ctx, h); err != nil || !k.Equal(keys[i]) {
				t.Errorf("study %d: %v", i, err)
			}
		}
	}
	if uid, err := second.StudyUID(ctx, handles[3]); uid != "2.25.3" || err != nil {
		t.Errorf("StudyUID = %q, %v", uid, err)
	}
	all := map[string]bool{}
	for _, k := range append(keys, record, journal, first.IndexToken(), first.JournalToken()) {
		all[string(k.Bytes())] = true
	}
	if len(all) != 9 {
		t.Error("keys are not all different")
	}
}

func TestMissingKeysAreNotMadeUnasked(t *testing.T) {
	objects, root, ctx := &mem.Blobs{}, newRoot(), t.Context()
	if _, err := openRing(t, objects, root, false); !errors.Is(err, seal.ErrNoRoot) {
		t.Errorf("without anything: %v", err)
	}
	k := mustRing(t, objects, root)
	if _, err := k.RecordKey(ctx, 2, false); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("record key: %v", err)
	}
	if _, err := k.JournalKey(ctx, "2026-12", false); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("journal key: %v", err)
	}
	if _, err := k.JournalKey(ctx, "../../x", true); err == nil {
		t.Error("a month that is none became a name")
	}
	if _, err := k.Study(ctx, seal.NewHandle()); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("study key: %v", err)
	}
	_, err := seal.OpenKeyring(ctx, seal.KeyringConfig{Root: root, Objects: objects, Tenant: "other"})
	if !errors.Is(err, seal.ErrNoTenant) {
		t.Errorf("other tenant: %v", err)
	}
}

func TestForgottenStudyIsGone(t *testing.T) {
	objects, ctx := &mem.Blobs{}, t.Context()
	k := mustRing(t, objects, newRoot())
	h := seal.NewHandle()
	_, err := k.NewStudy(ctx, h, "2.25.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Delete(ctx, seal.StudyKeyName(k.Tenant(), h)); err != nil {
		t.Fatal(err)
	}
	k.Forget(h)
	if _, err := k.Study(ctx, h); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Study = %v", err)
	}
}

// A root key that is lost or another one never starts a second archive over the
// first.
func TestAnotherRootKeyIsRefused(t *testing.T) {
	objects, root := &mem.Blobs{}, newRoot()
	mustRing(t, objects, root)
	if _, err := openRing(t, objects, newRoot(), true); !errors.Is(err, seal.ErrNoRoot) {
		t.Errorf("lost root key: %v", err)
	}
	elsewhere := newRoot()
	mustRing(t, &mem.Blobs{}, elsewhere)
	if _, err := openRing(t, objects, elsewhere, true); !errors.Is(err, seal.ErrWrongRoot) {
		t.Errorf("other root key: %v", err)
	}
}

// A swapped, stale or foreign key object does not open under another's name.
func TestKeyObjectsAreBoundToTheirNames(t *testing.T) {
	objects, ctx, root := &mem.Blobs{}, t.Context(), newRoot()
	k := mustRing(t, objects, root)
	a, b := seal.NewHandle(), seal.NewHandle()
	_, err := k.NewStudy(ctx, a, "2.25.1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.NewStudy(ctx, b, "2.25.2")
	if err != nil {
		t.Fatal(err)
	}
	copyObject(t, objects, seal.StudyKeyName(k.Tenant(), a), seal.StudyKeyName(k.Tenant(), b))
	k.Forget(b)
	if _, err := k.Study(ctx, b); !errors.Is(err, seal.ErrHeader) {
		t.Errorf("study key of another study: %v", err)
	}
	prefix := k.Tenant().String() + "/key/"
	copyObject(t, objects, prefix+"index-token", prefix+"journal-token")
	if _, err := openRing(t, objects, root, false); !errors.Is(err, seal.ErrHeader) {
		t.Errorf("index key as journal key: %v", err)
	}
}

func copyObject(t *testing.T, objects *mem.Blobs, from, to string) {
	t.Helper()
	rc, err := objects.Open(t.Context(), from, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	err = objects.Put(t.Context(), to, -1, func(w io.Writer) error {
		_, err := io.Copy(w, rc)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// failing objects stop working after some Puts.
type failing struct {
	mem.Blobs
	puts int
}

var errDown = errors.New("down")

func (f *failing) Put(ctx context.Context, name string, size int64, write func(io.Writer) error) error {
	if f.puts--; f.puts < 0 {
		return errDown
	}
	return f.Blobs.Put(ctx, name, size, write)
}

func TestCreationThatFailsLeavesNoHalfTenant(t *testing.T) {
	for puts := range 3 {
		objects, root := &failing{puts: puts}, newRoot()
		if _, err := openRing(t, objects, root, true); !errors.Is(err, errDown) {
			t.Fatalf("%d puts: %v", puts, err)
		}
		objects.puts = 100
		if _, err := openRing(t, objects, root, false); !errors.Is(err, seal.ErrNoTenant) {
			t.Errorf("%d puts: half a tenant: %v", puts, err)
		}
		mustRing(t, objects, root)
	}
	objects := &failing{puts: 3}
	k := mustRing(t, objects, newRoot())
	if _, err := k.NewStudy(t.Context(), seal.NewHandle(), "2.25.1"); !errors.Is(err, errDown) {
		t.Errorf("NewStudy = %v", err)
	}
}

func TestKeysAreMadeOnce(t *testing.T) {
	k := mustRing(t, &mem.Blobs{}, newRoot())
	keys := make([]seal.Key, 20)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], _ = k.JournalKey(context.Background(), "2027-01", true) })
	}
	wg.Wait()
	for _, key := range keys {
		if key.IsZero() || !key.Equal(keys[0]) {
			t.Fatal("several keys for one month")
		}
	}
}

// Nothing that an archive is asked to hide is in the names or bytes of its keys.
func TestObjectsShowNothing(t *testing.T) {
	objects, ctx, root := &mem.Blobs{}, t.Context(), newRoot()
	k := mustRing(t, objects, root)
	if _, err := k.NewStudy(ctx, seal.NewHandle(), "1.2.3.4.5.6"); err != nil {
		t.Fatal(err)
	}
	rootKey, err := root.Key(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for info, err := range objects.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		count++
		if !blob.ValidName(info.Name) {
			t.Errorf("object name %q", info.Name)
		}
		rc, err := objects.Open(ctx, info.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(rc)
		for _, secret := range []string{tenantForTest, "1.2.3.4.5.6", string(rootKey.Bytes()), string(k.IndexToken().Bytes())} {
			if strings.Contains(info.Name+string(b), secret) {
				t.Errorf("%s shows %q", info.Name, secret)
			}
		}
		if h, err := seal.ParseHeader(b); err != nil || h.Kind != seal.KindKey {
			t.Errorf("%s: header %v, %v", info.Name, h, err)
		}
	}
	if count != 4 {
		t.Errorf("%d objects", count)
	}
}

func TestObjectNames(t *testing.T) {
	a, b, c := seal.NewHandle(), seal.NewHandle(), seal.NewHandle()
	name := seal.ObjectName(a, b, c)
	if x, y, z, ok := seal.ParseObjectName(name); !ok || x != a || y != b || z != c {
		t.Errorf("ParseObjectName(%q) = %v %v %v %v", name, x, y, z, ok)
	}
	for _, other := range []string{seal.StudyKeyName(a, b), "tenant/" + a.String(), "", "a/b/c", strings.ToUpper(name), name + "0", name + "/x"} {
		if _, _, _, ok := seal.ParseObjectName(other); ok {
			t.Errorf("%q is taken for an object of a study", other)
		}
	}
	if h, err := seal.ParseHandle(a.String()); h != a || err != nil {
		t.Errorf("ParseHandle = %v, %v", h, err)
	}
}

func TestFileRoot(t *testing.T) {
	for _, tc := range []struct {
		name  string
		setup func(dir string) error
		want  string
	}{
		{"readable by the group", func(f string) error { return os.WriteFile(f, make([]byte, 32), 0o640) }, "chmod 600"},
		{"readable by all", func(f string) error { return os.WriteFile(f, make([]byte, 32), 0o604) }, "chmod 600"},
		{"too short", func(f string) error { return os.WriteFile(f, make([]byte, 31), 0o600) }, "32 bytes"},
		{"too long", func(f string) error { return os.WriteFile(f, make([]byte, 33), 0o600) }, "more than 32"},
		{"a folder", func(f string) error { return os.Mkdir(f, 0o700) }, "chmod"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := t.TempDir() + "/root"
			if err := tc.setup(file); err != nil {
				t.Fatal(err)
			}
			if _, err := seal.FileRoot(durable.OS(), file).Key(t.Context(), true); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	file := t.TempDir() + "/keys/root"
	root := seal.FileRoot(durable.OS(), file)
	made, err := root.Key(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := root.Key(t.Context(), false)
	if err != nil || !again.Equal(made) {
		t.Errorf("read again: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("root key file: %v, %v", info, err)
	}
}

func TestEnvRoot(t *testing.T) {
	const name = "LUMEN_TEST_ROOT"
	if _, err := seal.EnvRoot(name).Key(t.Context(), true); !errors.Is(err, seal.ErrNoRoot) {
		t.Errorf("unset: %v", err)
	}
	secret := strings.Repeat("5a", 31)
	t.Setenv(name, secret)
	if _, err := seal.EnvRoot(name).Key(t.Context(), true); err == nil || strings.Contains(err.Error(), "5a5a") {
		t.Errorf("too short: %v", err)
	}
	t.Setenv(name, secret+"5a\n")
	k, err := seal.EnvRoot(name).Key(t.Context(), false)
	if err != nil || !bytes.Equal(k.Bytes(), bytes.Repeat([]byte{0x5a}, 32)) {
		t.Errorf("set: %v", err)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	raw := []byte("super-secret-bytes-of-32-length!")
	k, err := seal.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct {
		Exported seal.Key
		private  seal.Key
	}
	holder := hidden{k, k}
	var logs bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logs, nil), slog.NewJSONHandler(&logs, nil)} {
		slog.New(h).Info("keys", "key", k, "pointer", &k, "holder", holder, "list", []seal.Key{k})
	}
	js, err := json.Marshal(map[string]any{"k": k, "h": holder})
	if err != nil {
		t.Fatal(err)
	}
	out := logs.String() + string(js)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, []seal.Key{k})
	}
	for _, secret := range []string{string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), "115 117 112", "0x73, 0x75"} {
		if strings.Contains(out, secret) {
			t.Errorf("a key was printed: %q", secret)
		}
	}
	if !strings.Contains(out, "[key]") {
		t.Error("nothing was printed at all")
	}
}

func TestToken(t *testing.T) {
	a := seal.Token(testKey, "a")
	if a != seal.Token(mustKey(0x42), "a") || a == seal.Token(testKey, "b") || a == seal.Token(otherKey, "a") {
		t.Error("tokens are not a keyed function of the value")
	}
	if testKey.ID() == otherKey.ID() || testKey.ID() != mustKey(0x42).ID() {
		t.Error("key ids are not those of the keys")
	}
}

func ExampleKeyring() {
	ctx := context.Background()
	objects := &mem.Blobs{}
	ring, err := seal.OpenKeyring(ctx, seal.KeyringConfig{
		Root: seal.FileRoot(durable.NewMem(0), "/keys/root"), Objects: objects, Tenant: "default", Create: true,
	})
	if err != nil {
		panic(err)
	}
	study := seal.NewHandle()
	key, err := ring.NewStudy(ctx, study, "2.25.17")
	if err != nil {
		panic(err)
	}
	header := seal.Header{Kind: seal.KindInstance, Tenant: ring.Tenant(), Study: study, Blob: seal.NewHandle()}
	var object bytes.Buffer
	w, err := seal.NewWriter(&object, key, header)
	if err != nil {
		panic(err)
	}
	io.WriteString(w, "a Part 10 file")
	if err := w.Close(); err != nil {
		panic(err)
	}
	r, err := seal.NewReader(&object, key, header)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	fmt.Println(string(plain), err)
	// Output: a Part 10 file <nil>
}
