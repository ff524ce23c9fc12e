package wado

import (
	"io"

	"lumen/dicom"
)

// Media types of DICOMweb.
const (
	mediaDICOM       = "application/dicom"
	mediaJSON        = "application/dicom+json"
	mediaPlainJSON   = "application/json"
	mediaXML         = "application/dicom+xml"
	mediaOctetStream = "application/octet-stream"
	mediaMP4         = "video/mp4"
	mediaH265        = "video/h265" // PS3.18 table 8.7.3-5 has it as video/H265
)

// modelOffers are the forms of metadata and search results: an array of JSON
// objects, or a part with a document for each (PS3.18 8.7.3.2).
var modelOffers = []offer{{media: mediaJSON}, {media: mediaPlainJSON}, {multipart: true, media: mediaXML}}

// reportOffers are the forms of the answer to a store request, which is one
// data set.
var reportOffers = []offer{{media: mediaJSON}, {media: mediaPlainJSON}, {media: mediaXML}}

// appendModel appends a data set in the form's model: JSON (PS3.18 annex F) or
// native XML (PS3.19 annex A.1).
func (o offer) appendModel(b []byte, d *dicom.DataSet, opt dicom.JSONOptions) ([]byte, error) {
	if o.media == mediaXML {
		return dicom.AppendXML(b, d, opt)
	}
	return dicom.AppendJSON(b, d, opt)
}

// writeModel writes the data set that r is at the start of, in constant memory.
func (o offer) writeModel(w io.Writer, r *dicom.Reader, opt dicom.JSONOptions, maxValue int) error {
	if o.media == mediaXML {
		return dicom.WriteXML(w, r, opt, maxValue)
	}
	return dicom.WriteJSON(w, r, opt, maxValue)
}

// frameMedia are the media types of compressed frames (PS3.18 table 8.7.3-5).
// Frames of the encapsulated syntaxes that it lacks are application/octet-stream.
var frameMedia = map[string]string{
	dicom.JPEGBaseline8Bit:   "image/jpeg",
	dicom.JPEGExtended12Bit:  "image/jpeg",
	dicom.JPEGLossless:       "image/jpeg",
	dicom.JPEGLosslessSV1:    "image/jpeg",
	dicom.RLELossless:        "image/dicom-rle",
	dicom.JPEGLSLossless:     "image/jls",
	dicom.JPEGLSNearLossless: "image/jls",
	dicom.JPEG2000Lossless:   "image/jp2",
	dicom.JPEG2000:           "image/jp2",
	dicom.JPEG2000MCLossless: "image/jpx",
	dicom.JPEG2000MC:         "image/jpx",
	dicom.HTJ2KLossless:      "image/jphc",
	dicom.HTJ2KLosslessRPCL:  "image/jphc",
	dicom.HTJ2K:              "image/jphc",

	dicom.JPEGXLLossless:          "image/jxl",
	dicom.JPEGXLJPEGRecompression: "image/jxl",
	dicom.JPEGXL:                  "image/jxl",

	dicom.MPEG2MPML:        "video/mpeg",
	dicom.MPEG2MPMLF:       "video/mpeg",
	dicom.MPEG2MPHL:        "video/mpeg",
	dicom.MPEG2MPHLF:       "video/mpeg",
	dicom.MPEG4HP41:        mediaMP4,
	dicom.MPEG4HP41F:       mediaMP4,
	dicom.MPEG4HP41BD:      mediaMP4,
	dicom.MPEG4HP41BDF:     mediaMP4,
	dicom.MPEG4HP422D:      mediaMP4,
	dicom.MPEG4HP422DF:     mediaMP4,
	dicom.MPEG4HP423D:      mediaMP4,
	dicom.MPEG4HP423DF:     mediaMP4,
	dicom.MPEG4HP42STEREO:  mediaMP4,
	dicom.MPEG4HP42STEREOF: mediaMP4,
	dicom.HEVCMP51:         mediaH265,
	dicom.HEVCM10P51:       mediaH265,
}

// instanceOffers are the forms of an instance that is stored in ts, each as
// multipart first, as the standard has it (PS3.18 8.7.3.1). What is not
// compressed is Explicit VR Little Endian unless asked for as it is stored.
func instanceOffers(ts dicom.TransferSyntax) []offer {
	forms := []offer{{syntax: ts.UID, stored: true, standard: ts.Encapsulated || ts.UID == dicom.ExplicitVRLittleEndian}}
	for _, uid := range []string{dicom.ExplicitVRLittleEndian, dicom.DeflatedExplicitVRLittleEndian} {
		to, _ := dicom.LookupTransferSyntax(uid)
		if uid != ts.UID && dicom.CanTranscode(ts, to) {
			forms = append(forms, offer{syntax: uid, standard: uid == dicom.ExplicitVRLittleEndian})
		}
	}
	offers := make([]offer, 0, 2*len(forms))
	for _, wrapped := range []bool{true, false} {
		for _, o := range forms {
			o.media, o.multipart = mediaDICOM, wrapped
			offers = append(offers, o)
		}
	}
	return offers
}

// frameOffers are the forms of the frames of an instance stored in ts.
func frameOffers(ts dicom.TransferSyntax) []offer {
	if !ts.Encapsulated {
		// The same bytes in every uncompressed syntax but the big endian one, which
		// is not used on the web (PS3.18 8.7.3): it is swapped, for those who take
		// any syntax too.
		o := offer{media: mediaOctetStream, syntax: dicom.ExplicitVRLittleEndian, stored: true, standard: true}
		wrapped := o
		wrapped.multipart = true
		return []offer{wrapped, o}
	}
	media := frameMedia[ts.UID]
	var offers []offer
	native := ts.UID == dicom.EncapsulatedUncompressedExplicitVRLittleEndian
	if native { // a fragment is a native frame (PS3.5 annex A.4.11)
		o := offer{media: mediaOctetStream, syntax: dicom.ExplicitVRLittleEndian, standard: true}
		wrapped := o
		wrapped.multipart = true
		offers = append(offers, wrapped, o)
	}
	add := func(media string) {
		offers = append(offers,
			offer{multipart: true, media: media, syntax: ts.UID, stored: true, standard: true},
			offer{media: media, syntax: ts.UID, stored: true, standard: true})
	}
	if media != "" {
		add(media)
	}
	if media == mediaH265 { // what players ask for
		add(mediaMP4)
	}
	// Compressed bytes under application/octet-stream are for those who name the
	// syntax or take any: cornerstone asks so for everything.
	standard := media == "" && !native
	return append(offers,
		offer{multipart: true, media: mediaOctetStream, syntax: ts.UID, stored: true, standard: standard},
		offer{media: mediaOctetStream, syntax: ts.UID, stored: true, standard: standard})
}

// contentType is the Content-Type of one part.
func (o offer) contentType() string {
	if o.syntax == "" {
		return o.media
	}
	return o.media + "; transfer-syntax=" + o.syntax
}
