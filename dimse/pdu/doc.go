// Package pdu turns the protocol data units of the DICOM upper layer into Go
// values and back (PS3.8 section 9.3 and annex D).
//
// The package is pure: it knows bytes, no connections and no states. A peer's
// lengths are checked against the bytes that are really there, and the number
// of presentation contexts and transfer syntaxes that are kept is bounded, so
// parsing costs memory in proportion to the input and no more.
//
// Every parser takes the body of a PDU, the bytes after its six-byte header
// ([ParseHeader]). Every Append method adds a whole PDU, header included.
// P-DATA-TF has no parser of its own: a message is streamed, so a reader takes
// one item header at a time with [ParsePDV].
//
// Tolerated on input, never written: AE titles padded with NUL, UIDs with
// trailing NUL or space, unknown items and sub-items (PS3.8 says to ignore
// them), items in any order.
package pdu
