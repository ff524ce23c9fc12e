package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"lumen/dicom"
	"lumen/internal/scu"
)

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
	var bytes, moved int64
	m, begin := newMeter(), time.Now()
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
		m.end()
		fmt.Fprintf(os.Stderr, "%s: %v\n", r.File, r.Err)
	}, func(n int) {
		moved += int64(n)
		m.show("%d sent, %.1f MB, %.1f MB/s", sent, float64(moved)/1e6, float64(moved)/1e6/time.Since(begin).Seconds())
	})
	m.end()
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
	out, watched := bufio.NewWriter(os.Stdout), terminal(os.Stdout)
	m, n := newMeter(), 0
	var line []byte
	err = scu.Find(ctx, p, *level, keys, func(d *dicom.DataSet) error {
		var err error
		if line, err = dicom.AppendJSON(line[:0], d, dicom.JSONOptions{}); err != nil {
			return err
		}
		_, err = out.Write(append(line, '\n'))
		if n++; err == nil && watched {
			return out.Flush()
		}
		m.show("%d matches", n)
		return err
	})
	m.end()
	return errors.Join(err, out.Flush())
}
