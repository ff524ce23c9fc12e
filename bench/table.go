package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one line of the table: how often Lumen's figure is the peer's, so that
// more is always better.
type row struct {
	work, peer   string
	unit         string    // of the figures
	lumen, other []float64 // one a round
	lowerBetter  bool      // times and memory
	reach        float64   // the ratio that DESIGN section 13 asks for; 0: recorded only
}

func (r row) ratios() []float64 {
	var out []float64
	for i := range min(len(r.lumen), len(r.other)) {
		a, b := r.lumen[i], r.other[i]
		if r.lowerBetter {
			a, b = b, a
		}
		if b > 0 {
			out = append(out, a/b)
		}
	}
	slices.Sort(out)
	return out
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// columns are the table's; those of a row are the texts of cells.
var columns = []string{"work", "peer", "Lumen", "peer's", "unit", "ratio", "spread", "reach"}

// cells are what a row says; the ratio is the median of the rounds, with the
// least and the most beside it.
func (r row) cells() []string {
	ratios := r.ratios()
	spread, verdict := "-", ""
	if len(ratios) > 0 {
		spread = fmt.Sprintf("%.2f..%.2f", ratios[0], ratios[len(ratios)-1])
	}
	switch {
	case r.reach == 0:
	case median(ratios) >= r.reach:
		verdict = fmt.Sprintf(">= %gx reached", r.reach)
	default:
		verdict = fmt.Sprintf(">= %gx NOT reached", r.reach)
	}
	return []string{r.work, r.peer, fmt.Sprintf("%.4g", median(r.lumen)), fmt.Sprintf("%.4g", median(r.other)),
		r.unit, fmt.Sprintf("%.2fx", median(ratios)), spread, verdict}
}

// print writes the table for a terminal.
func print(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	t.Flush()
}

// markdown writes the table for a page.
func markdown(w io.Writer, rows []row) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r.cells(), " | "))
	}
}
