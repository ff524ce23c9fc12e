package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"lumen/internal/scu"
)

func moveTo(ctx context.Context, args []string) error {
	o := newPeerOptions("move")
	level := o.String("level", "STUDY", "query retrieve `level`: STUDY, SERIES or IMAGE")
	to := o.String("to", "", "AE `title` of the destination, which the node must know")
	p, keys, err := o.parse(args)
	if err != nil {
		return err
	}
	if *to == "" {
		return errors.New("where to? --to TITLE")
	}
	line := &progressLine{}
	n, err := scu.Move(ctx, p, *to, *level, keys, line.show)
	return line.end(n, err)
}

func getFiles(ctx context.Context, args []string) error {
	o := newPeerOptions("get")
	level := o.String("level", "STUDY", "query retrieve `level`: STUDY, SERIES or IMAGE")
	into := o.String("into", "", "`folder` to write to, made when it is not there")
	p, keys, err := o.parse(args)
	if err != nil {
		return err
	}
	if *into == "" {
		return errors.New("into which folder? --into DIR")
	}
	line := &progressLine{}
	n, err := scu.Get(ctx, p, *into, *level, keys, line.show)
	return line.end(n, err)
}

// progressLine says how far a retrieval is, a few times a second.
type progressLine struct{ last time.Time }

func (l *progressLine) show(n scu.Counts) {
	if time.Since(l.last) > 200*time.Millisecond {
		l.last = time.Now()
		fmt.Fprintf(os.Stderr, "%d done, %d failed, %d to come\n", n.Completed+n.Warning, n.Failed, n.Remaining)
	}
}

// end prints the outcome. What failed in part failed.
func (l *progressLine) end(n scu.Counts, err error) error {
	fmt.Printf("%d done, %d failed\n", n.Completed+n.Warning, n.Failed)
	if err == nil && n.Failed > 0 {
		err = fmt.Errorf("%d of %d were not sent", n.Failed, n.Failed+n.Completed+n.Warning)
	}
	return err
}
