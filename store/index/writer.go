package index

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/store"
)

// writer applies rows within one transaction. Study and series records are
// opened once and written once.
type writer struct {
	db      *DB
	state   *state
	studies map[token]*openStudy
	series  map[[2]token]*openSeries
	changes []change // of the study table, after flush

	study, seriesBucket, instance, location, parent, patient *bolt.Bucket
}

type openStudy struct {
	studyRecord
	before  *columns // nil when it is new
	patient token    // before; zero for none
}

type openSeries struct {
	seriesRecord
	stored bool
}

func (w *writer) begin(tx *bolt.Tx) {
	w.studies, w.series, w.changes = make(map[token]*openStudy), make(map[[2]token]*openSeries), nil
	w.study, w.seriesBucket, w.instance = tx.Bucket(bucketStudy), tx.Bucket(bucketSeries), tx.Bucket(bucketInstance)
	w.location, w.parent, w.patient = tx.Bucket(bucketLocation), tx.Bucket(bucketParent), tx.Bucket(bucketPatient)
}

func (w *writer) seal(name []byte, b *bolt.Bucket, key, plain []byte) error {
	w.state.Seals++
	value, err := w.db.seal.seal(name, key, plain, w.state.KeyVersion)
	if err != nil {
		return err
	}
	return b.Put(key, value)
}

func (w *writer) open(name []byte, b *bolt.Bucket, key []byte) ([]byte, error) {
	value := b.Get(key)
	if value == nil {
		return nil, nil
	}
	plain, _, err := w.db.seal.open(nil, nil, name, key, value)
	return plain, err
}

func (w *writer) apply(p *pending) error {
	from, err := w.takeOut(p.tokens.instance)
	if err != nil {
		return err
	}
	if !p.removed {
		if err := w.putIn(p); err != nil {
			return err
		}
	}
	if from != nil {
		w.forgetEmpty(*from)
	}
	return nil
}

// forgetEmpty clears what is known of a study or series that has lost its last
// instance: what comes later is received first.
func (w *writer) forgetEmpty(from path) {
	if s := w.series[[2]token{from.study, from.series}]; s.instances == 0 {
		w.state.Conflicts -= s.conflicts
		s.seriesRecord = seriesRecord{}
	}
	if s := w.studies[from.study]; s.instances == 0 {
		w.state.Conflicts -= s.conflicts
		s.studyRecord = studyRecord{}
	}
}

// putIn adds a row whose instance is not there.
func (w *writer) putIn(p *pending) error {
	study, err := w.openStudy(p.tokens.study)
	if err != nil {
		return err
	}
	series, err := w.openSeries(p.tokens)
	if err != nil {
		return err
	}
	r := p.row
	newSeries := series.instances == 0
	if study.uid == "" {
		study.uid, study.first = r.StudyInstanceUID, r.Received
	}
	if series.uid == "" {
		series.uid, series.first = r.SeriesInstanceUID, r.Received
	}
	study.handle = r.Blob.Study
	conflicts := study.conflicts + series.conflicts
	attributes := r.Attributes
	if attributes == nil {
		attributes = new(dicom.DataSet)
	}
	if err := study.merge(attributes, store.StudyLevel); err != nil {
		return err
	}
	modality := series.modality()
	if err := series.merge(attributes, store.SeriesLevel); err != nil {
		return err
	}
	w.state.Conflicts += study.conflicts + series.conflicts - conflicts
	if newSeries {
		study.series++
		study.addModality(series.modality(), 1)
	} else if now := series.modality(); now != modality {
		study.addModality(modality, -1)
		study.addModality(now, 1)
	}
	study.count(r, 1)
	series.count(r, 1)
	w.state.Instances++
	w.state.Bytes += uint64(r.Size)

	key := p.tokens.key()
	plain, err := appendRow(nil, r)
	if err != nil {
		return err
	}
	if err := w.seal(bucketInstance, w.instance, key, plain); err != nil {
		return err
	}
	return w.location.Put(p.tokens.instance[:], key[:32])
}

// takeOut removes the row of an instance and says where it was, nil when there
// was none.
func (w *writer) takeOut(instance token) (*path, error) {
	at := w.location.Get(instance[:])
	if at == nil {
		return nil, nil
	}
	if len(at) != 32 {
		return nil, errShort
	}
	tokens := path{study: token(at[:16]), series: token(at[16:]), instance: instance}
	key := tokens.key()
	plain, err := w.open(bucketInstance, w.instance, key)
	if err != nil {
		return nil, err
	}
	r, err := parseRow(plain)
	if err != nil {
		return nil, err
	}
	study, err := w.openStudy(tokens.study)
	if err != nil {
		return nil, err
	}
	series, err := w.openSeries(tokens)
	if err != nil {
		return nil, err
	}
	study.count(&r, -1)
	series.count(&r, -1)
	if series.instances == 0 {
		study.series--
		study.addModality(series.modality(), -1)
	}
	w.state.Instances--
	w.state.Bytes -= uint64(r.Size)
	if err := w.instance.Delete(key); err != nil {
		return nil, err
	}
	return &tokens, w.location.Delete(instance[:])
}

func (w *writer) openStudy(t token) (*openStudy, error) {
	if s := w.studies[t]; s != nil {
		return s, nil
	}
	plain, err := w.open(bucketStudy, w.study, t[:])
	if err != nil {
		return nil, err
	}
	s := &openStudy{}
	if plain != nil {
		if err := s.parse(plain); err != nil {
			return nil, err
		}
		x := extractor{sets: &w.db.sets}
		c, err := x.columns(t, &s.studyRecord)
		if err != nil {
			return nil, err
		}
		s.before = &c
		if s.patient, err = w.patientOf(&s.studyRecord); err != nil {
			return nil, err
		}
	}
	w.studies[t] = s
	return s, nil
}

func (w *writer) openSeries(p path) (*openSeries, error) {
	at := [2]token{p.study, p.series}
	if s := w.series[at]; s != nil {
		return s, nil
	}
	plain, err := w.open(bucketSeries, w.seriesBucket, p.key()[:32])
	if err != nil {
		return nil, err
	}
	s := &openSeries{stored: plain != nil}
	if plain != nil {
		if err := s.parse(plain); err != nil {
			return nil, err
		}
	}
	w.series[at] = s
	return s, nil
}

// flush writes the records that were opened and collects what changes in the
// study table.
func (w *writer) flush() error {
	for at, s := range w.series {
		if err := w.flushSeries(at, s); err != nil {
			return err
		}
	}
	x := extractor{sets: &w.db.sets}
	for _, t := range slices.SortedFunc(maps.Keys(w.studies), func(a, b token) int { return bytes.Compare(a[:], b[:]) }) {
		if err := w.flushStudy(&x, t, w.studies[t]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) flushSeries(at [2]token, s *openSeries) error {
	key := append(at[0][:], at[1][:]...)
	parent := append(at[1][:], at[0][:]...)
	if s.instances > 0 {
		if !s.stored {
			w.state.Series++
			if err := w.parent.Put(parent, nil); err != nil {
				return err
			}
		}
		return w.seal(bucketSeries, w.seriesBucket, key, s.append(nil))
	}
	if !s.stored {
		return nil
	}
	w.state.Series--
	if err := w.parent.Delete(parent); err != nil {
		return err
	}
	return w.seriesBucket.Delete(key)
}

func (w *writer) flushStudy(x *extractor, t token, s *openStudy) error {
	var c change
	if s.before != nil {
		c.old = &s.before.key
	}
	var patient token
	if s.instances > 0 {
		now, err := x.columns(t, &s.studyRecord)
		if err != nil {
			return err
		}
		if s.before == nil || *s.before != now {
			c.new = &now
		}
		if patient, err = w.patientOf(&s.studyRecord); err != nil {
			return err
		}
		if err := w.seal(bucketStudy, w.study, t[:], s.append(nil)); err != nil {
			return err
		}
		if s.before == nil {
			w.state.Studies++
		}
	} else if s.before != nil {
		w.state.Studies--
		if err := w.study.Delete(t[:]); err != nil {
			return err
		}
	}
	if c.new != nil || s.instances == 0 && c.old != nil {
		w.changes = append(w.changes, c)
	}
	return w.movePatient(t, s.patient, patient)
}

// patientOf returns the token of a study's patient: of Patient ID and issuer;
// zero when there is no Patient ID, for such studies are never grouped.
func (w *writer) patientOf(s *studyRecord) (token, error) {
	d, err := parseAttributes(s.attributes)
	if err != nil {
		return token{}, err
	}
	id := d.String(dict.PatientID)
	if id == "" {
		return token{}, nil
	}
	issuer := d.String(dict.IssuerOfPatientID)
	if issuer == "" {
		issuer = w.db.config.Issuer
	}
	return w.db.token(kindPatient, fmt.Sprintf("%d:%s%s", len(id), id, issuer)), nil
}

func (w *writer) movePatient(study, from, to token) error {
	if from == to {
		return nil
	}
	if from != (token{}) {
		if err := w.patient.Delete(append(from[:], study[:]...)); err != nil {
			return err
		}
	}
	if to != (token{}) {
		return w.patient.Put(append(to[:], study[:]...), nil)
	}
	return nil
}

// count adds or takes off one instance.
func (g *group) count(r *store.Row, by int64) {
	g.instances += uint64(by)
	g.bytes += uint64(by * r.Size)
	g.classes.add(r.SOPClassUID, by)
	if by > 0 && r.Received.After(g.last) {
		g.last = r.Received
	}
}

func (r *studyRecord) addModality(modality string, by int64) {
	if modality != "" {
		r.modalities.add(modality, by)
	}
}

// maxModality is what a value of VR CS has at most (PS3.5 section 6.2).
const maxModality = 16

// modality returns the series' modality, "" when it has none or one that is none.
func (r *seriesRecord) modality() string {
	for a := range attributes(r.attributes) {
		if a.tag == dict.Modality {
			if m := trimASCII(a.value); len(m) <= maxModality {
				return string(m)
			}
		}
	}
	return ""
}

func (p *path) key() []byte {
	key := make([]byte, 0, 48)
	key = append(key, p.study[:]...)
	key = append(key, p.series[:]...)
	return append(key, p.instance[:]...)
}

// appendRow appends the value of an instance: the handles of its blob, its
// record without the attributes, and these, in the form that is read fastest.
func appendRow(b []byte, r *store.Row) ([]byte, error) {
	b = append(b, r.Blob.Study[:]...)
	b = append(b, r.Blob.ID[:]...)
	bare := r.Record
	bare.Attributes = nil
	record, err := bare.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	return appendAttributes(appendBytes(b, record), r.Attributes), nil
}

// parseRow reads what appendRow wrote. The attributes refer to b.
func parseRow(b []byte) (r store.Row, err error) {
	s := scanner{b: b}
	copy(r.Blob.Study[:], s.take(len(r.Blob.Study)))
	copy(r.Blob.ID[:], s.take(len(r.Blob.ID)))
	record := s.bytes()
	if s.short {
		return r, errShort
	}
	if err := r.Record.UnmarshalBinary(record); err != nil {
		return r, err
	}
	r.Attributes, err = parseAttributes(s.b)
	return r, err
}
