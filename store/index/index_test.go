package index_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
	"lumen/store/index"
)

var _ store.Index = (*index.DB)(nil)

func config(path string) index.Config {
	return index.Config{
		Path:   path,
		Tenant: [16]byte{1, 2, 3},
		Token: func(value string) (sum [32]byte) {
			h := hmac.New(sha256.New, []byte("index-token key of the tests"))
			h.Write([]byte(value))
			return [32]byte(h.Sum(nil))
		},
		RecordKey: func(version uint32) ([]byte, error) {
			key := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("record key"), version))
			return key[:], nil
		},
	}
}

func open(t interface {
	Helper()
	Fatal(...any)
}, path string) *index.DB {
	t.Helper()
	db, err := index.Open(context.Background(), config(path))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// fresh returns an empty index that is closed with the test.
func fresh(t testing.TB) *index.DB {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "index"))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// start is when the rows of the tests were received.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// row makes the row of one instance: tags and their values follow the UIDs.
func row(study, series, instance string, values ...any) store.Row {
	r := store.Row{Record: store.Record{
		StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: instance,
		SOPClassUID: dict.UIDVLEndoscopicImageStorage, TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
		Attributes: new(dicom.DataSet), Size: 1000, BodyOffset: 500, Received: start,
	}}
	copy(r.Blob.Study[:], study)
	copy(r.Blob.ID[:], instance)
	for i := 0; i < len(values); i += 2 {
		r.Attributes.SetString(values[i].(dicom.Tag), fmt.Sprint(values[i+1]))
	}
	return r
}

func put(t testing.TB, db *index.DB, covered store.Position, rows ...store.Row) {
	t.Helper()
	if err := db.Put(context.Background(), rows, covered); err != nil {
		t.Fatal(err)
	}
}

// query makes a query: tags and their values follow the level.
func query(t testing.TB, level store.Level, keys ...any) *store.Query {
	t.Helper()
	q := store.NewQuery(level)
	for i := 0; i < len(keys); i += 2 {
		if err := q.Match(keys[i].(dicom.Tag), keys[i+1].(string)); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

func search(t testing.TB, db *index.DB, q *store.Query) (list []store.Match) {
	t.Helper()
	for m, err := range db.Search(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func studies(list []store.Match) (uids []string) {
	for _, m := range list {
		uids = append(uids, m.StudyInstanceUID)
	}
	return uids
}

func instances(t testing.TB, db *index.DB, sel store.Selection) (uids []string) {
	t.Helper()
	for r, err := range db.Instances(context.Background(), sel) {
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, r.SOPInstanceUID)
	}
	return uids
}
