package seal

import (
	"container/list"
	"sync"
)

// lru keeps the keys of the studies used last.
type lru struct {
	mu    sync.Mutex
	limit int
	order *list.List // of lruEntry, the last used first
	byID  map[Handle]*list.Element
}

type lruEntry struct {
	id  Handle
	key Key
}

func newLRU(limit int) *lru {
	return &lru{limit: limit, order: list.New(), byID: map[Handle]*list.Element{}}
}

func (l *lru) get(id Handle) (Key, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[id]
	if !ok {
		return Key{}, false
	}
	l.order.MoveToFront(e)
	return e.Value.(lruEntry).key, true
}

func (l *lru) put(id Handle, key Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byID[id]; ok {
		e.Value = lruEntry{id, key}
		l.order.MoveToFront(e)
		return
	}
	l.byID[id] = l.order.PushFront(lruEntry{id, key})
	if l.order.Len() > l.limit {
		last := l.order.Back()
		delete(l.byID, l.order.Remove(last).(lruEntry).id)
	}
}

func (l *lru) remove(id Handle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byID[id]; ok {
		l.order.Remove(e)
		delete(l.byID, id)
	}
}
