package index

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sort"

	bolt "go.etcd.io/bbolt"

	"lumen/dicom/dict"
	"lumen/store"
)

// budget is how many records a search for series or instances that names no
// UID may open: newest studies first, then it ends with [store.ErrBudget].
const budget = 200_000

// Search yields what matches: studies newest first, series by number, instances
// by number; see [store.Index].
func (db *DB) Search(ctx context.Context, q *store.Query) iter.Seq2[store.Match, error] {
	return func(yield func(store.Match, error) bool) {
		if err := db.Sync(ctx); err != nil {
			yield(store.Match{}, err)
			return
		}
		s := search{db: db, ctx: ctx, q: q, assembly: q.Assembly(), skip: q.Offset, left: q.Limit, yield: yield}
		if s.left <= 0 {
			s.left = int(^uint(0) >> 1)
		}
		if err := s.run(); err != nil && !s.stopped {
			yield(store.Match{}, err)
		}
	}
}

// search is one search under way.
type search struct {
	db       *DB
	ctx      context.Context
	q        *store.Query
	assembly *store.Assembly
	yield    func(store.Match, error) bool
	skip     int // matches still to pass over
	left     int // matches still to yield
	stopped  bool
	bounded  bool // has a work budget
	opened   int  // records

	series    map[token]bool // only these, when not nil
	instances []path         // only these, when not nil
}

// emit yields a match, unless it is passed over. It reports whether to go on.
func (s *search) emit(path ...*store.Entity) bool {
	if s.skip > 0 {
		s.skip--
		return true
	}
	if !s.yield(s.assembly.Match(path...), nil) {
		s.stopped = true
		return false
	}
	s.left--
	return s.left > 0
}

func (s *search) run() error {
	studies, named, err := s.named()
	if err != nil {
		return err
	}
	if named {
		return s.runNamed(studies)
	}
	s.bounded = s.q.Level > store.StudyLevel
	return s.runTable()
}

// named returns the studies that the query names by UIDs: its own, or those of
// its series or instances.
func (s *search) named() (studies []token, named bool, err error) {
	tokens := func(kind string, tag dict.Tag) (list []token) {
		for _, uid := range s.q.Exact(tag) {
			list = append(list, s.db.token(kind, uid))
		}
		return list
	}
	if list := tokens(kindInstance, dict.SOPInstanceUID); len(list) > 0 {
		named, s.instances, s.series = true, []path{}, make(map[token]bool)
		err = s.db.view(func(tx *bolt.Tx) error {
			r := s.db.reader(tx)
			for _, t := range list {
				p, ok, err := r.locate(t)
				if err != nil {
					return err
				}
				if ok {
					s.series[p.series] = true
					s.instances = append(s.instances, p)
					studies = append(studies, p.study)
				}
			}
			return nil
		})
	} else if list := tokens(kindSeries, dict.SeriesInstanceUID); len(list) > 0 {
		named, s.series = true, make(map[token]bool)
		for _, t := range list {
			parents, err := s.db.parents(t)
			if err != nil {
				return nil, true, err
			}
			s.series[t] = true
			studies = append(studies, parents...)
		}
	} else if list := tokens(kindStudy, dict.StudyInstanceUID); len(list) > 0 {
		named, studies = true, list
	}
	slices.SortFunc(studies, func(a, b token) int { return cmp.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(studies), named, err
}

// runNamed searches the given studies.
func (s *search) runNamed(studies []token) error {
	found, err := s.read(studies)
	if err != nil {
		return err
	}
	x := extractor{sets: &s.db.sets}
	keys := make(map[token]orderKey, len(found))
	for _, f := range found {
		c, err := x.columns(f.token, f.record)
		if err != nil {
			return damaged(err)
		}
		keys[f.token] = c.key
	}
	slices.SortFunc(found, func(a, b studyEntry) int {
		x, y := keys[a.token], keys[b.token]
		return x.compare(&y)
	})
	_, err = s.descend(found)
	return err
}

// studyEntry is a study that matches.
type studyEntry struct {
	token  token
	record *studyRecord
	entity *store.Entity
}

// read opens the records of studies and returns those that match.
func (s *search) read(studies []token) (found []studyEntry, err error) {
	err = s.db.view(func(tx *bolt.Tx) error {
		r := s.db.reader(tx)
		defer func() { s.opened += r.opened }()
		for _, t := range studies {
			record, err := r.study(t)
			if err != nil {
				return err
			}
			if record == nil {
				continue // removed meanwhile
			}
			e, err := record.entity()
			if err != nil {
				return err
			}
			if s.q.Matches(e) {
				found = append(found, studyEntry{t, record, e})
			}
		}
		return nil
	})
	return found, err
}

// runTable walks the study table from the newest study on.
func (s *search) runTable() error {
	t := s.db.table.Load()
	p := s.db.newPlan(s.q)
	first := sort.Search(len(t.blocks), func(i int) bool {
		b := t.blocks[i]
		return b.keys[b.len()-1].date <= p.newest
	})
	skippable := p.conclusive && s.q.Level == store.StudyLevel
	rows := make([]int, 0, pageRows)
	page := make([]token, 0, pageRows)
	for _, b := range t.blocks[first:] {
		if b.keys[0].date < p.oldest {
			break
		}
		from := sort.Search(b.len(), func(i int) bool { return b.keys[i].date <= p.newest })
		to := sort.Search(b.len(), func(i int) bool { return b.keys[i].date < p.oldest })
		for from < to {
			if s.ctx.Err() != nil {
				return context.Cause(s.ctx)
			}
			if skippable && len(p.predicates) == 0 && s.skip > 0 {
				n := min(s.skip, to-from)
				s.skip, from = s.skip-n, from+n
				continue
			}
			rows, from = candidates(rows[:0], b, from, to, p.predicates, s.pageSize()-len(page))
			if skippable && s.skip > 0 {
				n := min(s.skip, len(rows))
				s.skip, rows = s.skip-n, rows[n:]
			}
			for _, row := range rows {
				page = append(page, b.keys[row].token)
			}
			if len(page) >= s.pageSize() {
				if goOn, err := s.page(page); !goOn || err != nil {
					return err
				}
				page = page[:0]
			}
		}
	}
	_, err := s.page(page)
	return err
}

// pageSize is how many candidates are looked at together: as many as may be
// needed.
func (s *search) pageSize() int {
	if s.q.Level > store.StudyLevel {
		return 16
	}
	return min(pageRows, max(s.left, 16))
}

func (s *search) page(studies []token) (goOn bool, err error) {
	found, err := s.read(studies)
	if err != nil {
		return false, err
	}
	return s.descend(found)
}

// descend yields what matches of and below the studies.
func (s *search) descend(studies []studyEntry) (goOn bool, err error) {
	for _, study := range studies {
		if s.q.Level == store.StudyLevel {
			if !s.emit(study.entity) {
				return false, nil
			}
			continue
		}
		if goOn, err := s.searchSeries(study); !goOn || err != nil {
			return false, err
		}
		if s.bounded && s.opened > s.db.budget {
			return false, store.ErrBudget
		}
	}
	return true, nil
}

func (s *search) searchSeries(study studyEntry) (goOn bool, err error) {
	var list []seriesEntry
	err = s.db.view(func(tx *bolt.Tx) (err error) {
		r := s.db.reader(tx)
		defer func() { s.opened += r.opened }()
		list, err = r.series(study.token, func(t token, e *store.Entity) bool {
			return (s.series == nil || s.series[t]) && s.q.Matches(e)
		})
		return err
	})
	if err != nil {
		return false, err
	}
	for _, series := range list {
		if s.q.Level == store.SeriesLevel {
			if !s.emit(study.entity, series.entity) {
				return false, nil
			}
			continue
		}
		if goOn, err := s.searchInstances(study, series); !goOn || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s *search) searchInstances(study studyEntry, series seriesEntry) (goOn bool, err error) {
	pass := func(r *store.Row) bool { return s.q.Matches(instanceEntity(r)) }
	rows := s.db.rows(s.ctx, study.token, series.token, &s.opened, pass)
	if s.instances != nil {
		rows = s.db.rowsAt(s.ctx, s.instances, study.token, series.token, pass)
	}
	for row, err := range rows {
		if err != nil {
			return false, err
		}
		if !s.emit(study.entity, series.entity, instanceEntity(&row)) {
			return false, nil
		}
	}
	return true, nil
}
