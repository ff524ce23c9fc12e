package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"lumen/dicom"
	"lumen/internal/scu"
)

// peerOptions are the flags of commands that call another node. The first
// argument is its address, with its AE title where it wants one: TITLE@HOST:PORT.
type peerOptions struct {
	*flag.FlagSet
	calling *string
}

func newPeerOptions(name string) peerOptions {
	o := peerOptions{FlagSet: flag.NewFlagSet("lumen "+name, flag.ContinueOnError)}
	o.calling = o.String("as", "LUMEN", "our AE `title`")
	return o
}

func (o peerOptions) parse(args []string) (scu.Peer, []string, error) {
	if err := o.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		return scu.Peer{}, nil, errUsage
	}
	if o.NArg() == 0 {
		fmt.Fprintf(os.Stderr, "%s: which peer? [TITLE@]HOST:PORT\n", o.Name())
		return scu.Peer{}, nil, errUsage
	}
	title, addr, found := strings.Cut(o.Arg(0), "@")
	if !found {
		title, addr = "ANY-SCP", o.Arg(0)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return scu.Peer{}, nil, fmt.Errorf("%q is not [TITLE@]HOST:PORT", o.Arg(0))
	}
	return scu.Peer{Address: addr, CalledAE: title, CallingAE: *o.calling}, o.Args()[1:], nil
}

func echo(ctx context.Context, args []string) error {
	p, rest, err := newPeerOptions("echo").parse(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("what is %q?", rest[0])
	}
	begin := time.Now()
	if err := scu.Echo(ctx, p); err != nil {
		return err
	}
	fmt.Printf("%s answers, %v\n", p.Address, time.Since(begin).Round(time.Millisecond))
	return nil
}

func send(ctx context.Context, args []string) error {
	o := newPeerOptions("send")
	p, paths, err := o.parse(args)
	if err != nil {
		return err
	}
	var sent, skipped, failed int
	var bytes int64
	begin := time.Now()
	err = scu.Send(ctx, p, paths, func(r scu.Result) {
		switch {
		case r.Err == nil:
			sent++
			bytes += r.Bytes
			return
		case errors.Is(r.Err, scu.ErrSkipped):
			skipped++
		default:
			failed++
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", r.File, r.Err)
	})
	seconds := time.Since(begin).Seconds()
	fmt.Printf("%d sent, %d not DICOM, %d refused; %.1f MB in %.1f s, %.1f MB/s\n",
		sent, skipped, failed, float64(bytes)/1e6, seconds, float64(bytes)/1e6/seconds)
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d files were refused", failed)
	}
	return err
}

func find(ctx context.Context, args []string) error {
	o := newPeerOptions("find")
	level := o.String("level", "STUDY", "query retrieve `level`: STUDY, SERIES or IMAGE")
	p, keys, err := o.parse(args)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	var line []byte
	err = scu.Find(ctx, p, *level, keys, func(d *dicom.DataSet) error {
		var err error
		if line, err = dicom.AppendJSON(line[:0], d, dicom.JSONOptions{}); err != nil {
			return err
		}
		_, err = out.Write(append(line, '\n'))
		return err
	})
	return errors.Join(err, out.Flush())
}
