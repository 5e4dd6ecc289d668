package docker

import (
	"fmt"
	"time"

	"github.com/moby/moby/api/types/events"
)

const (
	// remembered bounds the events that are recognised when they come twice.
	// Docker keeps its last 256 for those who ask since when.
	remembered = 1024
	// overlap is how far before the last event a resumed stream begins. Stamps
	// are not quite in order, and Podman rounds what it is asked.
	overlap = time.Second
)

// position is where in an engine's events this source stands, over reconnects.
type position struct {
	base time.Time // of the engine's clock: what happened before is no news
	last identity  // the last event that was seen; zero: none yet

	seen map[identity]struct{}
	ring [remembered]identity // the same, in order of arrival
	next int                  // place in ring

	resuming bool // it has not been seen yet whether the engine still has last
}

// identity tells two events apart.
type identity struct {
	timeNano int64
	id       string
	action   events.Action
}

func newPosition(base time.Time) *position {
	return &position{base: base, seen: make(map[identity]struct{}, remembered)}
}

// since is what to ask an engine for, to miss nothing: Unix seconds with nine
// decimals.
func (p *position) since() string {
	from := p.base
	if p.last.timeNano > 0 {
		if t := time.Unix(0, p.last.timeNano).Add(-overlap); t.After(from) {
			from = t
		}
	}
	return fmt.Sprintf("%d.%09d", from.Unix(), from.Nanosecond())
}

// broke notes that the stream has ended, and is to be resumed.
func (p *position) broke() { p.resuming = p.last.timeNano > 0 }

// take moves the position past an event. It is false for one that was seen
// before. Since a resumed stream begins before the last event that was seen,
// that one comes before all new ones, or else it was forgotten by the engine and
// others may have been with it: outcome is breakResumed or breakLost, once per
// break, and empty otherwise.
func (p *position) take(m events.Message) (fresh bool, outcome string) {
	at := eventTime(m)
	if at.Before(p.base) {
		return false, ""
	}
	i := identity{timeNano: at.UnixNano(), id: m.Actor.ID, action: m.Action}
	if m.Type == events.NetworkEventType {
		i.id += m.Actor.Attributes["container"]
	}
	if _, again := p.seen[i]; again {
		if p.resuming && i == p.last {
			p.resuming = false
			return false, breakResumed
		}
		return false, ""
	}
	if p.resuming {
		p.resuming = false
		outcome = breakLost
	}
	delete(p.seen, p.ring[p.next])
	p.ring[p.next] = i
	p.next = (p.next + 1) % remembered
	p.seen[i] = struct{}{}
	p.last = i
	return true, outcome
}
