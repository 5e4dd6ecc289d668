package edge

import (
	"sync"
	"time"
)

// accounts remember what each address, or each user, holds and did of late. They are touched when a connection comes or goes, and
// never for a message. Nothing is kept of whom there is nothing to remember, so they grow with the open connections and not with
// the number of those who were here.
type accounts[K comparable] struct {
	mu    sync.Mutex
	open  map[K]account
	sweep int // at so many they are looked through
}

// account is what is remembered of one.
type account struct {
	held    int    // connections that are open
	acts    int    // actions that run
	rate    bucket // of its handshakes, or actions
	refused bucket // of its actions that were refused, and are to be recorded
}

// idle reports whether there is nothing to remember.
func (a account) idle(now time.Time) bool {
	return a.held == 0 && a.acts == 0 && a.rate.full(now) && a.refused.full(now)
}

// sweepMin is the number of accounts below which it is not worth looking for those that can go.
const sweepMin = 1024

// take takes one out of an account's bucket, or says how long until that is possible.
func (a *accounts[K]) take(key K, r rate, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	if wait = r.take(&got.rate, now, 1); wait == 0 {
		a.put(key, got, now)
	}
	return wait
}

// enter counts one more connection of an account, unless it has so many already.
func (a *accounts[K]) enter(key K, most int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	if got.held >= most {
		return false
	}
	got.held++
	a.put(key, got, now)
	return true
}

// leave takes one connection off an account.
func (a *accounts[K]) leave(key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	got.held--
	a.open[key] = got
	if got == (account{}) {
		delete(a.open, key)
	}
}

// begin counts an action of an account that runs from now on, unless so many do already or its bucket is empty: then it says which,
// and for the bucket how long.
func (a *accounts[K]) begin(key K, most int, r rate, now time.Time) (full bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	if got.acts >= most {
		return true, 0
	}
	if wait = r.take(&got.rate, now, 1); wait == 0 {
		got.acts++
		a.put(key, got, now)
	}
	return false, wait
}

// end takes an action off an account.
func (a *accounts[K]) end(key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	got.acts--
	a.open[key] = got
}

// refuse takes one out of an account's bucket of refused actions; false: it is empty.
func (a *accounts[K]) refuse(key K, r rate, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.open[key]
	if r.take(&got.refused, now, 1) > 0 {
		return false
	}
	a.put(key, got, now)
	return true
}

// put remembers an account. When there are twice as many as there were after the last look, those without a connection and with a
// full bucket go.
func (a *accounts[K]) put(key K, got account, now time.Time) {
	if a.open == nil {
		a.open, a.sweep = map[K]account{}, sweepMin
	}
	a.open[key] = got
	if len(a.open) < a.sweep {
		return
	}
	for k, old := range a.open {
		if old.idle(now) {
			delete(a.open, k)
		}
	}
	a.sweep = max(sweepMin, 2*len(a.open))
}
