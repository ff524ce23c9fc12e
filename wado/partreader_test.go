package wado

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"
)

// body makes a multipart body from lines ending in CR LF.
func body(lines ...string) string { return strings.Join(lines, "\r\n") }

type readPart struct{ contentType, content string }

// readParts reads all parts and the error that ended it, nil for a clean end.
func readParts(src io.Reader, boundary string, maxParts, maxHeader int) ([]readPart, error) {
	p, err := newPartReader(src, boundary, maxParts, maxHeader)
	if err != nil {
		return nil, err
	}
	var parts []readPart
	for {
		contentType, err := p.next()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return parts, err
		}
		parts = append(parts, readPart{contentType, string(content)})
	}
}

func TestPartReader(t *testing.T) {
	const header = "Content-Type: application/dicom"
	for _, c := range []struct {
		name, body string
		want       []readPart
		err        error
	}{
		{"one part", body("--b", header, "", "abc", "--b--", ""), []readPart{{"application/dicom", "abc"}}, nil},
		{"two parts", body("--b", header, "", "abc", "--b", "content-type:x/y", "", "d", "--b--"),
			[]readPart{{"application/dicom", "abc"}, {"x/y", "d"}}, nil},
		{"empty part", body("--b", header, "", "", "--b--"), []readPart{{"application/dicom", ""}}, nil},
		{"no header", body("--b", "", "abc", "--b--"), []readPart{{"", "abc"}}, nil},
		{"no parts", body("--b--"), nil, nil},
		{"preamble and epilogue", body("pre", "amble", "--b", "", "abc", "--b--", "--b", "", "x"), []readPart{{"", "abc"}}, nil},
		{"blanks after the boundary", body("--b \t", "", "abc", "--b--"), []readPart{{"", "abc"}}, nil},
		{"content that looks like a boundary", body("--b", "", "a", "--", "--bb", "--b", "", "", "--b-", "-", "--b--"),
			[]readPart{{"", "a\r\n--\r\n--bb"}, {"", "\r\n--b-\r\n-"}}, nil},
		{"line ends in the content", body("--b", "", "\r\n\r\n\r", "--b--"), []readPart{{"", "\r\n\r\n\r"}}, nil},
		{"cut inside a part", body("--b", header, "", "abcdefghijkl"), nil, io.ErrUnexpectedEOF},
		{"cut before the closing boundary's end", body("--b", header, "", "abc", "--b"), nil, io.ErrUnexpectedEOF},
		{"cut inside a header", body("--b", header), nil, io.ErrUnexpectedEOF},
		{"cut after a part", body("--b", "", "abc", "--b", ""), []readPart{{"", "abc"}}, io.ErrUnexpectedEOF},
		{"nothing", "", nil, io.ErrUnexpectedEOF},
		{"no boundary", "hello", nil, io.ErrUnexpectedEOF},
		{"a header without a colon", body("--b", "hello", "", "abc", "--b--"), nil, errPartHeader},
		{"a header without a name", body("--b", ": x", "", "abc", "--b--"), nil, errPartHeader},
		{"a bare line feed", "--b\r\na: b\n\r\nabc\r\n--b--", nil, errPartHeader},
		{"a header at the limit", body("--b", "a: "+strings.Repeat("x", 93), "", "abc", "--b--"), []readPart{{"", "abc"}}, nil},
		{"a header one past the limit", body("--b", "a: "+strings.Repeat("x", 94), "", "abc", "--b--"), nil, errPartHeader},
		{"a header far past the limit", body("--b", strings.Repeat("x", 1<<20), "", "abc", "--b--"), nil, errPartHeader},
		{"as many parts as allowed", body("--b", "", "1", "--b", "", "2", "--b", "", "3", "--b--"),
			[]readPart{{"", "1"}, {"", "2"}, {"", "3"}}, nil},
		{"one part too many", body("--b", "", "1", "--b", "", "2", "--b", "", "3", "--b", "", "4", "--b--"),
			[]readPart{{"", "1"}, {"", "2"}, {"", "3"}}, errPartCount},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, src := range map[string]io.Reader{
				"at once": strings.NewReader(c.body), "byte by byte": iotest.OneByteReader(strings.NewReader(c.body)),
			} {
				got, err := readParts(src, "b", 3, 100)
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Errorf("%s: error %v, want %v", name, err, c.err)
				}
				if len(got) != len(c.want) {
					t.Fatalf("%s: %d parts, want %d", name, len(got), len(c.want))
				}
				for i := range got {
					if got[i] != c.want[i] {
						t.Errorf("%s: part %d is %q, want %q", name, i, got[i], c.want[i])
					}
				}
			}
		})
	}
}

func TestPartReaderRefusesImpossibleBoundaries(t *testing.T) {
	for _, boundary := range []string{"", strings.Repeat("x", maxBoundary+1), "a\r\nb"} {
		if _, err := newPartReader(strings.NewReader(""), boundary, 1, 100); err == nil {
			t.Errorf("boundary %q passed", boundary)
		}
	}
}

func TestAnUnreadPartIsSkipped(t *testing.T) {
	p, err := newPartReader(strings.NewReader(body("--b", "", strings.Repeat("x", 1<<20), "--b", "", "two", "--b--")), "b", 9, 100)
	if err != nil {
		t.Fatal(err)
	}
	p.next()
	if _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p); string(got) != "two" || err != nil {
		t.Errorf("second part = %q, %v", got, err)
	}
}

// FuzzPartReader feeds arbitrary bytes, then checks that what the standard
// library writes comes back whole.
func FuzzPartReader(f *testing.F) {
	f.Add([]byte(body("--b", "a: b", "", "abc", "--b--")), uint64(1))
	f.Add([]byte("\r\n--b\r\n--"), uint64(2))
	f.Fuzz(func(t *testing.T, content []byte, seed uint64) {
		parts, err := readParts(bytes.NewReader(content), "b", 50, 200)
		if err == nil && len(parts) > 50 {
			t.Fatalf("%d parts", len(parts))
		}

		var written bytes.Buffer
		w := multipart.NewWriter(&written)
		if w.SetBoundary("b") != nil {
			t.Fatal("boundary")
		}
		random := rand.New(rand.NewPCG(seed, 1))
		var want [][]byte
		for rest := content; ; {
			n := random.IntN(len(rest) + 1)
			if !bytes.Contains(append([]byte("\r\n"), append(rest[:n:n], "\r\n"...)...), []byte("\r\n--b")) {
				pw, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"x/y"}})
				if err != nil {
					t.Fatal(err)
				}
				pw.Write(rest[:n])
				want = append(want, rest[:n])
			}
			if rest = rest[n:]; len(rest) == 0 || len(want) == 5 {
				break
			}
		}
		w.Close()
		if len(want) == 0 {
			return
		}
		parts, err = readParts(&written, "b", 50, 200)
		if err != nil || len(parts) != len(want) {
			t.Fatalf("%d parts of %d, %v", len(parts), len(want), err)
		}
		for i := range want {
			if parts[i].content != string(want[i]) || parts[i].contentType != "x/y" {
				t.Fatalf("part %d differs", i)
			}
		}
	})
}
