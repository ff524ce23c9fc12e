package e2e_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// asStored asks WADO-RS for Part 10 files in whatever transfer syntax they have.
const asStored = `multipart/related; type="application/dicom"; transfer-syntax=*`

// get asks for url and returns the answer with its whole body.
func (n *node) get(url, accept string) (*http.Response, []byte) {
	n.t.Helper()
	rq, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	rq.Header.Set("Accept", accept)
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		n.t.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return rsp, body
}

// retrieve gets url as stored and returns its parts.
func (n *node) retrieve(url string) [][]byte {
	n.t.Helper()
	parts, err := n.tryRetrieve(url)
	if err != nil {
		n.t.Errorf("WADO-RS: %v", err)
		return nil
	}
	return parts
}

// tryRetrieve gets url as stored; an answer that breaks off is an error.
func (n *node) tryRetrieve(url string) ([][]byte, error) {
	rq, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	rq.Header.Set("Accept", asStored)
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", rsp.Status)
	}
	_, params, err := mime.ParseMediaType(rsp.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	var parts [][]byte
	for r := multipart.NewReader(rsp.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return parts, nil
		} else if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, b)
	}
}

// qido returns the sorted values of one attribute in a QIDO-RS answer.
func (n *node) qido(url, tag string) []string {
	n.t.Helper()
	rsp, body := n.get(url, "application/dicom+json")
	if rsp.StatusCode == http.StatusNoContent {
		return nil
	}
	if rsp.StatusCode != http.StatusOK {
		n.t.Errorf("QIDO-RS answers %s: %s", rsp.Status, tail(string(body), 300))
		return nil
	}
	var matches []map[string]struct{ Value []any }
	if err := json.Unmarshal(body, &matches); err != nil {
		n.t.Fatal(err)
	}
	var values []string
	for _, m := range matches {
		if v := m[tag].Value; len(v) > 0 {
			values = append(values, v[0].(string))
		}
	}
	slices.Sort(values)
	return values
}

// qidoStudies finds studies by one key.
func (n *node) qidoStudies(key, value string) []string {
	n.t.Helper()
	rq, err := http.NewRequest(http.MethodGet, n.url("/dicom-web/studies"), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	q := rq.URL.Query()
	q.Set(key, value)
	rq.URL.RawQuery = q.Encode()
	return n.qido(rq.URL.String(), "0020000D")
}

// findStudies finds studies with findscu by one key, written KEYWORD=VALUE.
func (n *node) findStudies(key string) []string {
	n.t.Helper()
	host, port := n.hostPort()
	dir := n.t.TempDir()
	out, code := run(n.t, "findscu", "-S", "-aet", "E2E", "-X", "-od", dir, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=", "-k", key, host, port)
	if code != 0 {
		n.t.Errorf("findscu: %s", tail(out, 500))
	}
	answers, err := filepath.Glob(filepath.Join(dir, "rsp*.dcm"))
	if err != nil {
		n.t.Fatal(err)
	}
	var studies []string
	for _, name := range answers {
		b, err := os.ReadFile(name)
		if err != nil {
			n.t.Fatal(err)
		}
		if _, rest, ok := bytes.Cut(b, []byte("\x20\x00\x0d\x00UI")); ok { // findscu writes explicit VR little endian
			length := binary.LittleEndian.Uint16(rest)
			studies = append(studies, strings.TrimRight(string(rest[2:2+length]), "\x00"))
		}
	}
	slices.Sort(studies)
	return studies
}

// jsonValue is the first value of an attribute of the first match.
func jsonValue(body []byte, tag string) string {
	var matches []map[string]struct{ Value []string }
	json.Unmarshal(body, &matches) // attributes of other types leave theirs empty
	if len(matches) == 0 || len(matches[0][tag].Value) == 0 {
		return ""
	}
	return matches[0][tag].Value[0]
}
