// Package media writes DICOM files as they lie on exchange media: under File
// IDs, with a DICOMDIR that lists them (PS3.3 annex F, PS3.10 clause 8).
//
// A [FileSet] gives each file its File ID and collects directory records for
// patients, studies, series and instances in the order in which files come; its
// memory is a few hundred bytes for each. Attributes are copied as they are,
// in the character set of the file that they come from.
package media
