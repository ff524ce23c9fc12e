package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/sync/errgroup"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/node"
)

// Import says what to take in, and through what.
type Import struct {
	Node     *node.Admin
	Progress *Progress
	Workers  int // files at once; at least 1
}

// Report counts what became of the files of an import.
type Report struct {
	Stored      int
	Duplicate   int // the same content was in the archive already
	Quarantined int // the SOP Instance UID is known with other content; it is kept aside
	CutShort    int // taken in as they are, but their data set ends in the middle; counted above too
	NotDICOM    int // DICOMDIRs as well
	Refused     int // each was named, with the reason
	Bytes       int64
}

// Run takes in all files of folders, ZIP archives and single files. It says of
// each file that is refused why; the error is what ended it before the end.
func (i Import) Run(ctx context.Context, paths []string) (Report, error) {
	r := &importRun{Import: i}
	for _, path := range paths {
		s, err := openSource(path)
		if err != nil {
			return Report{}, err
		}
		defer s.close() // it was only read
		r.sources = append(r.sources, s)
	}
	shown, hide := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { i.Progress.run(shown) })
	background.Go(func() { r.sum(shown) })
	err := r.work(ctx)
	hide()
	background.Wait()
	return r.report, err
}

type importRun struct {
	Import
	sources []*source

	mu     sync.Mutex
	report Report
}

// sum adds up the sizes beside the work: the time left is known a little later.
func (r *importRun) sum(ctx context.Context) {
	var total int64
	for _, s := range r.sources {
		err := s.each(func(f file) error {
			total += f.size
			return ctx.Err()
		})
		if err != nil {
			return // whatever it is, the work finds it too
		}
	}
	r.Progress.setTotal(total)
}

// work hands the files to the workers until one meets what concerns them all.
func (r *importRun) work(ctx context.Context) error {
	files := make(chan file)
	g, ctx := errgroup.WithContext(ctx)
	for range max(r.Workers, 1) {
		g.Go(func() error {
			for f := range files {
				if err := r.take(ctx, f); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(files)
		for _, s := range r.sources {
			err := s.each(func(f file) error {
				select {
				case files <- f:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// What can become of a file besides a store.IngestOutcome.
const (
	notDICOM = "not DICOM"
	refused  = "refused"
)

// take takes one file in and counts it. The error ends the import.
func (r *importRun) take(ctx context.Context, f file) error {
	outcome, reason, n, err := r.try(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if reason != "" {
		r.Progress.Say(f.name + ": " + reason)
	}
	r.Progress.add(1, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Bytes += n
	switch outcome {
	case "stored":
		r.report.Stored++
	case "duplicate":
		r.report.Duplicate++
	case "quarantined":
		r.report.Quarantined++
	case notDICOM:
		r.report.NotDICOM++
	case refused:
		r.report.Refused++
	default:
		return fmt.Errorf("the node answers with the outcome %q", outcome)
	}
	if outcome != refused && reason != "" {
		r.report.CutShort++
	}
	return nil
}

// try returns the outcome of one file, what is to be said of it, and how many
// bytes were sent.
func (r *importRun) try(ctx context.Context, f file) (outcome, reason string, n int64, err error) {
	count := &counted{progress: r.Progress, left: f.size}
	defer func() { r.Progress.add(0, count.left) }()
	meta, data, outcome, err := f.read(count)
	if err != nil {
		return refused, plain(err).Error(), 0, nil
	}
	if outcome != "" {
		return outcome, "", 0, nil
	}
	defer data.Close()
	known, err := r.known(ctx, f, meta)
	if err != nil {
		return "", "", 0, err
	}
	if known {
		return "duplicate", "", 0, nil
	}
	body := &requestBody{r: data}
	answer, err := r.Node.Do(ctx, http.MethodPost, "/import?"+url.Values{"syntax": {meta.TransferSyntaxUID}}.Encode(), body)
	body.Close()
	var no *node.RefusedError
	switch {
	case count.failed != nil && ctx.Err() == nil:
		return refused, plain(count.failed).Error(), 0, nil
	case errors.As(err, &no) && no.Status == http.StatusUnprocessableEntity:
		return refused, no.Reason, 0, nil
	case err != nil:
		return "", "", 0, err
	}
	defer answer.Close()
	var receipt node.ImportReceipt
	if err := json.NewDecoder(answer).Decode(&receipt); err != nil {
		return "", "", 0, fmt.Errorf("read the node's answer: %w", err)
	}
	if receipt.CutShort {
		reason = "its data set ends in the middle; it is kept as it is"
	}
	return receipt.Outcome, reason, body.n, nil
}

// read opens a file and reads its File Meta Information. Outcome is set when
// there is nothing to take in. The caller closes data.
func (f file) read(count *counted) (meta dicom.FileMeta, data io.ReadCloser, outcome string, err error) {
	if f.err != nil {
		return meta, nil, "", f.err
	}
	opened, err := f.open()
	if err != nil {
		return meta, nil, "", err
	}
	count.Reader, count.failed = opened, nil
	buffered := bufio.NewReader(count)
	head, _ := buffered.Peek(132)                              // less of a small file
	marked := len(head) == 132 && string(head[128:]) == "DICM" // PS3.10 section 7.1
	meta, rest, err := dicom.ReadFileMeta(buffered)
	switch {
	case err == nil && meta.MediaStorageSOPClassUID != dict.UIDMediaStorageDirectoryStorage:
		return meta, readCloser{rest, opened}, "", nil
	case err == nil, count.failed == nil && !marked:
		// A DICOMDIR, or nothing says that it was meant to be a DICOM file.
		return meta, nil, notDICOM, opened.Close()
	}
	return meta, nil, "", errors.Join(err, opened.Close())
}

// known asks whether the archive has the same content, so that it need not be
// sent. The file is read, once more, only if the instance is there.
func (r *importRun) known(ctx context.Context, f file, meta dicom.FileMeta) (bool, error) {
	ask := node.ImportQuestion{Instance: meta.MediaStorageSOPInstanceUID}
	ts, ok := dicom.LookupTransferSyntax(meta.TransferSyntaxUID)
	if ask.Instance == "" || !ok {
		return false, nil
	}
	if there, err := r.ask(ctx, ask); err != nil || !there {
		return false, err
	}
	_, data, outcome, err := f.read(&counted{progress: r.Progress})
	if err != nil || outcome != "" {
		return false, nil // what is wrong with it shows when it is sent
	}
	defer data.Close()
	scan, err := dicom.ScanDataSet(data, ts, dicom.DefaultLimits())
	if err != nil {
		return false, nil
	}
	ask.Digest = hex.EncodeToString(scan.Digest[:])
	return r.ask(ctx, ask)
}

func (r *importRun) ask(ctx context.Context, question node.ImportQuestion) (known bool, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return false, err
	}
	answer, err := r.Node.Do(ctx, http.MethodPost, "/import/known", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	defer answer.Close()
	err = json.NewDecoder(answer).Decode(&known)
	return known, err
}

// readCloser reads what follows the File Meta Information of an open file.
type readCloser struct {
	io.Reader
	io.Closer
}

// requestBody is what is sent of a file. The transport may read on when the
// answer is there: after Close it reads nothing more.
type requestBody struct {
	mu     sync.Mutex
	r      io.Reader
	n      int64
	closed bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	return n, err
}

func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}
