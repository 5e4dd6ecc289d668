package edge

import (
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
	"tidings/edge/wire"
)

// session is who a connection's client is: what its token said, until a refresh says otherwise. It belongs to the connection's
// loop. The connections of an open edge share one, which nobody changes.
type session struct {
	*auth.Session

	counted bool   // among the connections of its user
	name    string // of the connection, as `connected` has it; empty where nobody may act
	token   string // for the publishers of its actions, which verify it themselves; empty where nobody may act
	acts    acts

	warn   time.Time // when its client is told that the token expires, by the wall clock; zero: it was, or never
	looked time.Time // when that, and the token's end, is looked at next; zero: never
}

// lookEvery bounds the time between two looks at a session that ends: exp is a time of the wall clock, which may be set
// while a timer runs, or stand still with the machine.
const lookEvery = 30 * time.Second

// warnLeast is the shortest time before its token expires at which a client is told: below it there is none to do anything.
const warnLeast = 200 * time.Millisecond

// plan notes when a connection's session ends, and when its client is to be told. A session that others share has no end.
func (l *loop) plan(slot uint32, c *conn) {
	s := c.session
	if s == l.node.anyone {
		return
	}
	s.warn = time.Time{}
	if s.Ends.IsZero() {
		return
	}
	left := s.Expires.Sub(l.now.Round(0))
	if before := min(l.node.cfg.ExpiryWarning, left/4); before >= warnLeast {
		s.warn = s.Expires.Round(0).Add(-before)
	}
	l.lookAt(slot, c)
}

// lookAt sets the timer of the next look at a session that ends. A refresh that ends sooner needs one more; the later one then
// finds nothing to do.
func (l *loop) lookAt(slot uint32, c *conn) {
	s := c.session
	next := s.Ends
	if !s.warn.IsZero() {
		next = s.warn
	}
	at := l.now.Add(max(0, min(next.Sub(l.now.Round(0)), lookEvery)))
	if s.looked.After(l.now) && !at.Before(s.looked) {
		return
	}
	s.looked = at
	l.timers.add(at, timer{slot: slot, gen: c.gen, kind: sessionTimer})
}

// checkSession closes a connection whose token has expired (4401), and tells a client whose token is about to. What is allowed for
// clocks that differ is allowed here too: closed before it, a client could come back with the same token, again and again.
func (l *loop) checkSession(slot uint32, c *conn) {
	s := c.session
	if c.state != serving || s.Ends.IsZero() {
		return
	}
	switch now := l.now.Round(0); {
	case !now.Before(s.Ends.Round(0)):
		l.shut(slot, c, wire.CloseTokenExpired, "the token has expired")
		return
	case !s.warn.IsZero() && !now.Before(s.warn):
		s.warn = time.Time{}
		if !c.leaving {
			l.warn(slot, c, s.Ends.Sub(now))
		}
	}
	l.lookAt(slot, c)
}

// warn asks a client whose token expires soon to come back with a new one, while this connection goes on delivering. One that refreshes
// its token instead may stay.
func (l *loop) warn(slot uint32, c *conn, left time.Duration) {
	window := min(l.node.cfg.DrainWindow, left/2)
	l.tell(slot, c, wire.AppendGoingAway(l.text[:0], l.now.UnixMilli(), "token_expiring", 0, window.Milliseconds(), left.Milliseconds()))
}

// expires is the end of a session as `connected` tells it, Unix milliseconds; 0: none.
func (s *session) expires() int64 {
	if s.Expires.IsZero() {
		return 0
	}
	return s.Expires.UnixMilli()
}

// lacks is the index of the first pattern that the grants do not cover, or -1.
func (s *session) lacks(list []bus.Pattern) int {
	return slices.IndexFunc(list, func(p bus.Pattern) bool { return !s.MaySubscribe(p) })
}

// forbidden is the answer to a subscribe whose i-th pattern is not granted.
func forbidden(i int, p bus.Pattern) *wire.Error {
	return &wire.Error{Code: wire.Forbidden, Topic: string(p),
		Message: fmt.Sprintf("topics[%d]: the token does not grant all of %s; ask for less, or get a token that grants it", i, p)}
}
