package wado

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// storeReport collects the answer of a store request (PS3.18 10.5.3, PS3.18
// annex I.2).
type storeReport struct {
	base  string
	study string // the one study of all that was stored; "" when nothing was
	mixed bool   // several studies were stored

	referenced []*dicom.DataSet
	failures   []*dicom.DataSet // of instances that are known by their UIDs
	others     []*dicom.DataSet // of parts that hold no instance to name
	resources  bool             // some failed for want of space
	lasting    bool             // some failed for another reason
	foreign    int              // parts of another media type, among the others
}

func newStoreReport(base string) *storeReport { return &storeReport{base: base} }

func (r *storeReport) stored(receipt store.Receipt) {
	t := target{receipt.StudyInstanceUID, receipt.SeriesInstanceUID, receipt.SOPInstanceUID}
	if r.study == "" {
		r.study = t.study
	}
	r.mixed = r.mixed || r.study != t.study
	item := new(dicom.DataSet)
	item.SetString(dict.ReferencedSOPClassUID, receipt.SOPClassUID)
	item.SetString(dict.ReferencedSOPInstanceUID, t.instance)
	item.SetString(dict.RetrieveURL, t.url(r.base))
	r.referenced = append(r.referenced, item)
}

// notDICOM notes a part of another media type.
func (r *storeReport) notDICOM() {
	r.foreign++
	r.failed(dicom.FileMeta{}, errPartType)
}

func (r *storeReport) failed(meta dicom.FileMeta, err error) {
	if errors.Is(err, store.ErrNoSpace) {
		r.resources = true
	} else {
		r.lasting = true
	}
	item := new(dicom.DataSet)
	item.SetInt(dict.FailureReason, failureReason(err))
	if !dicom.ValidUID(meta.MediaStorageSOPClassUID) || !dicom.ValidUID(meta.MediaStorageSOPInstanceUID) {
		r.others = append(r.others, item)
		return
	}
	item.SetString(dict.ReferencedSOPClassUID, meta.MediaStorageSOPClassUID)
	item.SetString(dict.ReferencedSOPInstanceUID, meta.MediaStorageSOPInstanceUID)
	r.failures = append(r.failures, item)
}

func (r *storeReport) count() int { return len(r.referenced) + len(r.failures) + len(r.others) }

func (r *storeReport) status() int {
	switch failed := len(r.failures)+len(r.others) > 0; {
	case !failed:
		return http.StatusOK
	case len(r.referenced) > 0:
		return http.StatusAccepted
	case r.resources && !r.lasting:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}

func (r *storeReport) dataSet() *dicom.DataSet {
	d := new(dicom.DataSet)
	d.SetString(dict.RetrieveURL) // must be there, if without a value (PS3.18 table I.1-1)
	if r.study != "" && !r.mixed {
		d.SetString(dict.RetrieveURL, target{study: r.study}.url(r.base))
	}
	for _, s := range []struct {
		tag   dicom.Tag
		items []*dicom.DataSet
	}{
		{dict.ReferencedSOPSequence, r.referenced},
		{dict.FailedSOPSequence, r.failures},
		{dict.OtherFailuresSequence, r.others},
	} {
		if len(s.items) > 0 {
			d.SetItems(s.tag, s.items...)
		}
	}
	return d
}

// maxBeforeStudyUID bounds what is kept while the Study Instance UID is looked for.
const maxBeforeStudyUID = 1 << 20

// withinStudy reads ahead to the Study Instance UID, checks it, and gives the
// data set from its beginning.
func withinStudy(data io.Reader, syntax, study string) (io.Reader, error) {
	ts, ok := dicom.LookupTransferSyntax(syntax)
	if !ok {
		return nil, errSyntaxUnknown
	}
	var seen bytes.Buffer
	ahead := io.TeeReader(io.LimitReader(data, maxBeforeStudyUID), &seen)
	r := dicom.NewReader(ahead, ts, dicom.Limits{})
	for {
		t, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, store.ErrUnreadable
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrUnreadable, err)
		}
		switch {
		case t.Depth > 0 || t.Tag < dict.StudyInstanceUID:
		case t.Tag > dict.StudyInstanceUID || t.Kind != dicom.ElementToken:
			return nil, store.ErrUnreadable
		default:
			value, err := r.Value(64)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", store.ErrUnreadable, err)
			}
			if string(bytes.TrimRight(value, "\x00 ")) != study {
				return nil, errOtherStudy
			}
			return io.MultiReader(&seen, data), nil
		}
	}
}
