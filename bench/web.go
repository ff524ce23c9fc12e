package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// request is one GET of a peer.
type request struct{ url, accept string }

// get reads the whole answer and returns its size.
func get(ctx context.Context, c *http.Client, r request) (int64, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return 0, err
	}
	if r.accept != "" {
		rq.Header.Set("Accept", r.accept)
	}
	answer, err := c.Do(rq)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET answered %s", answer.Status)
	}
	return n, err
}

// load is what a round of requests over some connections measured.
type load struct {
	p50     float64 // seconds
	perSec  float64 // requests
	mbPerS  float64
	answers int
}

// fetch runs the requests n times in all, shared by the connections.
func fetch(ctx context.Context, connections, n int, requests []request) (load, error) {
	client := webClient(connections)
	defer client.CloseIdleConnections()
	if _, err := get(ctx, client, requests[0]); err != nil { // connections and caches warm
		return load{}, err
	}
	times := make([][]float64, connections)
	sizes := make([]int64, connections)
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for c := range connections {
		group.Go(func() error {
			for i := c; i < n; i += connections {
				t := time.Now()
				size, err := get(ctx, client, requests[i%len(requests)])
				if err != nil {
					return err
				}
				times[c] = append(times[c], time.Since(t).Seconds())
				sizes[c] += size
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return load{}, err
	}
	took := time.Since(begin).Seconds()
	all := slices.Concat(times...)
	var bytes int64
	for _, s := range sizes {
		bytes += s
	}
	return load{p50: median(all), perSec: float64(len(all)) / took, mbPerS: float64(bytes) / 1e6 / took, answers: len(all)}, nil
}

const (
	acceptJSON  = "application/dicom+json"
	acceptDICOM = `multipart/related; type="application/dicom"; transfer-syntax=*`
	acceptFrame = `multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50`
)

// retrieveWork reads a series of stills back: frames, metadata, the series whole.
func retrieveWork(ctx context.Context, b *bench) error {
	all, dir, err := b.startPeers("retrieve", "orthanc")
	if err != nil {
		return err
	}
	defer all.stop()
	lumen, orthanc := all["lumen"], all["orthanc"]
	root := filepath.Join(dir, "www")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	study := b.study()
	objects := make([]*object, b.stills)
	whole, err := os.Create(filepath.Join(root, "series"))
	if err != nil {
		return err
	}
	for i := range objects {
		if objects[i], err = still(study, i+1, b.picture); err != nil {
			return err
		}
		if _, err := io.Copy(whole, objects[i].part10()); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), b.picture, 0o644); err != nil {
			return err
		}
	}
	if err := whole.Close(); err != nil {
		return err
	}
	nginx, err := startNginx(dir, root)
	if err != nil {
		return err
	}
	defer nginx.stop()
	for _, p := range []*peer{lumen, orthanc} {
		if err := send(ctx, p, objects); err != nil {
			return err
		}
	}
	series := func(p *peer) string {
		return p.web + "/studies/" + objects[0].study + "/series/" + objects[0].series
	}
	frames := func(p *peer) (out []request) {
		for i, o := range objects {
			if p == nginx {
				out = append(out, request{url: fmt.Sprintf("%s/%d", p.web, i)})
			} else {
				out = append(out, request{series(p) + "/instances/" + o.instance + "/frames/1", acceptFrame})
			}
		}
		return out
	}
	for range b.rounds {
		for _, connections := range []int{1, 16} {
			got := map[string]load{}
			for _, p := range []*peer{lumen, orthanc, nginx} {
				n := 4 * b.stills
				if p == orthanc {
					n = b.stills / 5
				}
				if got[p.name], err = fetch(ctx, connections, n, frames(p)); err != nil {
					return fmt.Errorf("frames of %s: %w", p.name, err)
				}
			}
			work := fmt.Sprintf("WADO-RS frame of 220 KB, %d connections", connections)
			b.sample(row{work: work + ", p50", peer: "orthanc", unit: "ms", lowerBetter: true, reach: 20}, got["lumen"].p50*1e3, got["orthanc"].p50*1e3)
			reach := 0.0
			if connections == 16 {
				reach = 0.3
			}
			b.sample(row{work: work + ", throughput", peer: "nginx in clear", unit: "frames/s", reach: reach}, got["lumen"].perSec, got["nginx"].perSec)
		}
		for _, w := range []struct {
			name, path, accept string
			n                  int
			reach              float64
		}{
			{"WADO-RS metadata of a 1 000-instance series", "/metadata", acceptJSON, 5, 5},
			{"QIDO of a series' 1 000 instances", "/instances?limit=1000", acceptJSON, 5, 50},
		} {
			got := map[string]load{}
			for _, p := range []*peer{lumen, orthanc} {
				if got[p.name], err = fetch(ctx, 1, w.n, []request{{series(p) + w.path, w.accept}}); err != nil {
					return fmt.Errorf("%s of %s: %w", w.name, p.name, err)
				}
			}
			b.sample(row{work: w.name, peer: "orthanc", unit: "ms", lowerBetter: true, reach: w.reach}, got["lumen"].p50*1e3, got["orthanc"].p50*1e3)
		}
		got := map[string]load{}
		for _, p := range []*peer{lumen, orthanc, nginx} {
			r := request{series(p), acceptDICOM}
			if p == nginx {
				r = request{url: p.web + "/series"}
			}
			if got[p.name], err = fetch(ctx, 1, 3, []request{r}); err != nil {
				return fmt.Errorf("series of %s: %w", p.name, err)
			}
		}
		b.sample(row{work: "WADO-RS series of 220 MB", peer: "orthanc", unit: "MB/s", reach: 1.5}, got["lumen"].mbPerS, got["orthanc"].mbPerS)
		b.sample(row{work: "WADO-RS series of 220 MB", peer: "nginx in clear", unit: "MB/s", reach: 0.3}, got["lumen"].mbPerS, got["nginx"].mbPerS)
	}
	return nil
}

// qidoWork searches many studies by each kind of key.
func qidoWork(ctx context.Context, b *bench) error {
	all, _, err := b.startPeers("qido", "orthanc")
	if err != nil {
		return err
	}
	defer all.stop()
	lumen, orthanc := all["lumen"], all["orthanc"]
	first := b.next + 1
	for _, p := range []*peer{lumen, orthanc} {
		b.next = first - 1
		begin := time.Now()
		if err := b.loadStudies(ctx, p); err != nil {
			return fmt.Errorf("load %s: %w", p.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s took %d studies in %.0f s\n", p.name, b.studies, time.Since(begin).Seconds())
	}
	middle := first + b.studies/2
	o, err := note(middle)
	if err != nil {
		return err
	}
	// a wildcard, a range or nothing is answered with 100 studies at most, by both
	queries := []struct{ name, query string }{
		{"none", "limit=100"},
		{"date range", "StudyDate=20150101-20150107&limit=100"},
		{"name prefix", "PatientName=" + surname(middle) + "*&limit=100"},
		{"name infix", "PatientName=*" + surname(middle)[3:] + "*&limit=100"},
		{"patient id", fmt.Sprintf("PatientID=P%08d", middle/3)},
		{"accession", fmt.Sprintf("AccessionNumber=A%09d", middle)},
		{"study UID", "StudyInstanceUID=" + o.study},
		{"modality", "ModalitiesInStudy=US&limit=100"},
	}
	for range b.rounds {
		for _, q := range queries {
			p50 := map[string]float64{}
			for _, p := range []*peer{lumen, orthanc} {
				n := 200
				if p == orthanc {
					n = 3
				}
				got, err := fetch(ctx, 1, n, []request{{p.web + "/studies?" + q.query, acceptJSON}})
				if err != nil {
					return fmt.Errorf("%s of %s: %w", q.name, p.name, err)
				}
				p50[p.name] = got.p50
			}
			b.sample(row{work: fmt.Sprintf("QIDO at %d studies by %s", b.studies, q.name), peer: "orthanc", unit: "ms",
				lowerBetter: true, reach: 100}, p50["lumen"]*1e3, p50["orthanc"]*1e3)
		}
	}
	return b.sameAnswers(ctx, lumen, orthanc, "/studies?"+queries[4].query)
}

// sameAnswers fails when the peers do not find the same number of studies: a
// fast answer that is wrong is no figure.
func (b *bench) sameAnswers(ctx context.Context, lumen, orthanc *peer, path string) error {
	counts := map[string]int{}
	for _, p := range []*peer{lumen, orthanc} {
		rq, err := http.NewRequestWithContext(ctx, http.MethodGet, p.web+path, nil)
		if err != nil {
			return err
		}
		rq.Header.Set("Accept", acceptJSON)
		answer, err := http.DefaultClient.Do(rq)
		if err != nil {
			return err
		}
		var studies []json.RawMessage
		err = json.NewDecoder(answer.Body).Decode(&studies)
		answer.Body.Close()
		if err != nil {
			return err
		}
		counts[p.name] = len(studies)
	}
	if counts["lumen"] != counts["orthanc"] || counts["lumen"] == 0 {
		return fmt.Errorf("lumen finds %d studies, orthanc %d", counts["lumen"], counts["orthanc"])
	}
	return nil
}

// loadStudies sends b.studies studies of one small instance over 8 associations.
func (b *bench) loadStudies(ctx context.Context, p *peer) error {
	const associations, batch = 8, 500
	numbers := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(numbers)
		for i := 0; i < b.studies; i += batch {
			select {
			case numbers <- b.next + 1:
				b.next += min(batch, b.studies-i)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	last := b.next + b.studies
	for range associations {
		group.Go(func() error {
			for from := range numbers {
				var objects []*object
				for s := from; s < from+batch && s <= last; s++ {
					o, err := note(s)
					if err != nil {
						return err
					}
					objects = append(objects, o)
				}
				if err := send(ctx, p, objects); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
