// Package dict is the DICOM data dictionary: attributes (PS3.6 sections 6 to 9,
// PS3.7 annex E) and UIDs (PS3.6 annex A) as constants and lookups.
//
// The tables are generated from DCMTK's dictionary and UID header, which
// Debian ships as libdcmtk17 and libdcmtk-dev, plus two small tables of our own
// in internal/gen: the transfer syntaxes, and UIDs that are newer than DCMTK's.
// `make generate` (or `go generate` here) writes them again; the result is
// checked in, so that a build needs neither.
//
// Neither source has the attributes' names in prose: [Attribute].Name and
// [UIDEntry].Name are made from the keyword.
//
// The package is a leaf: it imports nothing of Lumen.
package dict

//go:generate go run ./internal/gen
