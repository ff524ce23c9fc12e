package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"lumen/internal/node"
)

func indexRebuild(ctx context.Context, args []string) error {
	cfg, err := newOptions("index rebuild").parse(args)
	if err != nil {
		return err
	}
	report, err := node.RebuildIndex(ctx, cfg, logger(cfg, os.Stderr, slog.LevelWarn))
	if errors.Is(err, node.ErrRunning) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d instances in the new index; %d in quarantine, %d duplicates, %d conflicts\n",
		report.Instances, report.Quarantined, report.Duplicates, report.Conflicts)
	if report.Unreadable > 0 {
		return fmt.Errorf("%d objects do not open: lumen check names them", report.Unreadable)
	}
	return nil
}
