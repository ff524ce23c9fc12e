package dicom

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"lumen/dicom/dict"
)

// ErrJSON is wrapped by errors about text that is no DICOM JSON.
var ErrJSON = errors.New("not the DICOM JSON model")

// ParseJSON reads one object of the DICOM JSON model (PS3.18 annex F). Its
// text is kept as UTF-8: where some is not ASCII, Specific Character Set
// becomes ISO_IR 192, and it is removed from items. A value that is given by
// BulkDataURI is omitted (see [Element.Omitted]), with a Length of -1; see
// [ParseJSONBulk].
func ParseJSON(b []byte) (*DataSet, error) {
	return ParseJSONBulk(b, nil)
}

// ParseJSONBulk is ParseJSON with a function that gets the value for each
// BulkDataURI; its error ends parsing. A nil value leaves it omitted.
func ParseJSONBulk(b []byte, bulk func(uri string) ([]byte, error)) (*DataSet, error) {
	p := jsonParser{bulk: bulk}
	d, err := p.dataSet(b, 0)
	if err != nil {
		return nil, fmt.Errorf("dicom: %w", err)
	}
	if !p.ascii {
		d.SetBytes(dict.SpecificCharacterSet, dict.CS, []byte("ISO_IR 192"))
	}
	return d, nil
}

type jsonParser struct {
	bulk     func(string) ([]byte, error)
	ascii    bool // no text needs more than ASCII
	elements int
}

type jsonElement struct {
	VR           string            `json:"vr"`
	Value        []json.RawMessage `json:"Value"`
	InlineBinary *string           `json:"InlineBinary"`
	BulkDataURI  *string           `json:"BulkDataURI"`
}

func (p *jsonParser) dataSet(b []byte, depth int) (*DataSet, error) {
	lim := DefaultLimits()
	if depth > lim.Depth {
		return nil, fmt.Errorf("sequences too deep: %w", ErrLimit)
	}
	if depth == 0 {
		p.ascii = isASCIIBytes(b) && !bytes.Contains(b, []byte(`\u`))
	}
	var object map[string]jsonElement
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, ErrJSON // the error of package json may quote a value
	}
	if p.elements += len(object); p.elements > lim.KeptElements {
		return nil, fmt.Errorf("elements: %w", ErrLimit)
	}
	d := &DataSet{elems: make([]elem, 0, len(object))}
	for key, v := range object {
		tag, err := strconv.ParseUint(key, 16, 32)
		if err != nil || len(key) != 8 {
			keyword, ok := dict.LookupKeyword(key)
			if !ok {
				return nil, fmt.Errorf("a key that is no tag: %w", ErrJSON)
			}
			tag = uint64(keyword)
		}
		e, err := p.element(Tag(tag), v, depth)
		if err != nil {
			return nil, fmt.Errorf("element %v: %w", Tag(tag), err)
		}
		if depth > 0 && e.Tag == dict.SpecificCharacterSet {
			continue
		}
		d.elems = append(d.elems, pack(d, e))
	}
	slices.SortFunc(d.elems, func(a, b elem) int { return cmp.Compare(a.tag, b.tag) })
	d.elems = slices.CompactFunc(d.elems, func(a, b elem) bool { return a.tag == b.tag }) // "0010001f" and "0010001F"
	return d, nil
}

func pack(d *DataSet, e Element) elem {
	packed := elem{value: e.Value, length: e.Length, tag: e.Tag, vr: e.VR}
	if e.VR == dict.SQ {
		for _, item := range e.Items {
			item.outer = d
		}
		packed.items = &e.Items
	}
	return packed
}

func (p *jsonParser) element(tag Tag, v jsonElement, depth int) (Element, error) {
	e := Element{Tag: tag}
	switch {
	case len(v.VR) == 2:
		e.VR = VR(v.VR[0])<<8 | VR(v.VR[1])
	case v.VR == "":
		if e.VR, _ = dict.VRs(tag); e.VR == 0 {
			e.VR = dict.UN
		}
	}
	if !e.VR.Known() {
		return e, fmt.Errorf("unknown VR: %w", ErrJSON)
	}
	var err error
	switch {
	case v.BulkDataURI != nil:
		e.Length = -1
		if p.bulk != nil {
			if e.Value, err = p.bulk(*v.BulkDataURI); err != nil {
				return e, err
			}
		}
	case v.InlineBinary != nil:
		e.Value, err = base64.StdEncoding.DecodeString(*v.InlineBinary)
		if err != nil {
			return e, ErrJSON
		}
	case e.VR == dict.SQ:
		return e, p.items(&e, v.Value, depth)
	default:
		e.Value, err = p.values(e.VR, v.Value)
	}
	if len(e.Value)&1 != 0 {
		e.Value = append(e.Value, e.VR.Pad())
	}
	if e.Value != nil {
		e.Length = int64(len(e.Value))
	}
	return e, err
}

func (p *jsonParser) items(e *Element, values []json.RawMessage, depth int) error {
	for _, raw := range values {
		item := new(DataSet)
		if string(raw) != "null" {
			var err error
			if item, err = p.dataSet(raw, depth+1); err != nil {
				return err
			}
		}
		e.Items = append(e.Items, item)
	}
	return nil
}

// values encodes the values of a text or number.
func (p *jsonParser) values(vr VR, values []json.RawMessage) ([]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	list := make([]string, len(values))
	for i, raw := range values {
		s, err := jsonValue(vr, raw)
		if err != nil {
			return nil, err
		}
		list[i] = s
	}
	switch {
	case vr.Number():
		for len(list) > 0 && list[len(list)-1] == "" { // null, which binary numbers do not have
			list = list[:len(list)-1]
		}
		if !validNumbers(vr, list) {
			return nil, fmt.Errorf("a value that is no number: %w", ErrJSON)
		}
		return parseNumbers(vr, list), nil
	case vr.Text():
		return []byte(strings.Join(list, `\`)), nil
	}
	return nil, fmt.Errorf("a Value of a binary VR: %w", ErrJSON)
}

// jsonValue turns one value into text.
func jsonValue(vr VR, raw json.RawMessage) (string, error) {
	switch {
	case string(raw) == "null" || len(raw) == 0:
		return "", nil
	case raw[0] == '{' && vr == dict.PN:
		var name struct{ Alphabetic, Ideographic, Phonetic string }
		if json.Unmarshal(raw, &name) != nil {
			return "", ErrJSON
		}
		return strings.TrimRight(name.Alphabetic+"="+name.Ideographic+"="+name.Phonetic, "="), nil
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return "", ErrJSON
		}
		return s, nil
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		switch s := string(raw); vr {
		case dict.IS:
			return wholeNumber(s), nil
		case dict.DS:
			return decimalString(s)
		default:
			return s, nil
		}
	}
	return "", ErrJSON
}

// wholeNumber brings a whole number that is written as 1.0 or 1e3 to digits.
func wholeNumber(s string) string {
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".eE") && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return s
}

// decimalString rounds a number to the 16 characters that DS has (PS3.5 table
// 6.2-1).
func decimalString(s string) (string, error) {
	if len(s) <= 16 {
		return s, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", ErrJSON
	}
	for digits := 16; len(s) > 16; digits-- {
		s = strconv.FormatFloat(f, 'g', digits, 64)
	}
	return s, nil
}

// validNumbers reports whether each string is a number that vr can hold; whole
// numbers that were written as 1.0 or 1e3 are brought to digits.
func validNumbers(vr VR, list []string) bool {
	for i, s := range list {
		if vr != dict.FL && vr != dict.FD {
			s = wholeNumber(s)
			list[i] = s
		}
		var err error
		switch bits := 8 * vr.Unit(); vr {
		case dict.FL, dict.FD:
			_, err = strconv.ParseFloat(s, bits)
		case dict.AT:
			_, err = strconv.ParseUint(s, 16, 32)
		case dict.US, dict.UL, dict.UV:
			_, err = strconv.ParseUint(s, 10, bits)
		default:
			_, err = strconv.ParseInt(s, 10, bits)
		}
		if err != nil {
			return false
		}
	}
	return true
}
