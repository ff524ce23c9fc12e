package wado

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
)

func TestStoreBoundary(t *testing.T) {
	for _, c := range []struct {
		contentType, encoding string
		want                  string
		err                   error
	}{
		{`multipart/related; type="application/dicom"; boundary=abc`, "", "abc", nil},
		{`multipart/related; type="application/dicom"; boundary="a b"`, "", "a b", nil},
		{`Multipart/Related; boundary=abc`, "", "abc", nil},
		{`multipart/related; type=application/dicom; boundary=abc`, "", "abc", nil},
		{`multipart/related;boundary=abc;type=application/dicom`, "identity", "abc", nil},
		{`multipart/related; type="application/dicom"`, "", "", errBoundary},
		{`multipart/related; type="application/dicom+json"; boundary=abc`, "", "", errNotMultipart},
		{`multipart/related; type=application/dicom+xml; boundary=abc`, "", "", errNotMultipart},
		{`multipart/form-data; boundary=abc`, "", "", errNotMultipart},
		{`application/dicom`, "", "", errNotMultipart},
		{``, "", "", errNotMultipart},
		{`multipart/related; type="application/dicom"; boundary=abc`, "gzip", "", errEncoded},
	} {
		r := &http.Request{Header: http.Header{"Content-Type": {c.contentType}}}
		if c.encoding != "" {
			r.Header.Set("Content-Encoding", c.encoding)
		}
		got, err := storeBoundary(r)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q %q: %q, %v; want %q, %v", c.contentType, c.encoding, got, err, c.want, c.err)
		}
	}
}

func TestSwapTurnsWordsAroundWhateverTheReads(t *testing.T) {
	for unit, want := range map[int]string{2: "badcfehg", 4: "dcbahgfe", 8: "hgfedcba"} {
		for name, src := range map[string]io.Reader{
			"whole": bytes.NewReader([]byte("abcdefgh")), "bytes": iotest.OneByteReader(bytes.NewReader([]byte("abcdefgh"))),
			"with EOF": iotest.DataErrReader(bytes.NewReader([]byte("abcdefgh"))),
		} {
			got, err := io.ReadAll(&swapped{src: io.NopCloser(src), unit: unit})
			if string(got) != want || err != nil {
				t.Errorf("unit %d, %s: %q, %v", unit, name, got, err)
			}
		}
	}
	_, err := io.ReadAll(&swapped{src: io.NopCloser(bytes.NewReader([]byte("abc"))), unit: 2})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a word: %v", err)
	}
}
