package store

import (
	"context"
	"iter"
)

// Index finds rows. It is derived: what it holds can be made again from the
// journal and the blobs. Implementations are safe for concurrent use and return
// errors without patient data.
type Index interface {
	// Put adds rows, each durable in the journal already, and notes that every
	// row of the journal below covered has been put. It queues: it may wait for
	// room in the queue, and returns before the rows are durable, which they are
	// within 50 ms, together with covered. Locate and StudyHandle see them when
	// Put returns, searches wait for them. Rows may be nil to move covered alone;
	// a covered below one that was put before is ignored. A row whose SOP
	// Instance UID is there already replaces it. The rows' Attributes are kept
	// and must not be changed afterwards.
	Put(ctx context.Context, rows []Row, covered Position) error

	// Locate finds the row of an instance, pending ones included.
	Locate(ctx context.Context, sopInstanceUID string) (Row, bool, error)

	// StudyHandle finds the handle of the key that seals a study, pending ones
	// included.
	StudyHandle(ctx context.Context, studyInstanceUID string) (handle [16]byte, ok bool, err error)

	// Search yields what matches. It waits for pending rows first, streams, and
	// holds no lock and no transaction across a yield. An error ends it.
	Search(ctx context.Context, q *Query) iter.Seq2[Match, error]

	// Instances yields the selected rows, by series number, then instance
	// number; an empty selection yields every row, in any order. It waits for
	// pending rows first and holds no lock and no transaction across a yield.
	// An error ends it.
	Instances(ctx context.Context, sel Selection) iter.Seq2[Row, error]

	// Remove takes rows out, by SOP Instance UID, queued like Put.
	Remove(ctx context.Context, rows []Row, covered Position) error

	// Covered is the journal position below which every row is durable here:
	// start replays the journal from it.
	Covered() Position

	// Sync returns when everything that was put before it is durable.
	Sync(ctx context.Context) error

	// Close makes everything durable and releases what the index holds.
	Close() error
}
