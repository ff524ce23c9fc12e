package main

import (
	"context"
	"errors"
	"fmt"

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
	m := newMeter()
	n, err := scu.Move(ctx, p, *to, *level, keys, counts(m))
	return retrieved(m, n, err)
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
	m := newMeter()
	n, err := scu.Get(ctx, p, *into, *level, keys, counts(m))
	return retrieved(m, n, err)
}

// counts shows how far a retrieval is.
func counts(m *meter) func(scu.Counts) {
	return func(n scu.Counts) {
		m.show("%d done, %d failed, %d to come", n.Completed+n.Warning, n.Failed, n.Remaining)
	}
}

// retrieved prints the outcome. What failed in part failed.
func retrieved(m *meter, n scu.Counts, err error) error {
	m.end()
	fmt.Printf("%d done, %d failed\n", n.Completed+n.Warning, n.Failed)
	if err == nil && n.Failed > 0 {
		err = fmt.Errorf("%d of %d were not sent", n.Failed, n.Failed+n.Completed+n.Warning)
		if n.Comment != "" {
			err = fmt.Errorf("%w: the peer says %q", err, n.Comment)
		}
	}
	return err
}
