package seal_test

import (
	"bytes"
	"testing"

	"lumen/store/blob"
	"lumen/store/seal"
)

func FuzzWrappedKey(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(make([]byte, 41), 4, '2', '.', '2', '5'))
	f.Add(append(make([]byte, 40), 0xff, 0xff))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := seal.ReencodeWrapped(in)
		if err == nil && !bytes.Equal(in, out) {
			t.Errorf("%x became %x", in, out)
		}
	})
}

func FuzzObjectName(f *testing.F) {
	f.Add(seal.ObjectName(seal.Handle{1}, seal.Handle{2}, seal.Handle{3}))
	f.Add("tenant/00000000000000000000000000000000")
	f.Add("../../x")
	f.Fuzz(func(t *testing.T, name string) {
		tenant, study, object, ok := seal.ParseObjectName(name)
		if ok && (seal.ObjectName(tenant, study, object) != name || !blob.ValidName(name)) {
			t.Errorf("%q was taken for an object", name)
		}
	})
}
