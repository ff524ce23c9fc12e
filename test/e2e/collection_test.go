package e2e_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lumen/internal/peertest"
	"lumen/store/blob/s3/s3test"
)

// Every file of the collection that storescu can send goes in and comes back,
// by C-MOVE and by WADO-RS, with the bytes that storescp received from the same
// command; and C-FIND and QIDO-RS find it alike.
func TestCollectionGoesInAndComesOut(t *testing.T) {
	for i, round := range sentRounds(t) {
		t.Run(fmt.Sprintf("round %d", i+1), func(t *testing.T) {
			t.Parallel()
			inAndOut(t, "", round)
		})
		t.Run(fmt.Sprintf("round %d in a bucket", i+1), func(t *testing.T) {
			t.Parallel()
			inAndOut(t, bucketSettings(t, s3test.Start(t)), round)
		})
	}
}

// sentRounds are the files of the collection that storescu can send, checked
// against what is expected of each, in rounds.
func sentRounds(t *testing.T) [][]*sample {
	t.Helper()
	peertest.Needs(t, "storescu", "storescp", "movescu", "findscu", "dcmdump")
	all := slices.Clone(samples(t))
	checkExpected(t, all)
	return rounds(slices.DeleteFunc(all, func(s *sample) bool { return !s.sent }))
}

// inAndOut runs samples through a node of their own.
func inAndOut(t *testing.T, settings string, round []*sample) {
	t.Helper()
	sink := startReceiver(t, "SINK")
	n := startNode(t, settings+fmt.Sprintf("destinations:\n- {title: SINK, address: \"127.0.0.1:%s\"}\n", sink.port))
	_, port := n.hostPort()
	kept := slices.Clone(round)
	for _, s := range round {
		out, code := s.send(t, port)
		if (code == 0) != (s.verdict() == stored) {
			t.Fatalf("%s is expected to be %s: storescu ends with %d %s", s.Name, s.verdict(), code, tail(out, 500))
		}
	}
	kept = slices.DeleteFunc(kept, func(s *sample) bool { return s.verdict() != stored })
	comesBackByMove(t, n, sink, kept)
	comesBackByWADO(t, n, kept)
	isFound(t, n, kept)
	n.clean()
	n.stop()
	n.clean()
}

// rounds sorts the samples into as few archives as are needed for each archive
// to see a SOP Instance UID once: collections share UIDs between variants.
func rounds(all []*sample) [][]*sample {
	var rounds [][]*sample
	seen := map[string]int{}
	for _, s := range all {
		i := seen[s.oracle.SOPInstance]
		seen[s.oracle.SOPInstance]++
		if i == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[i] = append(rounds[i], s)
	}
	return rounds
}

// studies groups samples by study, in the order they were sent.
func studies(samples []*sample) map[string][]*sample {
	m := map[string][]*sample{}
	for _, s := range samples {
		m[s.facts.Study] = append(m[s.facts.Study], s)
	}
	return m
}

func comesBackByMove(t *testing.T, n *node, sink receiver, round []*sample) {
	t.Helper()
	_, port := n.hostPort()
	for study, in := range studies(round) {
		out, code := run(t, "movescu", "-S", "-aet", "E2E", "-aem", "SINK", "-k", "QueryRetrieveLevel=STUDY",
			"-k", "StudyInstanceUID="+study, "127.0.0.1", port)
		if code != 0 {
			t.Errorf("movescu: %s", tail(out, 500))
		}
		var files [][]byte
		for _, b := range sink.take(t) {
			files = append(files, b)
		}
		sameDataSets(t, "C-MOVE", in, files)
	}
}

func comesBackByWADO(t *testing.T, n *node, round []*sample) {
	t.Helper()
	dir := t.TempDir()
	for study, in := range studies(round) {
		var files [][]byte
		for i, part := range n.retrieve(n.url("/dicom-web/studies/%s", study)) {
			files = append(files, part)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d", study, i)), part, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sameDataSets(t, "WADO-RS", in, files)
		one := in[0].facts
		parts := n.retrieve(n.url("/dicom-web/studies/%s/series/%s/instances/%s", one.Study, one.Series, one.Instance))
		sameDataSets(t, "WADO-RS of one instance", in[:1], parts)
	}
	othersRead(t, dir, round)
}

// sameDataSets compares what came back with the oracle, by SOP Instance UID.
func sameDataSets(t *testing.T, how string, want []*sample, files [][]byte) {
	t.Helper()
	if len(files) != len(want) {
		t.Errorf("%s gives %d instances of %s, want %d", how, len(files), want[0].Name, len(want))
	}
	got := map[string]part10{}
	for _, b := range files {
		p, err := parsePart10(b)
		if err != nil {
			t.Errorf("%s: %v", how, err)
		}
		got[p.SOPInstance] = p
	}
	for _, s := range want {
		p, ok := got[s.oracle.SOPInstance]
		switch {
		case !ok:
			t.Errorf("%s: %s is missing", how, s.Name)
		case !bytes.Equal(p.DataSet, s.oracle.DataSet):
			t.Errorf("%s: %s has other bytes (%d, sent %d)", how, s.Name, len(p.DataSet), len(s.oracle.DataSet))
		case p.TransferSyntax != s.oracle.TransferSyntax || p.SOPClass != s.oracle.SOPClass:
			t.Errorf("%s: %s is class %s in %s", how, s.Name, p.SOPClass, p.TransferSyntax)
		}
	}
}

// othersRead runs dcmdump and pydicom over the files in dir. What they do not
// read in the oracle either is not held against us.
func othersRead(t *testing.T, dir string, round []*sample) {
	t.Helper()
	readable := map[string]bool{}
	for _, s := range round {
		readable[s.oracle.SOPInstance] = s.facts.Readable
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for file, f := range describe(t, files) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := parsePart10(b)
		if readable[p.SOPInstance] && !f.Readable {
			t.Errorf("pydicom reads the oracle of an instance in %s, but not ours: %s", p.TransferSyntax, f.Error)
		}
	}
	if out, code := run(t, "dcmdump", append([]string{"-q", "+L", "+P", "SOPInstanceUID"}, files...)...); code != 0 {
		t.Errorf("dcmdump: %s", tail(out, 1000))
	}
}

// isFound asks for every study by each of its keys, over both protocols.
func isFound(t *testing.T, n *node, round []*sample) {
	t.Helper()
	asked := map[string][]string{} // query -> what it found
	for study, in := range studies(round) {
		f := in[0].facts // the first received gives the study its attributes
		for key, value := range map[string]string{
			"PatientName": f.Name, "PatientID": f.ID, "StudyDate": f.Date, "AccessionNumber": f.Accession, "StudyInstanceUID": study,
		} {
			if !plain(value) {
				continue
			}
			query := key + "=" + value
			found, done := asked[query]
			if !done {
				found = n.findStudies(query)
				if web := n.qidoStudies(key, value); !slices.Equal(web, found) {
					t.Errorf("%s: C-FIND finds %d studies by %s, QIDO-RS %d others", in[0].Name, len(found), key, len(web))
				}
				asked[query] = found
			}
			if !slices.Contains(found, study) {
				t.Errorf("%s: not found by its %s", in[0].Name, key)
			}
		}
	}
	everything := n.findStudies("StudyInstanceUID=")
	if want := slices.Sorted(maps.Keys(studies(round))); !slices.Equal(everything, want) {
		t.Errorf("a query without keys finds %d studies, want %d", len(everything), len(want))
	}
	for _, s := range round {
		f := s.facts
		instances := n.qido(n.url("/dicom-web/studies/%s/series/%s/instances?SOPInstanceUID=%s", f.Study, f.Series, f.Instance), "00080018")
		if !slices.Equal(instances, []string{f.Instance}) {
			t.Errorf("%s: QIDO-RS finds %d instances by its UID", s.Name, len(instances))
		}
	}
}

// plain reports whether a value can be asked for literally: it is not empty,
// has no wildcard and is ASCII, as the command line of findscu is.
func plain(value string) bool {
	return strings.Trim(value, " ^=") != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) &&
		!strings.ContainsAny(value, `*?\"`)
}
