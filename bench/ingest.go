package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// ingestWork sends stills with Lumen's own client over 1, 4 and 16 associations.
func ingestWork(ctx context.Context, b *bench) error {
	all, _, err := b.startPeers("ingest", "orthanc", "storescp")
	if err != nil {
		return err
	}
	defer all.stop()
	reach := map[int]map[string]float64{1: {"orthanc": 3}, 4: {"orthanc": 3, "storescp": 0.6}, 16: {"orthanc": 3}}
	for range b.rounds {
		for _, associations := range []int{1, 4, 16} {
			work := fmt.Sprintf("ingest 220 KB stills, %d associations", associations)
			if err := b.ingestRound(ctx, all, work, associations, b.stills, reach[associations]); err != nil {
				return err
			}
		}
	}
	return nil
}

// migrationWork is a long run of stills, as from another archive: some times what
// Lumen's write log holds.
func migrationWork(ctx context.Context, b *bench) error {
	all, _, err := b.startPeers("migration", "orthanc", "storescp")
	if err != nil {
		return err
	}
	defer all.stop()
	const times, associations = 6, 4
	work := fmt.Sprintf("ingest %d times as many stills, %d associations", times, associations)
	for range b.rounds {
		if err := b.ingestRound(ctx, all, work, associations, times*b.stills, nil); err != nil {
			return err
		}
	}
	return nil
}

// ingestRound sends so many stills to each of Lumen, Orthanc and storescp, one
// after the other, and samples the rows.
func (b *bench) ingestRound(ctx context.Context, all peers, work string, associations, stills int, reach map[string]float64) error {
	rate := map[string]float64{}
	for _, name := range []string{"lumen", "orthanc", "storescp"} {
		if err := all.settle(ctx); err != nil {
			return err
		}
		r, err := b.ingest(ctx, all[name], associations, stills)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rate[name] = r
	}
	for _, other := range []string{"orthanc", "storescp"} {
		b.sample(row{work: work, peer: other, unit: "instances/s", reach: reach[other]}, rate["lumen"], rate[other])
	}
	return nil
}

// ingest sends so many stills and returns instances a second.
func (b *bench) ingest(ctx context.Context, p *peer, associations, stills int) (float64, error) {
	each := stills / associations
	work := make([][]*object, associations)
	for i := range work {
		study := b.study()
		for n := range each {
			o, err := still(study, n+1, b.picture)
			if err != nil {
				return 0, err
			}
			work[i] = append(work[i], o)
		}
	}
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, objects := range work {
		group.Go(func() error { return send(ctx, p, objects) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(each*associations) / time.Since(begin).Seconds(), nil
}

// shippedWork is a tower as it comes: storescu at its defaults (Nagle on) against
// Orthanc as shipped.
func shippedWork(ctx context.Context, b *bench) error {
	all, dir, err := b.startPeers("shipped", "orthanc-shipped")
	if err != nil {
		return err
	}
	defer all.stop()
	lumen, orthanc := all["lumen"], all["orthanc-shipped"]
	const stills = 100 // Orthanc as shipped takes about 20 a second
	for range b.rounds {
		rate := map[string]float64{}
		for _, p := range []*peer{lumen, orthanc} {
			files := filepath.Join(dir, "files-"+p.name)
			if err := b.writeStills(files, stills); err != nil {
				return err
			}
			if err := all.settle(ctx); err != nil {
				return err
			}
			begin := time.Now()
			if err := storescu(ctx, p, files); err != nil {
				return err
			}
			rate[p.name] = stills / time.Since(begin).Seconds()
			os.RemoveAll(files)
		}
		b.sample(row{work: "ingest 220 KB stills, default client, 1 association", peer: "orthanc as shipped",
			unit: "instances/s", reach: 30}, rate["lumen"], rate["orthanc-shipped"])
	}
	return nil
}

func (b *bench) writeStills(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	study := b.study()
	for i := range n {
		o, err := still(study, i+1, b.picture)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, fmt.Sprintf("%05d.dcm", i)), o.part10()); err != nil {
			return err
		}
	}
	return nil
}

func storescu(ctx context.Context, p *peer, dir string) error {
	host, port, _ := strings.Cut(p.dimse, ":")
	out, err := exec.CommandContext(ctx, "storescu", "-xy", "-aec", p.aeTitle, "+sd", host, port, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("storescu to %s: %w: %s", p.name, err, out)
	}
	return nil
}

// videoWork sends one object of 1 GiB and watches the receivers' memory.
func videoWork(ctx context.Context, b *bench) error {
	all, _, err := b.startPeers("video", "orthanc", "storescp")
	if err != nil {
		return err
	}
	defer all.stop()
	lumen, orthanc, storescp := all["lumen"], all["orthanc"], all["storescp"]
	for range b.rounds {
		seconds, growth := map[string]float64{}, map[string]float64{}
		for _, p := range []*peer{lumen, storescp, orthanc} {
			if err := all.settle(ctx); err != nil {
				return err
			}
			o, err := video(b.study())
			if err != nil {
				return err
			}
			before := p.anonymousMemory()
			watched, done := context.WithCancel(ctx)
			peak := watchMemory(watched, p)
			begin := time.Now()
			err = send(ctx, p, []*object{o})
			seconds[p.name] = time.Since(begin).Seconds()
			done()
			growth[p.name] = float64(<-peak-before) / (1 << 20)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		b.sample(row{work: "1 GiB video C-STORE", peer: "orthanc", unit: "s", lowerBetter: true, reach: 6}, seconds["lumen"], seconds["orthanc"])
		b.sample(row{work: "1 GiB video C-STORE", peer: "storescp", unit: "s", lowerBetter: true, reach: 0.65}, seconds["lumen"], seconds["storescp"])
		b.sample(row{work: "1 GiB video C-STORE, memory growth", peer: "32 MiB allowed", unit: "MiB", lowerBetter: true, reach: 1}, max(growth["lumen"], 0.1), 32)
		b.sample(row{work: "1 GiB video C-STORE, memory growth", peer: "orthanc", unit: "MiB", lowerBetter: true}, max(growth["lumen"], 0.1), growth["orthanc"])
	}
	return nil
}
