package publisher

import (
	"sync"
	"time"

	"tidings/bus"
)

const (
	maxMemories = 1024             // actions that have ended, of which the outcome is remembered
	memoryAge   = 10 * time.Minute // for which it is: far longer than anybody waits for one
)

// asking is what makes two requests one: the same key from the same person.
type asking struct{ by, key string }

// memory is how the actions of late ended, so that a request that comes twice is done once.
type memory struct {
	mu    sync.Mutex
	of    map[asking]*ending
	order []asking // by when they began
}

// ending is what becomes of an action.
type ending struct {
	asked  string // the container as it was asked for
	verb   bus.Verb
	begun  time.Time
	known  chan struct{} // closed when what follows is set
	result bus.ActionResult
	err    *bus.ActionError
}

func newMemory() *memory { return &memory{of: make(map[asking]*ending)} }

// begin returns the ending of an action, and whether the caller is the first to ask for it, and so has to bring it about.
func (m *memory) begin(who asking, asked string, verb bus.Verb, now time.Time) (e *ending, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e = m.of[who]; e != nil && now.Sub(e.begun) < memoryAge {
		return e, false
	}
	m.forget(now)
	e = &ending{asked: asked, verb: verb, begun: now, known: make(chan struct{})}
	m.of[who] = e
	m.order = append(m.order, who)
	return e, true
}

// forget makes room for one more. What has not ended stays: it is bounded by whoever lets actions begin.
func (m *memory) forget(now time.Time) {
	kept := m.order[:0]
	excess := len(m.order) + 1 - maxMemories
	for _, who := range m.order {
		e := m.of[who]
		if e.ended() && (excess > 0 || now.Sub(e.begun) >= memoryAge) {
			delete(m.of, who)
			excess--
			continue
		}
		kept = append(kept, who)
	}
	m.order = kept
}

func (e *ending) ended() bool {
	select {
	case <-e.known:
		return true
	default:
		return false
	}
}

// end tells all who asked.
func (e *ending) end(result bus.ActionResult, err *bus.ActionError) {
	e.result, e.err = result, err
	close(e.known)
}

// outcome is what end was told, as an ActionHandler returns it.
func (e *ending) outcome() (bus.ActionResult, error) {
	if e.err != nil {
		return bus.ActionResult{}, e.err
	}
	return e.result, nil
}
