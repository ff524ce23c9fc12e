package wado

import (
	"strings"
	"testing"
)

const (
	jpeg = "1.2.840.10008.1.2.4.50"
	ele  = "1.2.840.10008.1.2.1"
	ile  = "1.2.840.10008.1.2"
)

// What a JPEG instance, an implicit VR instance, a JPEG frame and metadata are
// offered as, in the server's order of preference.
var (
	jpegInstance = []offer{
		{multipart: true, media: "application/dicom", syntax: jpeg, stored: true, standard: true},
		{media: "application/dicom", syntax: jpeg, stored: true, standard: true},
	}
	implicitInstance = []offer{
		{multipart: true, media: "application/dicom", syntax: ele, standard: true},
		{media: "application/dicom", syntax: ele, standard: true},
		{multipart: true, media: "application/dicom", syntax: ile, stored: true},
		{media: "application/dicom", syntax: ile, stored: true},
	}
	jpegFrame = []offer{
		{multipart: true, media: "image/jpeg", syntax: jpeg, stored: true, standard: true},
		{media: "image/jpeg", syntax: jpeg, stored: true, standard: true},
		{multipart: true, media: "application/octet-stream", syntax: jpeg, stored: true},
	}
	jsonMetadata = []offer{{media: "application/dicom+json"}, {media: "application/json"}}
)

func TestChooseWhatTheClientLikesBest(t *testing.T) {
	const none = "none"
	for _, c := range []struct {
		name   string
		query  string
		accept string
		offers []offer
		want   string // [multipart ]media[ syntax]
	}{
		{"nothing asked", "", "", jpegInstance, "multipart application/dicom " + jpeg},
		{"anything", "", "*/*", implicitInstance, "multipart application/dicom " + ele},
		{"Java's star", "", "text/html, image/gif, *; q=.2, */*; q=.2", jsonMetadata, "application/dicom+json"},
		{"multipart of the type", "", `multipart/related; type="application/dicom"`, jpegInstance, "multipart application/dicom " + jpeg},
		{"type without quotes", "", `multipart/related; type=application/dicom`, jpegInstance, "multipart application/dicom " + jpeg},
		{"without blanks", "", `multipart/related;type="application/dicom";transfer-syntax=*`, implicitInstance, "multipart application/dicom " + ile},
		{"as stored, quoted star", "", `multipart/related; type="application/dicom"; transfer-syntax="*"`, implicitInstance, "multipart application/dicom " + ile},
		{"named syntax", "", `multipart/related; type="application/dicom"; transfer-syntax=` + ile, implicitInstance, "multipart application/dicom " + ile},
		{"named syntax that cannot be had", "", `multipart/related; type="application/dicom"; transfer-syntax=` + jpeg, implicitInstance, none},
		{"default syntax of a compressed instance", "", `application/dicom`, jpegInstance, "application/dicom " + jpeg},
		{"explicit little endian of a compressed instance", "", `application/dicom; transfer-syntax=` + ele, jpegInstance, none},
		{"single part", "", "application/dicom", implicitInstance, "application/dicom " + ele},
		{"single part as stored", "", "application/dicom; transfer-syntax=*", implicitInstance, "application/dicom " + ile},
		{"multipart without a type", "", "multipart/related", jpegInstance, "multipart application/dicom " + jpeg},
		{"multipart wildcard", "", "multipart/*", jpegInstance, "multipart application/dicom " + jpeg},
		{"type with a wildcard", "", `multipart/related; type="image/*"`, jpegFrame, "multipart image/jpeg " + jpeg},
		{"another multipart", "", "multipart/form-data", jpegInstance, none},
		{"case does not matter", "", `Multipart/Related; TYPE="Application/DICOM"`, jpegInstance, "multipart application/dicom " + jpeg},
		{"boundary is ignored", "", `multipart/related; type="application/dicom"; boundary=**`, jpegInstance, "multipart application/dicom " + jpeg},
		{"highest quality", "", `multipart/related; type="application/dicom"; q=0.3, application/dicom;q=0.9`, jpegInstance, "application/dicom " + jpeg},
		{"first of equals", "", `application/dicom, multipart/related; type="application/dicom"`, jpegInstance, "application/dicom " + jpeg},
		{"two syntaxes by quality", "", `application/dicom;transfer-syntax=` + ile + `;q=0.4, application/dicom;transfer-syntax=` + ele + `;q=0.5`, implicitInstance, "application/dicom " + ele},
		{"the narrow range decides over the wide one", "", `*/*, application/dicom+json;q=0.1, application/json;q=0.5`, jsonMetadata, "application/json"},
		{"q=0 refuses", "", `multipart/related; type="image/jpeg"; q=0, */*`, jpegFrame, "image/jpeg " + jpeg},
		{"q=0 for all", "", `*/*;q=0`, jpegFrame, none},
		{"image wildcard", "", "image/*", jpegFrame, "image/jpeg " + jpeg},
		{"application wildcard", "", "application/*", jsonMetadata, "application/dicom+json"},
		{"octet stream as stored", "", `multipart/related; type="application/octet-stream"; transfer-syntax=*`, jpegFrame, "multipart application/octet-stream " + jpeg},
		{"octet stream of a compressed frame", "", `multipart/related; type="application/octet-stream"`, jpegFrame, none},
		{"another type", "", "text/html", jsonMetadata, none},
		{"xml", "", `multipart/related; type="application/dicom+xml"`, jsonMetadata, none},
		{"xml that is offered", "", `multipart/related; type="application/dicom+xml"`, modelOffers, "multipart application/dicom+xml"},
		{"xml without parts", "", "application/dicom+xml", modelOffers, none},
		{"anything but json", "", "application/dicom+json;q=0, application/json;q=0, */*", modelOffers, "multipart application/dicom+xml"},
		{"the query parameter goes first", `application/json`, "application/dicom+json", jsonMetadata, "application/json"},
		{"then the header", "text/html", "application/json", jsonMetadata, "application/json"},
		{"a query parameter alone is all that is accepted", "text/html", "", jsonMetadata, none},
		{"empty elements", "", ", ,application/json,,", jsonMetadata, "application/json"},
		{"an unknown parameter", "", `application/json; charset="utf-8"; v=2`, jsonMetadata, "application/json"},
		{"a comma and an escape inside quotes", "", `text/x; a="b,\"c"; q=1, application/json`, jsonMetadata, "application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := parseAcceptable(field(c.query), field(c.accept))
			if err != nil {
				t.Fatal(err)
			}
			got := none
			if o, ok := a.choose(c.offers); ok {
				got = strings.TrimSpace(o.media + " " + o.syntax)
				if o.multipart {
					got = "multipart " + got
				}
			}
			if got != c.want {
				t.Errorf("chose %q, want %q", got, c.want)
			}
		})
	}
}

func TestMalformedAcceptIsRefused(t *testing.T) {
	for _, list := range []string{
		"text", "/", "a/", "/b", "a/b c/d", "a/b;q", "a/b;q=2", "a/b;q=1.001", "a/b;q=0.1234", "a/b;q=x", "a/b;q=",
		`a/b;x="y`, `a/b;x="y\`, "*/b", `multipart/related; type="dicom"`, "application/dicom; transfer-syntax=abc",
		"a/b\x00", "a/b/c", `a/b;="x"`, "application/dicom; transfer-syntax=" + strings.Repeat("1", 65),
	} {
		if _, err := parseAccept(list); err == nil {
			t.Errorf("parseAccept(%q) took it", list)
		}
	}
}

func field(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func FuzzAccept(f *testing.F) {
	for _, seed := range []string{
		`multipart/related; type="application/dicom"; transfer-syntax=*; q=0.5, */*;q=.1`,
		`application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50;boundary=**`, `a/b;x="\"`, "*", ",,;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		ranges, err := parseAccept(list)
		if err != nil {
			return
		}
		for _, m := range ranges {
			if m.quality < 0 || m.quality > 1000 {
				t.Fatalf("quality %d", m.quality)
			}
		}
		for _, offers := range [][]offer{jpegInstance, implicitInstance, jpegFrame, jsonMetadata} {
			if o, ok := (acceptable{header: ranges}).choose(offers); ok {
				matched := false
				for _, m := range ranges {
					matched = matched || m.quality > 0 && m.match(o) > 0
				}
				if !matched {
					t.Fatalf("%q chose what no range matches", list)
				}
			}
		}
	})
}
