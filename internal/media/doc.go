// Package media lays DICOM files out as they lie on exchange media: under File
// IDs that every medium takes, with a DICOMDIR that lists them (PS3.10 clause 8,
// PS3.3 annex F).
//
// A [FileSet] hands out File IDs and collects directory records for patients,
// studies, series and instances in the order in which files come; its memory is
// some hundred bytes for each. Attributes are copied as they are, in the character
// set of the file that they come from. Where a file lacks one that a record must
// have (type 1) the record gets a neutral value, the file stays as it is.
package media
