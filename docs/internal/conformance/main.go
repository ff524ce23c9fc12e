// Command conformance writes the tables of the services into
// docs/CONFORMANCE.md, each between two marks. Those of package dicom have a
// generator there.
package main

//go:generate go run .

import (
	"bytes"
	"cmp"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"lumen/config"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/scp"
	"lumen/store"
	"lumen/wado"
)

const file = "../../CONFORMANCE.md"

func main() {
	log.SetFlags(0)
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	if text, err = filled(text); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		log.Fatal(err)
	}
}

// filled returns the statement with its tables made anew.
func filled(text []byte) ([]byte, error) {
	for _, part := range []struct {
		name  string
		table func(*bytes.Buffer)
	}{
		{"services", services},
		{"limits", limits},
		{"statuses", statuses},
		{"attributes", attributes},
		{"resources", resources},
	} {
		begin, end := "<!-- written by make generate: "+part.name+" -->\n", "<!-- end of "+part.name+" -->\n"
		head, rest, ok := bytes.Cut(text, []byte(begin))
		_, tail, ok2 := bytes.Cut(rest, []byte(end))
		if !ok || !ok2 {
			return nil, fmt.Errorf("no marks of %s in the statement", part.name)
		}
		var b bytes.Buffer
		b.Write(head)
		b.WriteString(begin + "\n")
		part.table(&b)
		b.WriteString("\n" + end)
		b.Write(tail)
		text = b.Bytes()
	}
	return text, nil
}

func services(b *bytes.Buffer) {
	b.WriteString("| SOP class | UID | SCU | SCP | levels |\n|---|---|---|---|---|\n")
	row := func(uid, scu, scp, levels string) {
		u, _ := dict.LookupUID(uid)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", u.Name, uid, scu, scp, levels)
	}
	row(dict.UIDVerification, "`lumen echo`", "yes", "")
	fmt.Fprintf(b, "| the %d storage classes below | | for C-MOVE and C-GET, `lumen send` | yes | |\n", len(dict.StorageSOPClasses()))
	for _, m := range scp.Models() {
		find, move, get := "no", "no", "no"
		if m.Find == dict.UIDStudyRootQueryRetrieveInformationModelFind {
			find, move, get = "`lumen find`, `lumen get`", "`lumen move`", "`lumen get`"
		}
		levels := strings.Join(m.Levels, ", ")
		row(m.Find, find, "yes", levels)
		row(m.Move, move, "yes", levels)
		row(m.Get, get, "yes", levels)
	}
}

func limits(b *bytes.Buffer) {
	d, c := dimse.DefaultLimits(), config.Default()
	b.WriteString("| what | default |\n|---|---|\n")
	for _, r := range [][2]string{
		{"AE title", c.DIMSE.AETitle},
		{"listening address", c.DIMSE.Listen},
		{"implementation class UID", dicom.ImplementationClassUID},
		{"implementation version name", dicom.ImplementationVersionName},
		{"maximum length of P-DATA-TF that is announced", fmt.Sprint(d.DataPDU)},
		{"associations at once, of one address", fmt.Sprintf("%d, %d", d.Associations, d.PerPeer)},
		{"failed connections of one address in 10 s, past which more are closed unread (not on the loopback interface)", fmt.Sprint(d.Failures)},
		{"presentation contexts in a request", fmt.Sprint(dimse.MaxContexts)},
		{"ARTIM timer", d.ARTIM.String()},
		{"wait for the next message", d.Idle.String()},
		{"wait for the response to a C-STORE", d.Response.String()},
		{"identifier of a query", fmt.Sprintf("%d bytes", d.Identifier)},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", r[0], r[1])
	}
}

func statuses(b *bytes.Buffer) {
	b.WriteString("| status | services | class | meaning | clause |\n|---|---|---|---|---|\n")
	for _, s := range dimse.Statuses() {
		code := []byte(fmt.Sprintf("%04X", uint16(s.Status)))
		for i := range code {
			if s.Mask>>(12-4*i)&0xF == 0 {
				code[i] = 'x'
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", code, s.Services, s.Class, s.Name, s.Clause)
	}
}

// attributes lists what searches know, by level, with how it is matched.
func attributes(b *bytes.Buffer) {
	tags := store.IndexAttributes()
	tags = append(tags, dict.ModalitiesInStudy, dict.SOPClassesInStudy, dict.NumberOfStudyRelatedSeries, // those that are counted
		dict.NumberOfStudyRelatedInstances, dict.NumberOfSeriesRelatedInstances, dict.AvailableTransferSyntaxUID)
	type row struct {
		level store.Level
		tag   dict.Tag
	}
	var rows []row
	for _, t := range tags {
		if level, ok := store.AttributeLevel(t); ok {
			rows = append(rows, row{level, t})
		}
	}
	slices.SortFunc(rows, func(x, y row) int { return cmp.Or(cmp.Compare(x.level, y.level), cmp.Compare(x.tag, y.tag)) })
	b.WriteString("| level | attribute | tag | matching | QIDO-RS returns it unasked |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		level, unasked := r.level.String(), ""
		if slices.Contains(store.PatientAttributes(), r.tag) {
			level = "PATIENT"
		}
		if slices.Contains(store.DefaultReturn(r.level), r.tag) {
			unasked = "yes"
		}
		a, _ := dict.LookupTag(r.tag)
		fmt.Fprintf(b, "| %s | %s | %v | %s | %s |\n", level, a.Name, r.tag, matching(r.level, r.tag), unasked)
	}
}

// matching asks the planner and the matcher what they do.
func matching(level store.Level, tag dict.Tag) string {
	vr, _ := dict.VRs(tag)
	if vr == dict.SQ {
		return "by what is in its items"
	}
	q := store.NewQuery(level)
	if err := q.Match(tag, "20260101"); err != nil {
		if err = q.Match(tag, "1200"); err != nil {
			log.Fatal(err)
		}
	}
	if len(q.Unsupported()) > 0 {
		return "returned only"
	}
	list := ""
	if vr.Multiple() {
		list = ", list"
	}
	m, err := dicom.NewMatcher(vr, "1*", false)
	if err != nil {
		return "single value, range" + list
	}
	if v, exact := m.Exact(); exact && v == "1*" {
		return "single value" + list
	}
	if vr == dict.PN {
		return "single value, wildcard, fuzzy" + list
	}
	return "single value, wildcard" + list
}

func resources(b *bytes.Buffer) {
	fmt.Fprintf(b, "| service | method | path under `%s` |\n|---|---|---|\n", wado.Prefix)
	for _, r := range wado.Resources() {
		fmt.Fprintf(b, "| %s | %s | `%s` |\n", r.Protocol, r.Method, strings.ReplaceAll(r.Path, "...", ""))
	}
}
