package wado_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
)

const acceptXML = `multipart/related; type="application/dicom+xml"`

// nativeModel is as much of a Native DICOM Model document as is looked at here.
type nativeModel struct {
	XMLName    xml.Name `xml:"http://dicom.nema.org/PS3.19/models/NativeDICOM NativeDicomModel"`
	Attributes []struct {
		Tag      string   `xml:"tag,attr"`
		VR       string   `xml:"vr,attr"`
		Value    []string `xml:"Value"`
		BulkData *struct {
			URI string `xml:"uri,attr"`
		} `xml:"BulkData"`
		Items []nativeItem `xml:"Item"`
	} `xml:"DicomAttribute"`
}

type nativeItem struct {
	Number int `xml:"number,attr"`
}

// items returns the items of a sequence; tag is its eight digits.
func (m nativeModel) items(tag string) []nativeItem {
	for _, a := range m.Attributes {
		if a.Tag == tag {
			return a.Items
		}
	}
	return nil
}

func (m nativeModel) value(tag dicom.Tag) string {
	for _, a := range m.Attributes {
		if a.Tag == strings.NewReplacer("(", "", ",", "", ")", "").Replace(strings.ToUpper(tag.String())) {
			if a.BulkData != nil {
				return a.BulkData.URI
			}
			return strings.Join(a.Value, "|")
		}
	}
	return ""
}

// documents reads an answer of one document a part.
func documents(t *testing.T, a answer) []nativeModel {
	t.Helper()
	media, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || a.status != 200 || media != "multipart/related" || params["type"] != "application/dicom+xml" {
		t.Fatalf("status %d, Content-Type %q, %v", a.status, a.header.Get("Content-Type"), err)
	}
	var list []nativeModel
	for r := multipart.NewReader(bytes.NewReader(a.body), params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			return list
		}
		if err != nil || part.Header.Get("Content-Type") != "application/dicom+xml" {
			t.Fatal(part, err)
		}
		var m nativeModel
		if err := xml.NewDecoder(part).Decode(&m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
}

// PS3.18 10.4.4 and 10.6.4: servers have XML as well as JSON.
func TestXMLForMetadataAndSearches(t *testing.T) {
	f := newFixture(t)
	clinic(f)
	studies := documents(t, f.get("/studies", "Accept", acceptXML))
	if len(studies) != 3 {
		t.Errorf("%d studies", len(studies))
	}
	one := documents(t, f.get("/studies?AccessionNumber=ACC-1", "Accept", acceptXML))
	if len(one) != 1 || one[0].value(dict.StudyInstanceUID) != "1.1" || one[0].value(dict.ModalitiesInStudy) != "ES|SR" {
		t.Errorf("%+v", one)
	}
	if a := f.get("/studies?AccessionNumber=none", "Accept", acceptXML); a.status != 204 || len(a.body) > 0 {
		t.Errorf("nothing found: status %d, %d bytes", a.status, len(a.body))
	}
	metadata := documents(t, f.get("/studies/1.1/metadata", "Accept", acceptXML))
	if len(metadata) != 3 {
		t.Fatalf("metadata of %d instances", len(metadata))
	}
	uri := metadata[0].value(dict.PixelData)
	if a := f.get(strings.TrimPrefix(uri, f.base)); !strings.HasPrefix(uri, f.base) || !bytes.Equal(a.body, []byte{1, 2, 3, 4, 5, 6}) {
		t.Errorf("pixel data at %q is %x", uri, a.body)
	}
}

func TestXMLForWhatWasStored(t *testing.T) {
	f := newFixture(t)
	good := still("1.1", "1.1.1", "1.1.1.1")
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := good.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	file := dicom.FileMeta{MediaStorageSOPClassUID: dict.UIDVLEndoscopicImageStorage,
		MediaStorageSOPInstanceUID: "1.1.1.1", TransferSyntaxUID: ts.UID}.AppendTo(nil)
	a := f.do("POST", "/studies", bytes.NewReader(bodyOf(append(file, data...))),
		"Content-Type", multipartDICOM, "Accept", "application/dicom+xml")
	var m nativeModel
	if err := xml.Unmarshal(a.body, &m); err != nil || a.status != 200 || a.header.Get("Content-Type") != "application/dicom+xml" ||
		m.value(dict.RetrieveURL) != f.base+"/studies/1.1" {
		t.Errorf("status %d: %s, %v", a.status, a.body, err)
	}
}
