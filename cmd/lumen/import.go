package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/node"
)

func importFiles(ctx context.Context, args []string) (err error) {
	o := newOptions("import")
	state := o.String("state", "", "`file` that notes what is in, so that an import which was interrupted can go on; it holds file names")
	cfg, paths, err := o.parseArgs(args)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return errors.New("import what? give DIR, ZIP or FILE")
	}
	sources, total, err := listSources(paths)
	if err != nil {
		return err
	}
	done, err := openState(*state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done.close()) }()
	a, err := node.Dial(ctx, cfg, logger(cfg, os.Stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()

	i := &importer{admin: a, done: done, progress: newProgress(total)}
	for _, s := range sources {
		if err := s.each(func(f sourceFile) error { return i.take(ctx, f) }); err != nil {
			i.progress.end()
			return err
		}
	}
	i.progress.end()
	fmt.Printf("%d stored, %d were there already, %d put in quarantine, %d refused, %d not DICOM, %d passed over as done before\n",
		i.counts["stored"], i.counts["duplicate"], i.counts["quarantined"], i.counts["refused"], i.counts["skipped"], i.counts["done"])
	if n := i.counts["refused"]; n > 0 {
		return fmt.Errorf("%d files were refused", n)
	}
	return nil
}

// importer puts files into an archive and counts what became of them.
type importer struct {
	admin    *node.Admin
	done     *importState
	progress *progress
	counts   map[string]int
}

// take imports one file. An error ends the import: a file that the archive
// refuses is reported and counted instead.
func (i *importer) take(ctx context.Context, f sourceFile) error {
	if i.counts == nil {
		i.counts = map[string]int{}
	}
	defer i.progress.add(f.size)
	if i.done.has(f) {
		i.counts["done"]++
		return nil
	}
	outcome, reason, err := i.send(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	i.counts[outcome]++
	switch outcome {
	case "refused", "skipped":
		i.progress.say(f.name + ": " + reason)
		return nil
	}
	return i.done.add(f)
}

// send returns the outcome of one file, and the reason when it was not taken.
func (i *importer) send(ctx context.Context, f sourceFile) (outcome, reason string, err error) {
	r, err := f.open()
	if err != nil {
		return "", "", err
	}
	defer r.Close()
	meta, data, err := dicom.ReadFileMeta(r)
	switch {
	case err != nil:
		return "skipped", "not DICOM", nil
	case meta.MediaStorageSOPClassUID == dict.UIDMediaStorageDirectoryStorage:
		return "skipped", "a DICOMDIR", nil
	}
	query := url.Values{"syntax": {meta.TransferSyntaxUID}}
	// NopCloser: the transport must not close the file under us.
	answer, err := i.admin.Do(ctx, http.MethodPost, "/import?"+query.Encode(), io.NopCloser(data))
	var refused *node.RefusedError
	if errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
		return "refused", refused.Reason, nil
	}
	if err != nil {
		return "", "", err
	}
	defer answer.Close()
	var receipt struct{ Outcome string }
	err = json.NewDecoder(answer).Decode(&receipt)
	return receipt.Outcome, "", err
}

// importState notes which files are in, one line each: size and name.
type importState struct {
	file *os.File
	seen map[string]bool
}

func openState(name string) (*importState, error) {
	s := &importState{seen: map[string]bool{}}
	if name == "" {
		return s, nil
	}
	var err error
	if s.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(s.file)
	for lines.Scan() {
		s.seen[lines.Text()] = true
	}
	return s, lines.Err()
}

func (s *importState) line(f sourceFile) string { return fmt.Sprintf("%d\t%q", f.size, f.name) }

func (s *importState) has(f sourceFile) bool { return s.seen[s.line(f)] }

func (s *importState) add(f sourceFile) error {
	if s.file == nil {
		return nil
	}
	_, err := s.file.WriteString(s.line(f) + "\n")
	return err
}

func (s *importState) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
