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
// the first of them is in it.
type studyKeys struct {
	mu     sync.Mutex
	active map[string]*activeStudy // by Study Instance UID
}

type activeStudy struct {
	users int           // guarded by studyKeys.mu
	ready chan struct{} // closed when key and err are set
	key   studyKey
	err   error
}

// studyKey returns the key of a study, which is durable, and what to call when
// the instance is in the index or failed.
func (a *Archive) studyKey(ctx context.Context, studyUID string) (studyKey, func(), error) {
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
	release := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if study.users--; study.users == 0 && s.active[studyUID] == study {
			delete(s.active, studyUID)
		}
	}

	if !ok {
		// Others wait for the result: it must not depend on this caller's patience.
		study.key, study.err = a.findStudyKey(context.WithoutCancel(ctx), studyUID)
		if study.err != nil {
			s.mu.Lock()
			delete(s.active, studyUID) // the next one tries again
			s.mu.Unlock()
		}
		close(study.ready)
	}
	select {
	case <-study.ready:
	case <-ctx.Done():
		release()
		return studyKey{}, nil, ctx.Err()
	}
	if study.err != nil {
		release()
		return studyKey{}, nil, study.err
	}
	return study.key, release, nil
}

// findStudyKey opens the key of a study, or makes one.
func (a *Archive) findStudyKey(ctx context.Context, studyUID string) (studyKey, error) {
	handle, ok, err := a.index.StudyHandle(ctx, studyUID)
	if err != nil {
		return studyKey{}, fmt.Errorf("look up the study: %w", err)
	}
	if !ok {
		return a.newStudyKey(ctx, studyUID)
	}
	key, err := a.keys.Study(ctx, handle)
	if err != nil {
		return studyKey{}, fmt.Errorf("open the study's key: %w", err)
	}
	return studyKey{handle, key}, nil
}

func (a *Archive) newStudyKey(ctx context.Context, studyUID string) (studyKey, error) {
	handle, key, err := a.keys.NewStudy(ctx, studyUID)
	if err != nil {
		return studyKey{}, fmt.Errorf("make a study key: %w", err)
	}
	return studyKey{handle, key}, nil
}
