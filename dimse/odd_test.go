package dimse_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// A deflate stream may have any length, DCMTK writes files of odd length, and a
// malformed data set may. What leaves must not: DCMTK aborts at a fragment of odd
// length, and PS3.5 section A.5 has a deflate stream padded.
func TestDataSetsOfOddLengthArePadded(t *testing.T) {
	for _, uid := range []string{dicom.DeflatedExplicitVRLittleEndian, dicom.ExplicitVRLittleEndian} {
		t.Run(uid, func(t *testing.T) { oddLengths(t, uid) })
	}
}

func oddLengths(t *testing.T, uid string) {
	ts, _ := dicom.LookupTransferSyntax(uid)
	contexts := propose(getClass)
	contexts = append(contexts, dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: []string{uid}, Role: dimse.RoleBoth})
	for data, want := range map[string]string{"odd": "odd\x00", "even": "even", "": ""} {
		var ar archive
		s := ar.server()
		s.Services = append(s.Services, dimse.Service{SOPClasses: []string{getClass},
			Get: func(ctx context.Context, _ *dimse.Association, _ *dimse.GetRequest, store dimse.SubStore, _ func(dimse.SubOperations) error) (dimse.SubOperations, error) {
				_, err := store(ctx, dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: ts}, bytes.NewReader([]byte(data)))
				return dimse.SubOperations{Completed: 1}, err
			}})
		c := dial(t, serve(t, s), contexts...)
		if status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: ts},
			bytes.NewReader([]byte(data))); err != nil || status != dimse.StatusSuccess {
			t.Fatal(status, err)
		}
		if got := string(ar.objects["1.2"]); got != want {
			t.Errorf("C-STORE of %q brings %q", data, got)
		}
		var id dicom.DataSet
		id.SetString(dict.QueryRetrieveLevel, "STUDY")
		_, err := c.Get(t.Context(), getClass, &id, func(_ context.Context, _ *dimse.StoreRequest, r io.Reader) error {
			got, err := io.ReadAll(r)
			if string(got) != want {
				t.Errorf("C-GET of %q brings %q", data, got)
			}
			return err
		}, nil)
		if err != nil {
			t.Error(err)
		}
	}
}
