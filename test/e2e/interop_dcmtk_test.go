package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/peertest"
)

// dcmtkCan lists the transfer syntaxes that DCMTK 3.6.7 can propose.
func dcmtkCan() []string {
	var list []string
	for _, s := range dicom.TransferSyntaxes() {
		if dcmtkOption[s.UID] != "" {
			list = append(list, s.UID)
		}
	}
	return list
}

// models are the query/retrieve models, by DCMTK's options, with the levels that
// each has.
var models = []struct {
	name, option    string
	levels          []string
	find, move, get string
}{
	{"patient_root", "-P", []string{"PATIENT", "STUDY", "SERIES", "IMAGE"}, dict.UIDPatientRootQueryRetrieveInformationModelFind,
		dict.UIDPatientRootQueryRetrieveInformationModelMove, dict.UIDPatientRootQueryRetrieveInformationModelGet},
	{"study_root", "-S", []string{"STUDY", "SERIES", "IMAGE"}, dict.UIDStudyRootQueryRetrieveInformationModelFind,
		dict.UIDStudyRootQueryRetrieveInformationModelMove, dict.UIDStudyRootQueryRetrieveInformationModelGet},
	{"patient_study_only", "-O", []string{"PATIENT", "STUDY"}, dict.UIDPatientStudyOnlyQueryRetrieveInformationModelFind,
		dict.UIDPatientStudyOnlyQueryRetrieveInformationModelMove, dict.UIDPatientStudyOnlyQueryRetrieveInformationModelGet},
}

// keys name one entity of the level, in the model, by the unique keys of its
// level and those above (PS3.4 section C.4.1.2.1).
func (s specimen) keys(model, level string) []string {
	var keys []string
	if model != "study_root" {
		keys = append(keys, "PatientID="+s.patient())
	}
	for _, k := range []struct{ level, key string }{
		{"STUDY", "StudyInstanceUID=" + s.study}, {"SERIES", "SeriesInstanceUID=" + s.series}, {"IMAGE", "SOPInstanceUID=" + s.instance},
	} {
		if level == "PATIENT" {
			break
		}
		keys = append(keys, k.key)
		if level == k.level {
			break
		}
	}
	return keys
}

// has is how many of a study's instances the level's one entity has.
func has(level string, all []specimen) int {
	if level == "IMAGE" {
		return 1
	}
	return len(all)
}

// options writes a query for DCMTK's command line.
func options(level string, keys []string) []string {
	args := []string{"-k", "QueryRetrieveLevel=" + level}
	for _, k := range keys {
		args = append(args, "-k", k)
	}
	return args
}

// dcmtk runs one of DCMTK's clients against the node and expects it to succeed.
func (s *scene) dcmtk(t *testing.T, name string, args ...string) string {
	t.Helper()
	return dcmtkAt(t, s.port(), name, args...)
}

func dcmtkAt(t *testing.T, port, name string, args ...string) string {
	t.Helper()
	out, code := run(t, name, dcmtkArgs(port, args...)...)
	if code != 0 {
		t.Fatalf("%s ends with %d: %s", name, code, tail(out, 1000))
	}
	return out
}

// dcmtkArgs puts address and port before the files, which come last.
func dcmtkArgs(port string, args ...string) []string {
	flags := []string{"-aet", "E2E", "-aec", "LUMEN"}
	first := len(args)
	for first > 0 && strings.HasSuffix(args[first-1], ".dcm") {
		first--
	}
	flags = append(append(flags, args[:first]...), "127.0.0.1", port)
	return append(flags, args[first:]...)
}

func dcmtkEchoes(t *testing.T, s *scene) { s.dcmtk(t, "echoscu", "--repeat", "3") }

func weEchoDCMTK(t *testing.T, s *scene) { echoes(t, "SINK@127.0.0.1:"+s.sink.port) }

// storescu sends each syntax, and has it sent back to storescp.
func dcmtkStores(t *testing.T, s *scene) {
	all := specimens(t, dcmtkCan()...)
	for _, o := range all {
		s.dcmtk(t, "storescu", "-R", "-x"+dcmtkOption[o.syntax.UID], o.file)
	}
	s.dcmtk(t, "movescu", append([]string{"-S", "-aem", "SINK"}, options("STUDY", []string{"StudyInstanceUID=" + all[0].study})...)...)
	sameToReaders(t, all, arrived(t, s.sink.take(t)))
}

// `lumen send` sends storescp all that it takes.
func weStoreAtDCMTK(t *testing.T, s *scene) {
	taken := accepts(t, "127.0.0.1:"+s.sink.port, "SINK", vlEndoscopic)
	if len(taken) != len(dcmtkOption) {
		t.Errorf("storescp takes %d transfer syntaxes, storescu can propose %d", len(taken), len(dcmtkOption))
	}
	all := specimens(t, taken...)
	send(t, "SINK@127.0.0.1:"+s.sink.port, all)
	sameToReaders(t, all, arrived(t, s.sink.take(t)))
}

func dcmtkFinds(t *testing.T, s *scene) {
	all := stills(t, 2, 100)
	s.put(t, all)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				out := s.dcmtk(t, "findscu", append([]string{"-v", m.option}, options(level, all[0].keys(m.name, level))...)...)
				if got := strings.Count(out, "(Pending)"); got != 1 {
					t.Errorf("%d answers: %s", got, tail(out, 2000))
				}
			})
		}
	}
}

func dcmtkMoves(t *testing.T, s *scene) {
	all := stills(t, 2, 100)
	s.put(t, all)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				s.dcmtk(t, "movescu", append([]string{m.option, "-aem", "SINK"}, options(level, all[0].keys(m.name, level))...)...)
				sameToReaders(t, all[:has(level, all)], arrived(t, s.sink.take(t)))
			})
		}
	}
	t.Run("to_nobody_known", func(t *testing.T) {
		out, code := run(t, "movescu", dcmtkArgs(s.port(), append([]string{"-v", "-S", "-aem", "NOBODY"}, options("STUDY", all[0].keys("study_root", "STUDY"))...)...)...)
		if code == 0 || !strings.Contains(out, "MoveDestinationUnknown") {
			t.Errorf("movescu ends with %d: %s", code, tail(out, 1000))
		}
	})
}

// getscu asks for each syntax, and at each level of each model.
func dcmtkGets(t *testing.T, s *scene) {
	all := specimens(t, dcmtkCan()...)
	s.put(t, all)
	got := map[string][]byte{}
	for _, o := range all {
		dir := t.TempDir()
		s.dcmtk(t, "getscu", append([]string{"-S", "+B", "-od", dir, "+x" + dcmtkOption[o.syntax.UID]}, options("IMAGE", o.keys("study_root", "IMAGE"))...)...)
		maps.Copy(got, folder(t, dir))
	}
	// getscu 3.6.7 asks for Explicit VR Little Endian alone at +xi, and for that
	// among others at +xb and +xd.
	sameToReaders(t, asExplicit(t, all, dicom.ImplicitVRLittleEndian, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian), arrived(t, got))
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				all := stills(t, 2, 100)
				s.put(t, all)
				dir := t.TempDir()
				s.dcmtk(t, "getscu", append([]string{m.option, "+B", "-od", dir, "+xy"}, options(level, all[0].keys(m.name, level))...)...)
				sameToReaders(t, all[:has(level, all)], arrived(t, folder(t, dir)))
			})
		}
	}
}

// startQR runs DCMTK's archive, with the options, over a folder of its own. It
// knows the node as LUMEN.
func startQR(t *testing.T, s *scene, options ...string) (addr string) {
	t.Helper()
	dir, port := t.TempDir(), peertest.FreePort(t)
	text := "NetworkTCPPort = " + port + "\nMaxPDUSize = 131072\nMaxAssociations = 16\n" +
		"HostTable BEGIN\nlumen = (LUMEN, 127.0.0.1, " + s.port() + ")\nHostTable END\nVendorTable BEGIN\nVendorTable END\n" +
		"AETable BEGIN\nQR " + dir + " RW (200, 1024mb) ANY\nAETable END\n"
	config := filepath.Join(dir, "qr.cfg")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr = "127.0.0.1:" + port
	startProgram(t, peertest.Command(t, "dcmqrscp", append([]string{"-c", config}, options...)...), addr)
	return addr
}

func weFindAtDCMTK(t *testing.T, s *scene) {
	addr := startQR(t, s, "+xy")
	all := stills(t, 2, 100)
	send(t, "QR@"+addr, all)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) { findsOne(t, addr, "QR", m.find, level, all[0].keys(m.name, level)) })
		}
	}
	t.Run("lumen_find", func(t *testing.T) { commandFinds(t, "QR@"+addr, all[0]) })
}

// findsOne expects one match of a query for one entity.
func findsOne(t *testing.T, addr, title, class, level string, keys []string) {
	t.Helper()
	n := 0
	for match, err := range dial(t, addr, title, class).Find(t.Context(), class, identifier(level, keys...)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, k := range keys {
			keyword, value, _ := strings.Cut(k, "=")
			tag, _ := dict.LookupKeyword(keyword)
			if match.String(tag) != value {
				t.Errorf("the match has another %s", keyword)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d matches", n)
	}
}

// commandFinds expects `lumen find` to find a study, and its two instances.
func commandFinds(t *testing.T, peer string, s specimen) {
	t.Helper()
	for level, want := range map[string]int{"STUDY": 1, "SERIES": 1, "IMAGE": 2} {
		args := []string{"find", "--as", "E2E", "--level", level, peer}
		for _, k := range s.keys("study_root", level) {
			if level != "IMAGE" || !strings.HasPrefix(k, "SOPInstanceUID") {
				args = append(args, k)
			}
		}
		if out, code := run(t, lumenBinary, args...); code != 0 || strings.Count(out, "\n") != want {
			t.Errorf("find at %s ends with %d: %s", level, code, tail(out, 1000))
		}
	}
}

// dcmqrscp sends each syntax to the node when `lumen move` asks it to.
func weMoveAtDCMTK(t *testing.T, s *scene) {
	all := specimens(t, dcmtkCan()...)
	got := map[string]string{}
	dir := t.TempDir()
	for _, o := range all {
		letter := dcmtkOption[o.syntax.UID]
		addr := startQR(t, s, "+x"+letter, "-x"+letter)
		send(t, "QR@"+addr, []specimen{o})
		out, code := run(t, lumenBinary, "move", "--to", "LUMEN", "--level", "IMAGE", "QR@"+addr, "StudyInstanceUID="+o.study,
			"SeriesInstanceUID="+o.series, "SOPInstanceUID="+o.instance)
		if code != 0 || !strings.Contains(out, "1 done, 0 failed") {
			t.Errorf("%s: move ends with %d: %s", o.name(), code, tail(out, 1000))
		}
	}
	for _, part := range s.lumen.retrieve(s.lumen.url("/dicom-web/studies/%s", all[0].study)) {
		p, err := parsePart10(part)
		if err != nil {
			t.Fatal(err)
		}
		got[p.SOPInstance] = save(t, dir, part)
	}
	// Its -xb offers Explicit VR Little Endian with it, and -xd offers only that.
	sameToReaders(t, asExplicit(t, all, dicom.ExplicitVRBigEndian, dicom.DeflatedExplicitVRLittleEndian), got)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				addr := startQR(t, s, "+xy", "-xy")
				all := stills(t, 2, 100)
				send(t, "QR@"+addr, all)
				n, err := dial(t, addr, "QR", m.move).Move(t.Context(), m.move, "LUMEN", identifier(level, all[0].keys(m.name, level)...), nil)
				if err != nil || n.Completed != has(level, all) || countAt(t, s.lumen.dimse, "LUMEN", all[0].study) != has(level, all) {
					t.Errorf("%+v, %v", n, err)
				}
			})
		}
	}
	t.Run("to_nobody_known", func(t *testing.T) {
		addr := startQR(t, s, "+xy")
		one := stills(t, 1, 100)
		send(t, "QR@"+addr, one)
		_, err := dial(t, addr, "QR", models[1].move).Move(t.Context(), models[1].move, "NOWHERE", identifier("STUDY", one[0].keys("study_root", "STUDY")...), nil)
		if statusOf(err) != dimse.StatusDestinationUnknown {
			t.Error(err)
		}
	})
}

// dcmqrscp sends each syntax over our association.
func weGetAtDCMTK(t *testing.T, s *scene) {
	all := specimens(t, dcmtkCan()...)
	dir := t.TempDir()
	for _, o := range all {
		addr := startQR(t, s, "+x"+dcmtkOption[o.syntax.UID])
		send(t, "QR@"+addr, []specimen{o})
		get(t, addr, "QR", models[1].get, identifier("IMAGE", o.keys("study_root", "IMAGE")...), dir, 1, o.syntax.UID)
	}
	sameToReaders(t, all, arrived(t, folder(t, dir)))
	addr := startQR(t, s, "+xy")
	two := stills(t, 2, 100)
	send(t, "QR@"+addr, two)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				dir := t.TempDir()
				get(t, addr, "QR", m.get, identifier(level, two[0].keys(m.name, level)...), dir, has(level, two), jpegBaseline)
				sameToReaders(t, two[:has(level, two)], arrived(t, folder(t, dir)))
			})
		}
	}
	// dcmqrscp 3.6.7 sends in the first context of a class, whatever its syntax; that
	// of `lumen get` is the uncompressed one.
	plain := specimens(t, dicom.ExplicitVRLittleEndian)
	addr = startQR(t, s)
	send(t, "QR@"+addr, plain)
	t.Run("lumen_get", func(t *testing.T) { commandGets(t, "QR@"+addr, plain) })
}

// get performs C-GET and expects so many instances to come into the folder.
func get(t *testing.T, addr, title, class string, id *dicom.DataSet, dir string, want int, syntaxes ...string) {
	t.Helper()
	contexts := []dimse.PresentationContext{presentation(class, dimse.RoleSCU, explicitLE, dicom.ImplicitVRLittleEndian)}
	for _, s := range syntaxes {
		contexts = append(contexts, presentation(vlEndoscopic, dimse.RoleSCP, s))
	}
	c := dialContexts(t, &dialer, addr, title, contexts...)
	n, err := c.Get(t.Context(), class, id, saver(dir), nil)
	if err != nil || n.Completed != want {
		t.Errorf("get: %+v, %v", n, err)
	}
	if err := c.Release(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// commandGets expects `lumen get` to fetch a study.
func commandGets(t *testing.T, peer string, all []specimen) {
	t.Helper()
	into := filepath.Join(t.TempDir(), "got")
	out, code := run(t, lumenBinary, "get", "--as", "E2E", "--into", into, peer, "StudyInstanceUID="+all[0].study)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d done, 0 failed", len(all))) {
		t.Errorf("get ends with %d: %s", code, tail(out, 1000))
	}
	sameToReaders(t, all, arrived(t, folder(t, into)))
}
