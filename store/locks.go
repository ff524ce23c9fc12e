package store

import "sync"

// keyedLocks is one mutex per key in use. The zero value is ready to use.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int // holders and waiters, guarded by keyedLocks.mu
}

// lock waits for the key and returns what gives it back.
func (k *keyedLocks) lock(key string) (unlock func()) {
	k.mu.Lock()
	l := k.held[key]
	if l == nil {
		if k.held == nil {
			k.held = make(map[string]*keyedLock)
		}
		l = new(keyedLock)
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()

	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		if l.users--; l.users == 0 {
			delete(k.held, key)
		}
		k.mu.Unlock()
	}
}
