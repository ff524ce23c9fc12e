package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// send stores the objects over one association.
func send(ctx context.Context, p *peer, objects []*object) (err error) {
	type context struct{ class, syntax string }
	var contexts []dimse.PresentationContext
	seen := map[context]bool{}
	for _, o := range objects {
		c := context{o.sopClass, o.syntax}
		if !seen[c] {
			seen[c] = true
			contexts = append(contexts, dimse.PresentationContext{SOPClass: c.class, TransferSyntaxes: []string{c.syntax}})
		}
	}
	dialer := dimse.Dialer{CallingAE: "BENCH"}
	client, err := dialer.Dial(ctx, p.dimse, p.aeTitle, contexts)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			client.Abort()
		} else {
			err = client.Release(ctx)
		}
	}()
	for i, o := range objects {
		ts, _ := dicom.LookupTransferSyntax(o.syntax)
		status, err := client.Store(ctx, dimse.StoreRequest{SOPClassUID: o.sopClass, SOPInstanceUID: o.instance, TransferSyntax: ts}, o.reader())
		if err != nil {
			return fmt.Errorf("C-STORE %d: %w", i+1, err)
		}
		if status != 0 {
			return fmt.Errorf("C-STORE %d answered %v", i+1, status)
		}
	}
	return nil
}

// sink is where C-MOVE delivers: it reads, counts and answers success.
type sink struct {
	destination
	received atomic.Int64
	server   *dimse.Server
	done     chan error
}

func startSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{destination: destination{"BENCHSINK", l.Addr().(*net.TCPAddr).Port}, done: make(chan error, 1)}
	s.server = &dimse.Server{
		Associate: func(context.Context, *dimse.AssociateRequest) (any, error) { return nil, nil },
		Services: []dimse.Service{{
			SOPClasses: dict.StorageSOPClasses(),
			Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
				_, err := io.Copy(io.Discard, data)
				s.received.Add(1)
				return err
			},
		}},
	}
	go func() { s.done <- s.server.Serve(context.Background(), l) }()
	return s, nil
}

func (s *sink) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.server.Shutdown(ctx)
	<-s.done
}

// moveWork has each peer send a study of stills to the bench's receiver; DCMTK's
// storescu sending the same files to storescp is the third.
func moveWork(ctx context.Context, b *bench) error {
	all, dir, err := b.startPeers("move", "orthanc", "storescp")
	if err != nil {
		return err
	}
	defer all.stop()
	lumen, orthanc, storescp := all["lumen"], all["orthanc"], all["storescp"]
	study := b.study()
	objects := make([]*object, b.stills)
	files := filepath.Join(dir, "files")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return err
	}
	for i := range objects {
		if objects[i], err = still(study, i+1, b.picture); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(files, fmt.Sprintf("%05d.dcm", i)), objects[i].part10()); err != nil {
			return err
		}
	}
	for _, p := range []*peer{lumen, orthanc} {
		if err := send(ctx, p, objects); err != nil {
			return err
		}
	}
	for range b.rounds {
		rate := map[string]float64{}
		for _, p := range []*peer{lumen, orthanc} {
			before := b.sink.received.Load()
			begin := time.Now()
			if err := b.move(ctx, p, objects[0].study); err != nil {
				return fmt.Errorf("C-MOVE from %s: %w", p.name, err)
			}
			rate[p.name] = float64(b.stills) / time.Since(begin).Seconds()
			if got := b.sink.received.Load() - before; got != int64(b.stills) {
				return fmt.Errorf("C-MOVE from %s delivered %d of %d", p.name, got, b.stills)
			}
		}
		begin := time.Now()
		if err := storescu(ctx, storescp, files); err != nil {
			return err
		}
		direct := float64(b.stills) / time.Since(begin).Seconds()
		b.sample(row{work: "C-MOVE of 1 000 stills", peer: "orthanc", unit: "instances/s", reach: 1.2}, rate["lumen"], rate["orthanc"])
		b.sample(row{work: "C-MOVE of 1 000 stills", peer: "storescu to storescp", unit: "instances/s", reach: 0.9}, rate["lumen"], direct)
	}
	return nil
}

func (b *bench) move(ctx context.Context, p *peer, study string) (err error) {
	const model = dict.UIDStudyRootQueryRetrieveInformationModelMove
	dialer := dimse.Dialer{CallingAE: b.sink.aeTitle}
	client, err := dialer.Dial(ctx, p.dimse, p.aeTitle, []dimse.PresentationContext{
		{SOPClass: model, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}}})
	if err != nil {
		return err
	}
	identifier := new(dicom.DataSet)
	identifier.SetString(dict.QueryRetrieveLevel, "STUDY")
	identifier.SetString(dict.StudyInstanceUID, study)
	result, err := client.Move(ctx, model, b.sink.aeTitle, identifier, nil)
	if err != nil {
		return errors.Join(err, client.Release(ctx))
	}
	if result.Failed > 0 {
		return fmt.Errorf("%d sub-operations failed", result.Failed)
	}
	return client.Release(ctx)
}

func writeFile(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
