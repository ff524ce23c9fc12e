package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"lumen/internal/loopback"
)

// bench is one run: where it works and what it was told.
type bench struct {
	dir     string // scratch, removed at the end
	lumen   string // the binary
	rounds  int
	stills  int // instances of an ingest round, of the series and of C-MOVE
	studies int // of the QIDO rows
	picture []byte
	sink    *sink
	rows    []row

	markdown bool // print the table for a page
	next     int  // the next unused study number
}

// works are the rows' groups in the order they run.
var works = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"ingest", ingestWork},
	{"shipped", shippedWork},
	{"migration", migrationWork},
	{"video", videoWork},
	{"retrieve", retrieveWork},
	{"move", moveWork},
	{"qido", qidoWork},
}

func main() {
	os.Exit(loopback.Run(benchmark))
}

// benchmark is main, where nobody from outside reaches the peers: they listen on
// all interfaces.
func benchmark() int {
	log.SetFlags(log.Ltime)
	b := &bench{}
	flag.StringVar(&b.lumen, "lumen", "bin/lumen", "the lumen binary")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each work")
	flag.IntVar(&b.stills, "stills", 1000, "stills of a round, a series and a C-MOVE")
	flag.IntVar(&b.studies, "studies", 100_000, "studies that the QIDO rows search")
	flag.BoolVar(&b.markdown, "markdown", false, "print the table for a page")
	only := flag.String("only", "", "run the works whose name matches")
	keep := flag.Bool("keep", false, "leave the scratch folder with the peers' logs")
	dir := flag.String("dir", "", "make the scratch folder here: the disk that is measured; it takes 10 GB a round (default: below the working folder's bin)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, *dir, *only, *keep); err != nil {
		log.Print(err)
		return 1
	}
	return 0
}

func (b *bench) run(ctx context.Context, dir, only string, keep bool) (err error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if dir == "" {
		if err := os.MkdirAll("bin", 0o755); err != nil {
			return err
		}
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		dir = wd + "/bin"
	}
	// go list ./... walks past names that begin with _.
	if b.dir, err = os.MkdirTemp(dir, "_bench-"); err != nil {
		return err
	}
	if keep {
		log.Print("scratch folder ", b.dir)
	} else {
		defer os.RemoveAll(b.dir)
	}
	if b.picture, err = picture(); err != nil {
		return err
	}
	if b.sink, err = startSink(); err != nil {
		return err
	}
	defer b.sink.stop()
	for _, w := range works {
		if !match.MatchString(w.name) {
			continue
		}
		log.Print(w.name)
		if err := w.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if b.markdown {
		markdown(os.Stdout, b.rows)
	} else {
		print(os.Stdout, b.rows)
	}
	return nil
}

// study takes an unused study number.
func (b *bench) study() int { b.next++; return b.next }

// sample records one round of a row, and makes the row at its first.
func (b *bench) sample(r row, lumen, other float64) {
	for i := range b.rows {
		if b.rows[i].work == r.work && b.rows[i].peer == r.peer {
			b.rows[i].lumen = append(b.rows[i].lumen, lumen)
			b.rows[i].other = append(b.rows[i].other, other)
			return
		}
	}
	r.lumen, r.other = []float64{lumen}, []float64{other}
	b.rows = append(b.rows, r)
}
