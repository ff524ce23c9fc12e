package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"lumen/config"
	"lumen/internal/node"
	"lumen/internal/transfer"
)

// withNode runs what talks to the node of cfg's data folder.
func withNode(ctx context.Context, cfg config.Config, do func(*node.Admin) error) (err error) {
	a, err := node.Dial(ctx, cfg, logger(cfg, os.Stderr, slog.LevelWarn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return do(a)
}

func importFiles(ctx context.Context, args []string) error {
	o := newOptions("import")
	workers := o.Int("workers", 4, "how many files are taken in at the same `time`")
	cfg, paths, err := o.parseArgs(args)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return errors.New("what is to be imported? lumen import DIR|ZIP|FILE")
	}
	return withNode(ctx, cfg, func(a *node.Admin) error {
		begin := time.Now()
		r, err := transfer.Import{Node: a, Progress: transfer.NewProgress(os.Stderr), Workers: *workers}.Run(ctx, paths)
		seconds := time.Since(begin).Seconds()
		fmt.Printf("%d stored, %d were there already, %d put in quarantine, %d refused, %d not DICOM; %.1f MB in %.1f s, %.1f MB/s\n",
			r.Stored, r.Duplicate, r.Quarantined, r.Refused, r.NotDICOM, float64(r.Bytes)/1e6, seconds, float64(r.Bytes)/1e6/seconds)
		if r.CutShort > 0 {
			fmt.Printf("%d of them end in the middle and are kept as they are\n", r.CutShort)
		}
		if err != nil {
			return fmt.Errorf("the import ended early, the same command goes on with it: %w", err)
		}
		if r.Refused > 0 {
			return fmt.Errorf("%d files were refused", r.Refused)
		}
		return nil
	})
}

func exportFiles(ctx context.Context, args []string) error {
	o := newOptions("export")
	var e transfer.Export
	o.StringVar(&e.Study, "study", "", "Study Instance `UID`")
	o.StringVar(&e.Patient, "patient", "", "Patient `ID`: all studies of the patient")
	o.StringVar(&e.Issuer, "patient-issuer", "", "`issuer` of the Patient ID")
	to := o.String("to", "", "`DIR|ZIP` to write: a new or empty folder, or a new file whose name ends in .zip")
	cfg, rest, err := o.parseArgs(args)
	if err != nil {
		return err
	}
	if *to == "" && len(rest) == 1 {
		*to, rest = rest[0], nil
	}
	if (e.Study == "") == (e.Patient == "") || *to == "" || len(rest) > 0 {
		return errors.New("what is to be exported, and where to? lumen export --study UID|--patient ID --to DIR|ZIP")
	}
	return withNode(ctx, cfg, func(a *node.Admin) error {
		e.Node, e.Progress = a, transfer.NewProgress(os.Stderr)
		files, bytes, err := e.Run(ctx, *to)
		if err != nil {
			return err
		}
		fmt.Printf("%d files, %.1f MB: they hold patient data in clear\n", files, float64(bytes)/1e6)
		return nil
	})
}
