package e2e_test

import (
	"debug/elf"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// orthancTakes are specimens in all transfer syntaxes that Orthanc takes and we
// can make an instance in.
func orthancTakes(t *testing.T, s *scene) []specimen {
	t.Helper()
	var can []string
	for _, uid := range accepts(t, s.orthanc.dicom, "ORTHANC", vlEndoscopic) {
		if syntax, _ := dicom.LookupTransferSyntax(uid); syntax.Encapsulated || dcmtkOption[uid] != "" {
			can = append(can, uid)
		} else {
			t.Logf("%s has no pixels of its own: left out", syntax.Name)
		}
	}
	if len(can) < len(dcmtkOption) {
		t.Errorf("Orthanc takes %d transfer syntaxes, DCMTK knows %d", len(can), len(dcmtkOption))
	}
	return specimens(t, can...)
}

// own uploads specimens to Orthanc and returns what it calls them and reads in
// them.
func (o *orthanc) own(t *testing.T, all []specimen) (ids []string, reads []map[string]string) {
	t.Helper()
	for _, s := range all {
		id := o.upload(t, s.file)
		ids, reads = append(ids, id), append(reads, o.read(t, id))
	}
	return ids, reads
}

// forget removes instances from Orthanc.
func (o *orthanc) forget(t *testing.T, ids []string) {
	t.Helper()
	for _, id := range ids {
		o.remove(t, id)
	}
}

// sameToOrthanc expects Orthanc to have the specimens, and to read the same in
// them as in the files themselves. DCMTK and pydicom read them, too.
func sameToOrthanc(t *testing.T, o *orthanc, all []specimen, reads []map[string]string) {
	t.Helper()
	got := map[string][]byte{}
	for i, s := range all {
		id := o.find(t, s.instance)
		if id == "" {
			t.Errorf("Orthanc did not get %s", s.name())
			continue
		}
		if !maps.Equal(o.read(t, id), reads[i]) {
			t.Errorf("Orthanc reads something else in %s", s.name())
		}
		got[id] = o.file(t, id)
		o.remove(t, id)
	}
	sameToReaders(t, all, arrived(t, got))
}

func orthancEchoes(t *testing.T, s *scene) {
	s.orthanc.post(t, "/modalities/LUMEN/echo", []byte("{}"), nil)
}

func weEchoOrthanc(t *testing.T, s *scene) { echoes(t, "ORTHANC@"+s.orthanc.dicom) }

// Orthanc sends each syntax that it knows, and the node sends it back.
func orthancStores(t *testing.T, s *scene) {
	all := orthancTakes(t, s)
	ids, reads := s.orthanc.own(t, all)
	for _, id := range ids {
		s.orthanc.post(t, "/modalities/LUMEN/store", []byte(id), nil)
	}
	s.orthanc.forget(t, ids)
	s.orthanc.fetch(t, "Study", map[string]string{"StudyInstanceUID": all[0].study})
	sameToOrthanc(t, s.orthanc, all, reads)
}

// `lumen send` sends Orthanc all that it takes.
func weStoreAtOrthanc(t *testing.T, s *scene) {
	all := orthancTakes(t, s)
	ids, reads := s.orthanc.own(t, all)
	s.orthanc.forget(t, ids)
	send(t, "ORTHANC@"+s.orthanc.dicom, all)
	sameToOrthanc(t, s.orthanc, all, reads)
}

// query has Orthanc send a query to the node, and returns what it calls the
// query, and how many answers came.
func (o *orthanc) query(t *testing.T, level string, keys map[string]string) (id string, answers int) {
	t.Helper()
	rq, err := json.Marshal(map[string]any{"Level": level, "Query": keys})
	if err != nil {
		t.Fatal(err)
	}
	var query struct{ ID string }
	o.post(t, "/modalities/LUMEN/query", rq, &query)
	var list []any
	o.get(t, "/queries/"+query.ID+"/answers", &list)
	return query.ID, len(list)
}

// fetch has Orthanc find one entity at the node and move it to itself.
func (o *orthanc) fetch(t *testing.T, level string, keys map[string]string) {
	t.Helper()
	id, answers := o.query(t, level, keys)
	if answers != 1 {
		t.Fatalf("Orthanc finds %d at %s", answers, level)
	}
	o.post(t, "/queries/"+id+"/retrieve", []byte(`{"TargetAet": "ORTHANC", "Synchronous": true}`), nil)
}

// orthancLevels are its names of the levels. It uses the Patient Root model for
// Patient and the Study Root model for the others.
var orthancLevels = map[string]string{"Patient": "PATIENT", "Study": "STUDY", "Series": "SERIES", "Instance": "IMAGE"}

// orthancKeys are the keys of one entity.
func (s specimen) orthancKeys(level string) map[string]string {
	keys := map[string]string{}
	for _, k := range s.keys("patient_root", orthancLevels[level]) {
		keyword, value, _ := strings.Cut(k, "=")
		keys[keyword] = value
	}
	return keys
}

func orthancFinds(t *testing.T, s *scene) {
	all := stills(t, 2, 100)
	s.put(t, all)
	for level := range orthancLevels {
		t.Run(level, func(t *testing.T) {
			if _, n := s.orthanc.query(t, level, all[0].orthancKeys(level)); n != 1 {
				t.Errorf("%d answers", n)
			}
		})
	}
}

func orthancMoves(t *testing.T, s *scene) {
	all := stills(t, 2, 100)
	ids, reads := s.orthanc.own(t, all)
	s.orthanc.forget(t, ids)
	s.put(t, all)
	for level, ours := range orthancLevels {
		t.Run(level, func(t *testing.T) {
			if level == "Patient" {
				orthancAsksForPatientsInTheStudyModel(t, s, all[0])
				return
			}
			s.orthanc.fetch(t, level, all[0].orthancKeys(level))
			sameToOrthanc(t, s.orthanc, all[:has(ours, all)], reads)
		})
	}
}

// Orthanc asks for all C-MOVEs in the Study Root model, which has no patients
// (PS3.4 section C.6.2.1): it is refused.
func orthancAsksForPatientsInTheStudyModel(t *testing.T, s *scene, one specimen) {
	t.Helper()
	id, _ := s.orthanc.query(t, "Patient", one.orthancKeys("Patient"))
	status, answer := s.orthanc.try(t, http.MethodPost, "/queries/"+id+"/retrieve", []byte(`{"TargetAet": "ORTHANC", "Synchronous": true}`))
	if status == http.StatusOK || !strings.Contains(string(answer), "0xA900") {
		t.Errorf("Orthanc answers %d: %s", status, answer)
	}
}

// cannotDo names functions of DCMTK's library without which a program that is
// built on it cannot do something, and checks that Orthanc calls none of them.
func cannotDo(t *testing.T, functions ...string) {
	t.Helper()
	f, err := elf.Open(orthancProgram)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	stores := false
	for _, s := range symbols {
		stores = stores || strings.Contains(s.Name, "DIMSE_storeUser") // else the library is not seen at all
		for _, name := range functions {
			if strings.Contains(s.Name, name) {
				t.Errorf("Orthanc calls %s: fill this cell", name)
			}
		}
	}
	if !stores {
		t.Error("Orthanc does not call DCMTK's library: look elsewhere whether it can do this")
	}
}

// Orthanc is a C-GET SCU from 1.12.7 on; Debian has 1.10.1, without a request
// for it in its REST API.
func orthancDoesNotGet(t *testing.T, s *scene) {
	if status, _ := s.orthanc.try(t, http.MethodPost, "/modalities/LUMEN/get", []byte(`{"Level": "Study", "Resources": []}`)); status != http.StatusNotFound {
		t.Errorf("Orthanc answers %d to a request for C-GET: fill this cell", status)
	}
}

// Orthanc gives no user identity.
func orthancDoesNotIdentify(t *testing.T, _ *scene) { cannotDo(t, "ASC_setIdentRQ") }

func weFindAtOrthanc(t *testing.T, s *scene) {
	all := stills(t, 2, 100)
	s.orthanc.own(t, all)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				if m.name == "patient_study_only" {
					orthancRefuses(t, s, m.find)
				} else {
					findsOne(t, s.orthanc.dicom, "ORTHANC", m.find, level, all[0].keys("patient_root", level))
				}
			})
		}
	}
	t.Run("lumen_find", func(t *testing.T) { commandFinds(t, "ORTHANC@"+s.orthanc.dicom, all[0]) })
}

// orthancRefuses expects Orthanc not to accept a class: the retired
// Patient/Study Only model.
func orthancRefuses(t *testing.T, s *scene, class string) {
	t.Helper()
	if accepted := dial(t, s.orthanc.dicom, "ORTHANC", class, dict.UIDVerification).Accepted(class); len(accepted) > 0 {
		t.Error("Orthanc accepts the Patient/Study Only model: fill this cell")
	}
}

// Orthanc sends to the node when we ask it to.
func weMoveAtOrthanc(t *testing.T, s *scene) {
	all := orthancTakes(t, s)
	s.orthanc.own(t, all)
	out, code := run(t, lumenBinary, "move", "--as", "SINK", "--to", "LUMEN", "ORTHANC@"+s.orthanc.dicom, "StudyInstanceUID="+all[0].study)
	if code != 0 {
		t.Errorf("move ends with %d: %s", code, tail(out, 1000))
	}
	got := map[string][]byte{}
	for i, part := range s.lumen.retrieve(s.lumen.url("/dicom-web/studies/%s", all[0].study)) {
		got[string(rune('a'+i))] = part
	}
	sameToReaders(t, all, arrived(t, got))
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				if m.name == "patient_study_only" {
					orthancRefuses(t, s, m.move)
					return
				}
				all := stills(t, 2, 100)
				s.orthanc.own(t, all)
				d := dimse.Dialer{CallingAE: "SINK"}
				c := dialContexts(t, &d, s.orthanc.dicom, "ORTHANC", presentation(m.move, dimse.RoleSCU, explicitLE))
				n, err := c.Move(t.Context(), m.move, "LUMEN", identifier(level, all[0].keys("patient_root", level)...), nil)
				if here := countAt(t, s.lumen.dimse, "LUMEN", all[0].study); err != nil || here != has(level, all) {
					t.Errorf("%+v, %d came, %v", n, here, err)
				}
			})
		}
	}
}

// Orthanc sends each syntax over our association.
func weGetAtOrthanc(t *testing.T, s *scene) {
	all := orthancTakes(t, s)
	s.orthanc.own(t, all)
	dir := t.TempDir()
	for _, o := range all {
		get(t, s.orthanc.dicom, "ORTHANC", models[1].get, identifier("IMAGE", o.keys("study_root", "IMAGE")...), dir, 1, o.syntax.UID)
	}
	sameToReaders(t, all, arrived(t, folder(t, dir)))
	two := stills(t, 2, 100)
	s.orthanc.own(t, two)
	for _, m := range models {
		for _, level := range m.levels {
			t.Run(m.name+"/"+level, func(t *testing.T) {
				if m.name == "patient_study_only" {
					orthancRefuses(t, s, m.get)
					return
				}
				dir := t.TempDir()
				get(t, s.orthanc.dicom, "ORTHANC", m.get, identifier(level, two[0].keys("patient_root", level)...), dir, has(level, two), jpegBaseline)
				sameToReaders(t, two[:has(level, two)], arrived(t, folder(t, dir)))
			})
		}
	}
	t.Run("lumen_get", func(t *testing.T) { commandGets(t, "ORTHANC@"+s.orthanc.dicom, two) })
}
