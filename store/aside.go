package store

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"lumen/store/seal"
)

// maxAside is how many quarantined versions are remembered, at about 100 bytes
// each. Of one study with more than that a version may be kept twice.
const maxAside = 1 << 17

// asideSets remembers which contents are kept aside in the studies that had
// conflicts last, each by the hash of its instance and digest: a sender that has
// made many versions of one instance must not make the next one dearer. It holds
// nothing that is not in the facts, from which a study's set is read at its first
// conflict.
type asideSets struct {
	max int

	mu      sync.Mutex
	order   list.List // of *asideSet, the one used last first
	studies map[seal.Handle]*list.Element
	count   int // of versions and studies
}

type asideSet struct {
	study seal.Handle
	count int // guarded by asideSets.mu; 0 when it is not in there any more

	mu    sync.Mutex
	blobs map[[32]byte]seal.Handle // nil until it was read
}

func asideKey(sopInstanceUID string, digest [32]byte) [32]byte {
	return sha256.Sum256(append(digest[:], sopInstanceUID...))
}

// of returns the set of a study.
func (s *asideSets) of(study seal.Handle) *asideSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.studies[study]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*asideSet)
	}
	if s.studies == nil {
		s.studies = make(map[seal.Handle]*list.Element)
	}
	set := &asideSet{study: study}
	s.studies[study] = s.order.PushFront(set)
	s.grow(set, 1)
	return set
}

// grew notes that a set has n versions more, and lets go of those used longest
// ago.
func (s *asideSets) grew(set *asideSet, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set.count > 0 {
		s.grow(set, n)
	}
}

func (s *asideSets) grow(set *asideSet, n int) {
	set.count += n
	s.count += n
	for s.count > s.max && s.order.Len() > 1 {
		last := s.order.Remove(s.order.Back()).(*asideSet)
		delete(s.studies, last.study)
		s.count -= last.count
		last.count = 0
	}
}

// add remembers a version whose fact is durable. A set that was not read yet
// will be read with it.
func (s *asideSets) add(row Row) {
	set := s.of(row.Blob.Study)
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.blobs == nil || len(set.blobs) >= s.max {
		return
	}
	set.blobs[asideKey(row.SOPInstanceUID, row.Digest)] = row.Blob.ID
	s.grew(set, 1)
}

// findQuarantined looks for the same content kept aside under the same study
// key before.
func (a *Archive) findQuarantined(ctx context.Context, row Row) (BlobRef, bool, error) {
	set := a.aside.of(row.Blob.Study)
	set.mu.Lock() // so that it is read once
	defer set.mu.Unlock()
	blobs := set.blobs
	if blobs == nil {
		found, all, err := a.listQuarantined(ctx, row.Blob)
		if err != nil {
			return BlobRef{}, false, err
		}
		if blobs = found; all {
			set.blobs = blobs
			a.aside.grew(set, len(blobs))
		}
	}
	key := asideKey(row.SOPInstanceUID, row.Digest)
	id, ok := blobs[key]
	if !ok {
		return BlobRef{}, false, nil
	}
	ref := BlobRef{Study: row.Blob.Study, ID: id}
	if _, err := a.blobs.Stat(ctx, a.name(ref)); errors.Is(err, ErrNotFound) {
		a.log.Error("a blob that was kept aside is missing, what was sent again takes its place", "blob", a.name(ref))
		if set.blobs != nil {
			delete(set.blobs, key)
			a.aside.grew(set, -1)
		}
		return BlobRef{}, false, nil
	}
	return ref, true, nil
}

// listQuarantined reads the facts of the study of a blob. All is false when
// some of them could not be had now.
func (a *Archive) listQuarantined(ctx context.Context, in BlobRef) (blobs map[[32]byte]seal.Handle, all bool, err error) {
	blobs, all = make(map[[32]byte]seal.Handle), true
	name := a.name(in)
	for info, err := range a.blobs.List(ctx, name[:strings.LastIndexByte(name, '/')+1]) {
		if err != nil {
			return nil, false, fmt.Errorf("list quarantined blobs: %w", err)
		}
		ref, kind := a.parseName(info.Name)
		if kind != objectQuarantine {
			continue
		}
		fact, err := a.readQuarantined(ctx, ref)
		if err != nil {
			a.log.Error("quarantine fact cannot be read", "error", err)
			all = all && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound))
			continue
		}
		blobs[asideKey(fact.SOPInstanceUID, fact.Digest)] = ref.ID
		if len(blobs) >= a.aside.max {
			break
		}
	}
	return blobs, all, nil
}
