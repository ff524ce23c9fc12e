package e2e_test

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"lumen/internal/peertest"
	"lumen/store/blob/s3/s3test"
)

// Nothing that the node writes holds readable patient data: values planted in
// files that are pushed, asked for, retrieved, moved and refused are in no byte
// of the data folder, the bucket, the logs at debug level or the metrics.
func TestPlantedValuesAreNowhereInClear(t *testing.T) {
	peertest.Needs(t, "storescu", "findscu", "movescu", "storescp")
	t.Run("folder", func(t *testing.T) { t.Parallel(); searchForPlanted(t, "", "") })
	t.Run("bucket", func(t *testing.T) {
		t.Parallel()
		server := s3test.Start(t)
		searchForPlanted(t, bucketSettings(t, server), server.Dir)
	})
}

func searchForPlanted(t *testing.T, settings, bucket string) {
	sink := startReceiver(t, "SINK")
	n := startNode(t, settings+"destinations:\n- {title: SINK, address: \"127.0.0.1:"+sink.port+"\"}\n- {title: GONE, address: \"127.0.0.1:1\"}\n")
	p := plant(rngFor(t))
	dir := t.TempDir()

	p.send(t, n, save(t, dir, p.file("first")))
	p.send(t, n, save(t, dir, p.file("other content under the same UID"))) // is quarantined
	p.ask(t, n)
	n.kill() // what a crash leaves behind counts too
	n.start()
	p.ask(t, n)
	_, metrics := n.get(n.url("/metrics"), "text/plain")
	n.clean()
	if bucket != "" {
		n.until("everything is in the bucket", 60*time.Second, func() bool { return n.backlog() == 0 })
	}
	n.stop()

	p.nowhere(t, n, metrics, n.data, bucket)
}

// nowhere looks for the planted values in every file of folders, in the log and
// in the metrics.
func (p planted) nowhere(t *testing.T, n *node, metrics []byte, folders ...string) {
	t.Helper()
	search := map[string][]byte{"the log": []byte(n.log.String()), "/metrics": metrics}
	for _, folder := range folders {
		if folder == "" {
			continue
		}
		before := len(search)
		readAll(t, folder, search)
		if len(search) < before+4 {
			t.Fatalf("only %d files in %s: is this the folder?", len(search)-before, folder)
		}
	}
	for place, content := range search {
		for value, forms := range p.forms() {
			for form, pattern := range forms {
				if at := bytes.Index(content, pattern); at >= 0 {
					t.Errorf("%s has the planted %s in %s at %d", place, value, form, at)
				}
			}
		}
	}
}

// readAll reads the files below a folder. Their names are places to look, too.
func readAll(t *testing.T, folder string, into map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Type()&fs.ModeSocket != 0 {
			return err
		}
		content, err := os.ReadFile(name)
		relative, _ := filepath.Rel(folder, name)
		into[name] = append(content, relative...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// planted are values that would not occur by chance.
type planted struct {
	Name, ID, Birth, Date, Time, Accession    string
	Institution, Referrer, Description, Notes string
	Study, Series, Instance                   string
}

func plant(rng *rand.Rand) planted {
	return planted{
		Name: "Quetzalcoatlus^Wilhelmine", ID: "PID-7733519-XQ", Birth: "19370214", Date: "19590307", Time: "041733",
		Accession: "ACC88321907Z", Institution: "Zwetschgenklinik", Referrer: "Oblomowitsch^Igor",
		Description: "Koloskopie mit Qualle", Notes: "kommt mit Hund Waldemar",
		Study: uid(rng), Series: uid(rng), Instance: uid(rng),
	}
}

func (p planted) file(content string) []byte {
	var b builder
	b.put(tagSOPClass, "UI", vlEndoscopic)
	b.put(tagSOPInstance, "UI", p.Instance)
	b.put(tagStudyDate, "DA", p.Date)
	b.put(tagStudyTime, "TM", p.Time)
	b.put(tagAccession, "SH", p.Accession)
	b.put(tagModality, "CS", "ES")
	b.put(tagInstitution, "LO", p.Institution)
	b.put(tagReferrer, "PN", p.Referrer)
	b.put(tagStudyDescription, "LO", p.Description)
	b.put(tagPatientName, "PN", p.Name)
	b.put(tagPatientID, "LO", p.ID)
	b.put(tagBirthDate, "DA", p.Birth)
	b.put(tagPatientComments, "LT", p.Notes)
	b.put(tagStudy, "UI", p.Study)
	b.put(tagSeries, "UI", p.Series)
	b.head(tagPixelData, "OB", undefinedLength)
	b.item(itemTag, 0)
	fragment := content + strings.Repeat(p.Name+p.ID, 2000) // in the pixel data as well: overlays burned in
	fragment = fragment[:len(fragment)&^1]
	b.item(itemTag, uint32(len(fragment)))
	b.WriteString(fragment)
	b.item(sequenceDelimiter, 0)
	return file(vlEndoscopic, p.Instance, jpegBaseline, b.Bytes())
}

func (p planted) send(t *testing.T, n *node, name string) {
	t.Helper()
	host, port := n.hostPort()
	if out, code := run(t, "storescu", "-xf", profile(t, vlEndoscopic, jpegBaseline), "P", host, port, name); code != 0 {
		t.Fatalf("storescu: %s", out)
	}
}

// ask makes the node say and log whatever it says of the planted values.
func (p planted) ask(t *testing.T, n *node) {
	t.Helper()
	host, port := n.hostPort()
	for key, value := range map[string]string{
		"PatientName": "Quetzalcoatlus*", "PatientID": p.ID, "StudyDate": p.Date, "AccessionNumber": p.Accession, "StudyInstanceUID": p.Study,
	} {
		if found := n.findStudies(key + "=" + value); len(found) != 1 {
			t.Errorf("C-FIND by %s finds %d studies", key, len(found))
		}
		if found := n.qidoStudies(key, value); len(found) != 1 {
			t.Errorf("QIDO-RS by %s finds %d studies", key, len(found))
		}
	}
	for _, path := range []string{
		"/dicom-web/studies/" + p.Study,
		"/dicom-web/studies/" + p.Study + "/metadata",
		"/dicom-web/studies/" + p.Study + "/series/" + p.Series + "/instances/" + p.Instance + "/frames/1",
		"/dicom-web/studies/" + p.Study + "/series/" + p.Series + "/instances/" + p.Instance + "/frames/99",
		"/dicom-web/studies/" + p.Instance, // a UID that is no study
		"/dicom-web/studies?PatientName=" + p.Name + "&nonsense=" + p.ID,
		"/dicom-web/" + p.ID,
	} {
		if rsp, _ := n.get(n.url("%s", path), "*/*"); rsp.StatusCode >= http.StatusInternalServerError {
			t.Errorf("HTTP answers %s", rsp.Status)
		}
	}
	for _, destination := range []string{"SINK", "GONE", "NOBODY"} {
		run(t, "movescu", "-S", "-aem", destination, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+p.Study, host, port)
	}
	run(t, "findscu", "-S", "-k", "QueryRetrieveLevel="+p.Name, "-k", "PatientID="+p.ID, host, port) // not a level
}

// forms are the encodings in which the values are looked for.
func (p planted) forms() map[string]map[string][]byte {
	values := map[string]string{
		"patient name": p.Name, "family name": "Quetzalcoatlus", "upper-case name": strings.ToUpper(p.Name), "lower-case name": strings.ToLower(p.Name),
		"patient id": p.ID, "birth date": p.Birth, "study date": p.Date, "accession number": p.Accession,
		"institution": p.Institution, "referrer": p.Referrer, "description": p.Description, "comments": p.Notes,
		"Study Instance UID": p.Study, "Series Instance UID": p.Series, "SOP Instance UID": p.Instance,
		"birth date with hyphens": p.Birth[:4] + "-" + p.Birth[4:6] + "-" + p.Birth[6:], "study date with hyphens": p.Date[:4] + "-" + p.Date[4:6] + "-" + p.Date[6:],
	}
	forms := map[string]map[string][]byte{}
	for what, v := range values {
		var le, be []byte
		for _, u := range utf16.Encode([]rune(v)) {
			le = append(le, byte(u), byte(u>>8))
			be = append(be, byte(u>>8), byte(u))
		}
		digits := hex.EncodeToString([]byte(v))
		forms[what] = map[string][]byte{
			"UTF-8": []byte(v), "UTF-16LE": le, "UTF-16BE": be, "hex": []byte(digits), "upper-case hex": []byte(strings.ToUpper(digits)),
		}
	}
	return forms
}
