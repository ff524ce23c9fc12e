package audit

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Kind is what is wrong at one place of a journal.
type Kind string

// The kinds of problem.
const (
	Altered    Kind = "altered"     // a record is not what was signed
	Removed    Kind = "removed"     // a record is missing between others
	Inserted   Kind = "inserted"    // a record was never signed
	Reordered  Kind = "reordered"   // a record stands in another's place
	Cut        Kind = "cut"         // records at the end are missing that a checkpoint has signed
	ForeignKey Kind = "foreign key" // a checkpoint or key is not the journal's
	Signature  Kind = "signature"   // a checkpoint is not validly signed
	Missing    Kind = "missing"     // a file is not there
	Derived    Kind = "derived"     // records and checkpoints agree, a file made from them does not
)

// Problem is something wrong and where.
type Problem struct {
	Kind   Kind   `json:"kind"`
	Record *int64 `json:"record,omitempty"` // the first record concerned; nil when it is none
	Where  string `json:"where"`            // file below the journal's folder, and offset
	Detail string `json:"detail"`
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(string(p.Kind))
	if p.Record != nil {
		fmt.Fprintf(&b, ": record %d", *p.Record)
	}
	fmt.Fprintf(&b, " (%s): %s", p.Where, p.Detail)
	return b.String()
}

// maxProblems bounds a report; the rest is counted.
const maxProblems = 100

// Report is what a verification found.
type Report struct {
	Origin        string     `json:"origin"`
	Key           string     `json:"key"`             // verifier key that was used
	KeyFromFolder bool       `json:"key_from_folder"` // it came from the journal's own folder
	Records       uint64     `json:"records"`
	Root          tlog.Hash  `json:"root"`        // of the tree over all records
	Checkpoint    Checkpoint `json:"checkpoint"`  // the newest
	Checkpoints   int        `json:"checkpoints"` // signatures that were checked
	Unsigned      uint64     `json:"unsigned"`    // records behind the newest checkpoint
	Tail          int64      `json:"tail"`        // bytes behind the last record that are none yet, or were torn by a crash
	Segments      int        `json:"segments"`
	First         time.Time  `json:"first,omitzero"` // time of the first and the last record
	Last          time.Time  `json:"last,omitzero"`
	Problems      []Problem  `json:"problems,omitempty"`
	More          int        `json:"more_problems,omitempty"` // that are not listed
}

// Err is nil when nothing is wrong; otherwise it wraps [ErrTampered] and names
// the first problem.
func (r *Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	more := ""
	if n := len(r.Problems) + r.More - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%w: %s%s", ErrTampered, r.Problems[0], more)
}

func (r *Report) add(p Problem) {
	if len(r.Problems) >= maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, p)
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "journal     %s\n", r.Origin)
	fmt.Fprintf(&b, "key         %s\n", r.Key)
	if r.KeyFromFolder {
		b.WriteString("            this key came from the journal's own folder: it proves nothing against\n" +
			"            someone who could write there. Give the key that the first start printed.\n")
	}
	fmt.Fprintf(&b, "records     %d in %d segments\n", r.Records, r.Segments)
	if r.Records > 0 {
		fmt.Fprintf(&b, "from, to    %s, %s\n", r.First.Format(time.RFC3339Nano), r.Last.Format(time.RFC3339Nano))
	}
	fmt.Fprintf(&b, "root        %s\n", r.Root)
	fmt.Fprintf(&b, "checkpoints %d checked, the newest signs %d records, %d came later\n", r.Checkpoints, r.Checkpoint.Size, r.Unsigned)
	if r.Tail > 0 {
		fmt.Fprintf(&b, "tail        %d bytes behind the last record are none: being written, or torn by a crash\n", r.Tail)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM     %s\n", p)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "PROBLEM     and %d more\n", r.More)
	}
	if len(r.Problems) == 0 {
		b.WriteString("ok\n")
	}
	return b.String()
}
