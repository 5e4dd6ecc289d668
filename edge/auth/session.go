package auth

import (
	"strings"
	"time"

	"tidings/bus"
)

// Session is who a client is, and what it may do: what a token says once it has been verified.
type Session struct {
	Subject   string        // the token's sub; empty: it has none
	Expires   time.Time     // the token's exp; zero: it has none
	Ends      time.Time     // when Verify begins to refuse the token: Expires and the leeway for clocks that differ; zero: never
	Subscribe []bus.Pattern // what it may subscribe to: any pattern that one of these covers wholly
	Act       []ActPattern  // what it may do to containers
}

// MaySubscribe tells whether one of the grants covers all of a pattern.
func (s *Session) MaySubscribe(p bus.Pattern) bool {
	for _, granted := range s.Subscribe {
		if granted.Covers(p) {
			return true
		}
	}
	return false
}

// MayAct tells whether one of the grants covers an action on a container, which is known by its name: an id has to be looked up
// by whoever asks. A dot in the name is written "-" in grants. Nobody may act on what could not be named by a grant.
func (s *Session) MayAct(host, container string, verb bus.Verb) bool {
	container = strings.ReplaceAll(container, ".", "-")
	if !isToken(host) || !isToken(container) || !isToken(string(verb)) {
		return false
	}
	asked := bus.Pattern(host + "." + container + "." + string(verb))
	for _, granted := range s.Act {
		if bus.Pattern(granted).Covers(asked) {
			return true
		}
	}
	return false
}

// Anyone is the session of a client of an open edge: it may subscribe to everything and do nothing.
func Anyone() *Session { return &Session{Subscribe: []bus.Pattern{">"}} }
