// Package index finds instances, series and studies: it is the [store.Index]
// that the archive uses.
//
// # Contract
//
// One bbolt file per tenant holds a row per instance and a record per series
// and study. Keys are tokens (HMAC-SHA-256 of an identifier, cut to 16 bytes),
// values are sealed with AES-256-GCM: a stolen file shows counts, sizes, and
// which things belong together, but no identifier, name or date. The layout is
// in docs/formats/index.md.
//
// All of it is derived. Rows are queued and written by one goroutine, one
// transaction after the other, together with the journal position up to which
// every row is in: so a crash loses nothing that the journal does not bring
// back. Rows gather for some 30 ms, or until somebody waits for them: Put does
// not, and the disk is left to ingest. [DB.Locate] and [DB.StudyHandle] see what is
// queued; searches wait for it.
//
// Of the attributes of a patient, study and series, those received first are
// kept; instances that contradict them are counted.
//
// # Searching
//
// Studies are searched in memory, in the study table: columns of folded names,
// identifiers, dates and sets of modalities, newest study first, in blocks that
// never change once they are published. A search takes the table of the moment
// and needs no lock. What passes there is opened from the file and matched by
// [store.Query], which alone decides. Series and instances are read from the
// file, study by study. No transaction is open while a match is yielded.
//
// # Limits
//
// A search for series or instances that names no UID ends with
// [store.ErrBudget] after 200 000 opened records. The queue holds 8192 rows,
// then Put waits.
package index
