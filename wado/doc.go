// Package wado answers DICOMweb (PS3.18) over the archive: QIDO-RS searches,
// WADO-RS retrieves, STOW-RS stores.
//
// # Contract
//
// [New] gives an http.Handler for everything under /dicom-web/. Each request is
// answered for the principal that [Config].Principal makes of it; the archive
// decides what that principal may do, and records it before a byte leaves.
//
// Memory per request is constant: data sets, frames and bulk data are copied
// through one buffer, metadata is written instance by instance. Every retrieval
// is closed with its outcome, also when the client leaves or a handler panics.
// An error after the first byte cuts the connection, so that no client takes
// half an answer for a whole one.
//
// Answers carry Cache-Control: private, no-store. Errors are JSON objects with
// a short reason; what the client sent is never quoted, and log lines and
// metrics hold path templates instead of paths.
//
// # What is served
//
// Searches (PS3.18 10.6) take attributes by keyword or tag, includefield,
// limit, offset and fuzzymatching, and answer application/dicom+json, or a part
// of application/dicom+xml for each match. Other parameters are ignored, with a
// Warning.
//
// Retrieval (PS3.18 10.4) gives studies, series and instances as
// application/dicom, their metadata as application/dicom+json or parts of
// application/dicom+xml, frames and bulk data. In a media type's transfer-syntax parameter, * asks for the data set
// exactly as it was received, whatever its syntax; a UID for that syntax or
// 406; without the parameter, uncompressed instances come in Explicit VR Little
// Endian and compressed ones as stored. Where only some instances of a series
// or study can be had in an acceptable syntax, those are sent with 206 and a
// Warning (PS3.18 table 10.4.3-1).
//
// Single-part answers take a Range (RFC 9110 14) and carry a strong ETag made
// from the stored SHA-256.
//
// Storing (PS3.18 10.5) takes multipart/related with parts of
// application/dicom, each streamed into the archive as it arrives.
package wado
