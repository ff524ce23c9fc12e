// Package store is the archive: it takes instances in, finds them, and hands
// them out again.
//
// # Contract
//
// [Archive.Ingest] reads one data set in one pass and constant memory: hashed,
// scanned, sealed and written as it arrives. When it returns without error the
// study's wrapped key, the sealed blob and the journal record that names the
// blob are durable, in this order. The journal is the archive's write-ahead
// log: the index follows within moments and is only ever derived, by replay of
// the journal at [Open], or from the blobs alone by [Rebuild].
//
// [Archive.Search], [Archive.Open] and [Archive.Ingest] take an
// [access.Principal] and return nothing before the journal's record of who asks
// for what is durable. No protocol handler can forget it, and when the journal
// cannot append nothing is served.
//
// The bytes of a data set are kept exactly as received. A second arrival of the
// same SOP Instance UID with the same content is answered like the first and
// stored once; with other content it is quarantined: kept sealed, journaled as
// a security alert, counted, and invisible to queries.
//
// # What it is built of
//
// [Blobs] keeps immutable sealed objects (implemented in store/blob/...),
// [Index] finds rows (store/index), [Journal] is the audit journal in this
// package's words (adapted in internal/node to package audit). Sealing and keys
// are in store/seal.
//
// One Archive serves one tenant. Errors and log lines never hold patient data.
package store
