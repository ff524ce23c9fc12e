// Package audit is the signed journal: an append-only log of who did what,
// which anyone with its public key can verify without seeing a patient.
//
// A [Log] keeps records in preallocated segments. [Log.Append] returns when its
// records are durable; all callers that wait at the same moment share one
// fdatasync. [Log.Post] does not wait, and precedes every later Append. The
// records are the leaves of a Merkle tree (RFC 6962, section 2.1). At least every
// second in which something was recorded, when a segment is full and at Close
// the root of the tree is signed: a checkpoint (C2SP tlog-checkpoint), a note
// with an Ed25519 signature.
//
// A leaf holds no patient data: time, code, outcome, keyed tokens of actor,
// patient and study, counts, and the SHA-256 of a sealed payload. The names and
// UIDs are in the payload ([Payload]), which only who has the journal keys opens.
//
// [Verify] recomputes everything from the files, also while the log is in use,
// and names what was altered, removed, inserted, reordered or cut. [Reader] reads
// a journal without a key: entries, inclusion proofs, tiles and entry bundles
// (C2SP tlog-tiles).
//
// # Limits
//
// Verification is as good as its key: a key that was read from the journal's
// own folder proves nothing against someone who could write there. What came
// after the last checkpoint that a verifier has seen elsewhere can be cut off
// together with the checkpoints over it; keep checkpoints elsewhere.
//
// # Memory
//
// A log holds the right edge of its tree (one hash a level), 64 bytes a segment,
// and the hashes of the leaves since they were last written out, at most every
// second: what 100 million records need is the same as what one thousand need.
//
// The package knows no DICOM types and no network. The bytes on disk are
// described in docs/formats/journal.md.
package audit
