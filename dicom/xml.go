package dicom

import (
	"encoding/base64"
	"encoding/xml"
	"strconv"
	"strings"

	"lumen/dicom/dict"
)

// AppendXML appends d as a document of the Native DICOM Model (PS3.19 annex
// A.1), in UTF-8. Private elements whose block is reserved have the tag gggg00ee
// (table A.1.5-2). The options mean what they do in [AppendJSON]. Characters that
// XML 1.0 does not have become U+FFFD.
func AppendXML(dst []byte, d *DataSet, opt JSONOptions) ([]byte, error) {
	w := xmlWriter{model{b: dst, opt: opt}}
	w.put(xmlStart)
	w.dataSet(d)
	w.put(xmlEnd)
	return w.b, nil
}

const (
	xmlStart = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">`
	xmlEnd = "</NativeDicomModel>\n"
)

type xmlWriter struct{ model }

func (w *xmlWriter) written() *model { return &w.model }

func (w *xmlWriter) text(s string) { xml.EscapeText(&w.b, []byte(s)) } // an appender has no errors

func (w *xmlWriter) dataSet(d *DataSet) {
	for e := range d.All() {
		if e.Tag.GroupLength() {
			continue
		}
		if e.Tag == dict.SpecificCharacterSet { // is written as it is here, whatever it was
			e.VR, e.Items = dict.CS, nil
		}
		mark := len(w.b)
		w.attribute(d, e.Tag, e.VR, false)
		if !w.value(d, e) {
			w.b = w.b[:mark]
			continue
		}
		w.endAttribute()
	}
}

func (w *xmlWriter) attribute(d *DataSet, t Tag, vr VR, _ bool) {
	tag, creator := t, d.PrivateCreator(t)
	if creator != "" { // which stands for the block
		tag &^= 0xFF00
	}
	w.put(`<DicomAttribute tag="` + hexTag(tag) + `" vr="` + vr.String() + `"`)
	if keyword := dict.Keyword(t); keyword != "" {
		w.put(` keyword="` + keyword + `"`)
	}
	if creator != "" {
		w.put(` privateCreator="`)
		w.text(creator)
		w.put(`"`)
	}
	w.put(">")
}

func (w *xmlWriter) endAttribute() { w.put("</DicomAttribute>") }

func (w *xmlWriter) item(n int) { w.put(`<Item number="` + strconv.Itoa(n+1) + `">`) }

func (w *xmlWriter) endItem() { w.put("</Item>") }

func (w *xmlWriter) endItems(int) {}

// PrivateCreator returns who reserved the block of the private element t
// (PS3.5 section 7.8.1), or "".
func (d *DataSet) PrivateCreator(t Tag) string {
	if !t.Private() || t.PrivateCreator() {
		return ""
	}
	return d.String(dict.NewTag(t.Group(), t.Element()>>8))
}

// value writes what is inside of an attribute; false leaves it out.
func (w *xmlWriter) value(d *DataSet, e Element) bool {
	switch {
	case e.Tag == dict.SpecificCharacterSet:
		w.put(`<Value number="1">ISO_IR 192</Value>`)
	case e.VR == dict.SQ:
		for i, item := range e.Items {
			w.item(i)
			w.path = append(w.path, PathStep{e.Tag, i})
			w.dataSet(item)
			w.path = w.path[:len(w.path)-1]
			w.endItem()
		}
	case e.Omitted():
		return w.bulk(e)
	case len(e.Value) == 0:
	case e.VR.Text() || e.VR.Number():
		for i, v := range d.Strings(e.Tag) {
			w.one(e.VR, i+1, v)
		}
	default:
		if w.opt.MaxInline > 0 && len(e.Value) > w.opt.MaxInline {
			return w.bulk(e)
		}
		w.put("<InlineBinary>")
		w.b = base64.StdEncoding.AppendEncode(w.b, e.Value)
		w.put("</InlineBinary>")
	}
	return true
}

func (w *xmlWriter) bulk(e Element) bool {
	uri := w.uri(e)
	if uri == "" {
		return false
	}
	w.put(`<BulkData uri="`)
	w.text(uri)
	w.put(`"/>`)
	return true
}

// one writes a value; empty ones are left out, and their numbers with them.
func (w *xmlWriter) one(vr VR, number int, v string) {
	if vr == dict.PN {
		v = trimName(v)
	}
	if v == "" {
		return
	}
	element := "Value"
	if vr == dict.PN {
		element = "PersonName"
	}
	w.put("<" + element + ` number="` + strconv.Itoa(number) + `">`)
	if vr == dict.PN {
		w.name(v)
	} else {
		w.text(v)
	}
	w.put("</" + element + ">")
}

var (
	xmlGroups     = [...]string{"Alphabetic", "Ideographic", "Phonetic"}
	xmlComponents = [...]string{"FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"}
)

func (w *xmlWriter) name(v string) {
	for i, group := range strings.SplitN(v, "=", len(xmlGroups)) {
		if group == "" {
			continue
		}
		w.put("<" + xmlGroups[i] + ">")
		for j, component := range strings.SplitN(group, "^", len(xmlComponents)) {
			if component == "" {
				continue
			}
			w.put("<" + xmlComponents[j] + ">")
			w.text(component)
			w.put("</" + xmlComponents[j] + ">")
		}
		w.put("</" + xmlGroups[i] + ">")
	}
}
