package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lumen/dicom"
)

// CheckOptions say how far a check goes.
type CheckOptions struct {
	// Quick opens every blob and reads its trailer, but not all of its bytes.
	Quick bool
	// Progress, when not nil, is called after every object.
	Progress func(CheckReport)
}

// CheckReport is what a check found. The archive is sound when it has no
// problems.
type CheckReport struct {
	Instances   int       // rows
	Bytes       int64     // of data sets that were hashed
	Quarantined int       // blobs kept aside
	Unadopted   int       // complete blobs that no row has yet: the next sweep decides
	Others      int       // keys, and what other parts of Lumen keep
	Problems    []Problem // the first of them, see [MaxProblems]
	Count       int       // of all problems
}

// MaxProblems is how many problems a report names; the others are counted.
const MaxProblems = 1000

// Problem is one thing that is not as it should be.
type Problem struct {
	Object string // random name, safe in clear
	What   string // without patient data
}

// Check holds the archive against itself: every row has its blob, which opens
// and has the hash that was taken when it came in, and every blob is explained
// by a row, by a fact, or by a crash. It changes nothing, and is safe while
// instances come in. The error says that it could not go on.
func (a *Archive) Check(ctx context.Context, opt CheckOptions) (CheckReport, error) {
	if err := a.enter(); err != nil {
		return CheckReport{}, err
	}
	defer a.running.Done()
	c := &checker{archive: a, opt: opt}
	if err := c.rows(ctx); err != nil {
		return c.report, err
	}
	return c.report, c.objects(ctx)
}

type checker struct {
	archive *Archive
	opt     CheckOptions
	report  CheckReport
}

func (c *checker) problem(object string, err error) {
	c.report.Count++
	if len(c.report.Problems) < MaxProblems {
		c.report.Problems = append(c.report.Problems, Problem{Object: object, What: err.Error()})
	}
}

func (c *checker) progress() {
	if c.opt.Progress != nil {
		c.opt.Progress(c.report)
	}
}

// rows checks the blob of every row.
func (c *checker) rows(ctx context.Context) error {
	for row, err := range c.archive.index.Instances(ctx, Selection{}) {
		if err != nil {
			return fmt.Errorf("list the rows: %w", err)
		}
		c.report.Instances++
		if err := c.row(ctx, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.problem(c.archive.name(row.Blob), err)
		}
		c.progress()
	}
	return nil
}

var errRow = errors.New("the row and the blob's trailer disagree")

func (c *checker) row(ctx context.Context, row Row) error {
	info, err := c.archive.blobs.Stat(ctx, c.archive.name(row.Blob))
	if err != nil {
		return fmt.Errorf("find the blob: %w", err)
	}
	record, err := c.blob(ctx, row.Blob, info.Size)
	if err != nil {
		return err
	}
	if record.SOPInstanceUID != row.SOPInstanceUID || record.SeriesInstanceUID != row.SeriesInstanceUID ||
		record.StudyInstanceUID != row.StudyInstanceUID || record.Digest != row.Digest ||
		record.plainSize() != row.plainSize() {
		return errRow
	}
	return nil
}

// blob opens a blob, to its end unless the check is quick, and holds its bytes
// against its trailer.
func (c *checker) blob(ctx context.Context, ref BlobRef, size int64) (Record, error) {
	record, err := c.archive.readRecord(ctx, ref, size)
	if err != nil || c.opt.Quick {
		return record, err
	}
	blob, err := c.archive.openBlob(ctx, ref, size)
	if err != nil {
		return record, err
	}
	r, err := blob.OpenRange(ctx, record.MetaLength, record.Size)
	if err != nil {
		return record, damaged(err)
	}
	ts, ok := dicom.LookupTransferSyntax(record.TransferSyntaxUID)
	if !ok {
		return record, errors.Join(fmt.Errorf("%w: unknown transfer syntax", ErrCorrupt), r.Close())
	}
	scan, err := dicom.ScanDataSet(r, ts, c.archive.limits.DICOM)
	if err := errors.Join(err, r.Close()); err != nil {
		return record, damaged(err)
	}
	c.report.Bytes += scan.Size
	if scan.Size != record.Size || scan.Digest != record.Digest {
		return record, fmt.Errorf("%w: the data set's content digest is not the one taken when it came in", ErrCorrupt)
	}
	return record, nil
}

// objects explains every object of the tenant.
func (c *checker) objects(ctx context.Context) error {
	a := c.archive
	known, _, err := a.knownBlobs(ctx)
	if err != nil {
		return err
	}
	for info, err := range a.blobs.List(ctx, a.prefix()) {
		if err != nil {
			return fmt.Errorf("list the blobs: %w", err)
		}
		ref, kind := a.parseName(info.Name)
		switch kind {
		case objectInstance:
			if !known.has(ref) {
				err = c.stray(ctx, ref, info)
			}
		case objectQuarantine:
			err = c.fact(ctx, ref)
		default:
			c.report.Others++
			err = c.other(ctx, info)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.problem(info.Name, err)
		}
		c.progress()
	}
	return nil
}

// fact opens the fact that a blob is kept aside, and looks for the blob.
func (c *checker) fact(ctx context.Context, ref BlobRef) error {
	if _, err := c.archive.readQuarantined(ctx, ref); err != nil {
		return err
	}
	if _, err := c.archive.blobs.Stat(ctx, c.archive.name(ref)); err != nil {
		return fmt.Errorf("find the blob that is kept aside: %w", err)
	}
	return nil
}

// stray explains a blob without a row.
func (c *checker) stray(ctx context.Context, ref BlobRef, info BlobInfo) error {
	aside, err := c.archive.isQuarantined(ctx, ref)
	if err != nil {
		return err
	}
	_, err = c.blob(ctx, ref, info.Size)
	switch {
	case errors.Is(err, ErrNotFound) && !aside:
		if _, gone := c.archive.blobs.Stat(ctx, info.Name); errors.Is(gone, ErrNotFound) {
			return nil // a duplicate that came in meanwhile
		}
		return fmt.Errorf("blob without a row and without a key: %w", err)
	case err != nil:
		return fmt.Errorf("blob without a row: %w", err)
	case aside:
		c.report.Quarantined++
	default:
		c.report.Unadopted++
	}
	return nil
}

// other opens the key that an object is.
func (c *checker) other(ctx context.Context, info BlobInfo) error {
	keys := c.archive.keys
	err := error(nil)
	if study, key, _ := c.archive.studyOf(info.Name); key {
		_, err = keys.StudyUID(ctx, study) // reads the object, not the cache
	} else if purpose, ok := strings.CutPrefix(info.Name, c.archive.prefix()+"key/"); ok {
		if version, ok := strings.CutPrefix(purpose, "record-"); ok {
			n, parseErr := strconv.ParseUint(version, 10, 32)
			if err = parseErr; err == nil {
				_, err = keys.RecordKey(ctx, uint32(n), false)
			}
		} else if month, ok := strings.CutPrefix(purpose, "journal-"); ok && month != "token" {
			_, err = keys.JournalKey(ctx, month, false)
		} // the others were opened with the keyring
	}
	if err != nil {
		return fmt.Errorf("key: %w", damaged(err))
	}
	return nil
}
