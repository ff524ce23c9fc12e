package wado

import (
	"strconv"

	"lumen/dicom"
	"lumen/store"
)

// metadata answers with the data sets of instances as DICOM JSON, without
// their long values (PS3.18 10.4.1.1.2): those are BulkDataURIs. The array is
// written instance by instance.
func (s *server) metadata(x *exchange) error {
	t, accept, err := x.retrieveParameters()
	if err != nil {
		return err
	}
	form, ok := accept.choose(jsonOffers)
	if !ok {
		return notAcceptable("metadata is given as application/dicom+json")
	}
	base := s.base(x.r)
	return s.withRetrieval(x, t, func(instances []*store.Instance) error {
		out := newJSONArray(x, form.media, false)
		for _, instance := range instances {
			err := out.add(func(b []byte) ([]byte, error) {
				return s.appendMetadata(b, x, instance, base)
			})
			if err != nil {
				return err
			}
		}
		return out.close("")
	})
}

// maxInMemory bounds what is read of one value when metadata is made: values
// that may not be a BulkDataURI, as names and UIDs, are far shorter.
const maxInMemory = 64 << 10

// appendMetadata appends the JSON object of one instance.
func (s *server) appendMetadata(b []byte, x *exchange, instance *store.Instance, base string) ([]byte, error) {
	header, err := readHeader(x.r.Context(), instance, maxInMemory)
	if err != nil {
		return b, err
	}
	prefix := target{instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID}.url(base) + "/bulkdata"
	return dicom.AppendJSON(b, header, dicom.JSONOptions{
		MaxInline: s.limits.Inline,
		BulkDataURI: func(path []dicom.PathStep, e dicom.Element) string {
			return bulkDataURI(prefix, path, e.Tag)
		},
	})
}

// bulkDataURI is the URL at which bulkdata serves a value.
func bulkDataURI(prefix string, path []dicom.PathStep, tag dicom.Tag) string {
	b := []byte(prefix)
	for _, step := range path {
		b = appendTag(append(b, '/'), step.Tag)
		b = strconv.AppendInt(append(b, '/'), int64(step.Item+1), 10)
	}
	return string(appendTag(append(b, '/'), tag))
}

func appendTag(b []byte, t dicom.Tag) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[t>>shift&15])
	}
	return b
}
