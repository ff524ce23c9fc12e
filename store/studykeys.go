package store

import (
	"context"
	"fmt"
	"sync"

	"lumen/store/seal"
)

// studyKey is what seals the blobs of one study.
type studyKey struct {
	handle seal.Handle
	key    seal.Key
}

// studyKeys makes sure that instances of one study that come in at the same
// time are sealed under one key, made once. The index knows the study only when
// the first of them is in it. It knows of every key whether an ingest uses it,
// for sweeps: from before the key is there until what it sealed is in the index
// or gone.
type studyKeys struct {
	mu     sync.Mutex
	active map[string]*activeStudy // by Study Instance UID
	users  map[seal.Handle]int
}

// use notes that a key is used, or about to be made, until what it returns is
// called.
func (s *studyKeys) use(study seal.Handle) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = make(map[seal.Handle]int)
	}
	s.users[study]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.users[study]--; s.users[study] == 0 {
			delete(s.users, study)
		}
	}
}

func (s *studyKeys) inUse(study seal.Handle) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[study] > 0
}

type activeStudy struct {
	users int           // guarded by studyKeys.mu
	ready chan struct{} // closed when what follows is set
	key   studyKey
	done  func() // when the last user has gone
	err   error
}

// studyKey returns the key of a study, which is durable, and what to call when
// the instance is in the index or failed, after an error too.
func (a *Archive) studyKey(ctx context.Context, studyUID string) (_ studyKey, release func(), err error) {
	s := &a.studies
	s.mu.Lock()
	study, ok := s.active[studyUID]
	if !ok {
		if s.active == nil {
			s.active = make(map[string]*activeStudy)
		}
		study = &activeStudy{ready: make(chan struct{})}
		s.active[studyUID] = study
	}
	study.users++
	s.mu.Unlock()
	release = func() {
		s.mu.Lock()
		study.users--
		last := study.users == 0
		if last && s.active[studyUID] == study {
			delete(s.active, studyUID)
		}
		s.mu.Unlock()
		if last { // so whoever made it has released it too
			study.done()
		}
	}

	if !ok {
		// Others wait for the result: it must not depend on this caller's patience.
		study.key, study.done, study.err = a.findStudyKey(context.WithoutCancel(ctx), studyUID)
		if study.err != nil {
			s.mu.Lock()
			delete(s.active, studyUID) // the next one tries again
			s.mu.Unlock()
		}
		close(study.ready)
	}
	select {
	case <-study.ready:
		return study.key, release, study.err
	case <-ctx.Done():
		return studyKey{}, release, ctx.Err()
	}
}

// findStudyKey opens the key of a study, or makes one. Release is to be called,
// after an error too.
func (a *Archive) findStudyKey(ctx context.Context, studyUID string) (_ studyKey, release func(), err error) {
	handle, ok, err := a.index.StudyHandle(ctx, studyUID)
	if err != nil {
		return studyKey{}, func() {}, fmt.Errorf("look up the study: %w", err)
	}
	if !ok {
		return a.newStudyKey(ctx, studyUID)
	}
	release = a.studies.use(handle)
	key, err := a.keys.Study(ctx, handle)
	if err != nil {
		return studyKey{}, release, fmt.Errorf("open the study's key: %w", err)
	}
	return studyKey{handle, key}, release, nil
}

// newStudyKey makes a key. Release is to be called, after an error too.
func (a *Archive) newStudyKey(ctx context.Context, studyUID string) (_ studyKey, release func(), err error) {
	handle := seal.NewHandle()
	release = a.studies.use(handle)
	key, err := a.keys.NewStudy(ctx, handle, studyUID)
	if err != nil {
		return studyKey{}, release, fmt.Errorf("make a study key: %w", err)
	}
	return studyKey{handle, key}, release, nil
}
