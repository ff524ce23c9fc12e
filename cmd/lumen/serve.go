package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"lumen/config"
	"lumen/internal/node"
)

func serve(ctx context.Context, args []string) error {
	o := newOptions("serve")
	o.StringVar(&o.flags.DIMSE, "dimse", "", "`address` of the DIMSE listener (default 127.0.0.1:11112)")
	o.StringVar(&o.flags.HTTP, "http", "", "`address` of the HTTP listener (default 127.0.0.1:8104)")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	return node.Serve(ctx, cfg, logger(cfg, os.Stderr, slog.LevelDebug))
}

// logger writes what the configuration asks for to w, but nothing below floor.
func logger(cfg config.Config, w io.Writer, floor slog.Level) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		panic(err) // config has checked it
	}
	options := &slog.HandlerOptions{Level: max(level, floor)}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func version(context.Context, []string) error {
	v, revision := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	fmt.Println("lumen " + v + revision)
	return nil
}
