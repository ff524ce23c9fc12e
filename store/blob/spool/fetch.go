package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"lumen/store/blob"
)

// fetchedMark is a local object that is there once [Spool.Fetch] has been through.
const fetchedMark = "spool/fetched"

// maxFetched bounds what [Spool.Fetch] holds in memory.
const maxFetched = 1 << 20

var errFetched = errors.New("the remote returned other bytes than it has")

// Fetch copies objects that [Config.Keep] chooses and only the remote has: all of
// them must be below the prefixes, and none of more than 1 MiB. From then on,
// also after a restart, the local side is asked for them alone, so that they can
// be read, listed and found missing while the remote is away.
func (s *Spool) Fetch(ctx context.Context, prefixes ...string) error {
	for _, prefix := range prefixes {
		for info, err := range s.cfg.Remote.List(ctx, prefix) {
			if err == nil && s.cfg.Keep(info.Name) {
				err = s.fetch(ctx, info)
			}
			if err != nil {
				return fmt.Errorf("fetch what stays in the spool: %w", err)
			}
		}
	}
	if s.Fetched() {
		return nil
	}
	if err := s.cfg.Local.Put(ctx, fetchedMark, 0, func(io.Writer) error { return nil }); err != nil {
		return fmt.Errorf("fetch what stays in the spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched = true
	return nil
}

// Fetched reports whether [Spool.Fetch] has ever been through.
func (s *Spool) Fetched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// knowsAll reports whether an object of that name is local if it is anywhere.
func (s *Spool) knowsAll(name string) bool { return s.cfg.Keep(name) && s.Fetched() }

func (s *Spool) fetch(ctx context.Context, info blob.Info) error {
	if err := s.lock(ctx, info.Name); err != nil {
		return err
	}
	defer s.unlock(info.Name)
	s.mu.Lock()
	_, here := s.objects[info.Name]
	s.mu.Unlock()
	if here {
		return nil
	}
	data, err := s.readRemote(ctx, info.Name)
	if err != nil {
		return err
	}
	err = s.cfg.Local.Put(ctx, info.Name, int64(len(data)), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &object{info: info, state: uploaded, since: s.cfg.Clock.Now(), uploaded: make(chan struct{})}
	o.info.Size = int64(len(data))
	close(o.uploaded)
	s.objects[info.Name] = o
	o.place = s.done.PushBack(o)
	s.kept += o.info.Size
	return nil
}

// readRemote reads an object that is going to be believed for good: so it is
// compared with the remote's checksum, or read again where there is none.
func (s *Spool) readRemote(ctx context.Context, name string) ([]byte, error) {
	data, err := readAll(ctx, s.cfg.Remote, name)
	if err != nil {
		return nil, err
	}
	if remote, ok := s.cfg.Remote.(Summer); ok {
		_, sum, known, err := remote.Sum(ctx, name)
		if err != nil {
			return nil, err
		}
		if known {
			if crc32.Checksum(data, castagnoli) != sum {
				return nil, errFetched
			}
			return data, nil
		}
	}
	again, err := readAll(ctx, s.cfg.Remote, name)
	if err == nil && !bytes.Equal(again, data) {
		err = errFetched
	}
	return data, err
}

func readAll(ctx context.Context, from Blobs, name string) ([]byte, error) {
	rc, err := from.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(rc, maxFetched+1))
	if err = errors.Join(err, rc.Close()); err == nil && len(data) > maxFetched {
		err = blob.ErrSize
	}
	return data, err
}
