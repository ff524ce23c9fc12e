// Package dicom reads and writes DICOM data sets (PS3.5), DICOM files (PS3.10)
// and the DICOM JSON model (PS3.18 annex F) as streams.
//
// A [Reader] pulls tokens out of any transfer syntax without allocating; a
// [Writer] takes them back. [DataSet] holds elements in memory for whoever
// needs random access to a header, a command or an identifier. [ScanDataSet]
// passes over a data set of any size in constant memory and says what an
// archive must know about it.
//
// Lengths and counts in a stream are claims: nothing is allocated because of
// one, and [Limits] bound what is kept. What real devices get wrong is
// tolerated where the meaning is clear, and counted in [Findings]; nothing is
// changed silently.
//
// Values are kept as raw bytes, little-endian and with their padding. Errors
// name tags and offsets, never values: they may be logged.
package dicom

//go:generate go run ./internal/conformance
