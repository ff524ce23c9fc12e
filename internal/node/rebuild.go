package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"lumen/config"
	"lumen/internal/durable"
	"lumen/store"
)

// RebuildIndex makes the index anew from the sealed objects alone and puts it in
// the place of the old one. It needs the data folder for itself: while a node
// runs it returns [ErrRunning].
func RebuildIndex(ctx context.Context, cfg config.Config, log *slog.Logger) (report store.RebuildReport, err error) {
	if _, err := os.Stat(cfg.Data); err != nil {
		return report, fmt.Errorf("open the data folder: %w", err)
	}
	folder, err := OpenFolder(durable.OS(), cfg.Data, true) // what was copied may lack the format file
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	folder.existing = true
	n, err := openBase(ctx, cfg, folder, log)
	if err != nil {
		return report, err
	}
	// Closing comes before the new file takes its place: it must be complete.
	fresh := indexFile + durable.TempSuffix
	report, err = n.rebuildInto(ctx, fresh)
	if err = errors.Join(err, n.close(context.WithoutCancel(ctx))); err != nil {
		return report, err
	}
	if err := n.fs.Rename(folder.path("index", fresh), folder.path("index", indexFile)); err != nil {
		return report, err
	}
	if err := n.fs.SyncDir(folder.path("index")); err != nil {
		return report, err
	}
	return report, folder.forgetRestore(n.fs)
}

func (n *node) rebuildInto(ctx context.Context, file string) (store.RebuildReport, error) {
	if err := n.fs.Remove(n.folder.path("index", file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return store.RebuildReport{}, err // one that was interrupted
	}
	var err error
	if n.index, err = n.openIndex(ctx, file, nil); err != nil {
		return store.RebuildReport{}, err
	}
	return store.Rebuild(ctx, n.storeConfig(true))
}
