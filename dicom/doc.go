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
//
// What is implemented of the standard:
//
//   - PS3.5: data set encoding in all transfer syntaxes of section 10, value
//     representations of section 6.2, character sets of section 6.1, private
//     elements, nesting of data sets (section 7.5), encapsulation (annex A.4);
//   - PS3.10 section 7.1: File Meta Information;
//   - PS3.3 sections C.7.6.3 and C.12.1.1.2: where frames lie, Specific
//     Character Set;
//   - PS3.4 section C.2.2.2: attribute matching ([Matcher]), without adjustment of
//     time zones: a DT with an offset is brought to UTC, others are compared as
//     they are ([ParseDT] takes a zone);
//   - PS3.18 annex F: the DICOM JSON model ([AppendJSON], [WriteJSON], [ParseJSON]);
//   - PS3.19 annex A.1: the Native DICOM Model ([AppendXML], [WriteXML]).
//
// Pixel data is not decoded, and [Transcode] goes as far as no codec is needed.
// There is no dictionary of private attributes.
package dicom

//go:generate go run ./internal/conformance
