package edge

// A client may come from a place that this edge has not come to: another edge was told first, or this one still reads what it
// missed. What is then passed on here up to that place the client has, and is not sent. That is over once something from behind that
// place was passed on, of whatever topic, since nothing that matters follows it from before.

// isAhead notes that a subscription resumed from beyond all that was passed on here.
func (l *loop) isAhead(c *conn, s *sub, since uint64) {
	if since > s.feed.seq && since > l.at {
		s.ahead, c.ahead = true, max(c.ahead, since)
	}
}

// hasHad reports whether a connection that is ahead had a frame where it came from: by each of its subscriptions that match.
func (l *loop) hasHad(c *conn, v *view, f *frame) bool {
	if l.at > c.ahead {
		c.ahead = 0
		c.aside()
		return false
	}
	at := f.seq
	if f.lost { // what this edge lost up to there, it has as well
		at = f.upTo
	}
	if at == 0 {
		return false
	}
	for i := range c.subs {
		if s := &c.subs[i]; v.of(s.feed) && (!s.ahead || at > s.live) {
			return false
		}
	}
	return true
}

// passed is the place up to which all of a subscription has been passed on, here or where it came from.
func (s *sub) passed() uint64 {
	if s.ahead {
		return max(s.feed.seq, s.live)
	}
	return s.feed.seq
}

// aside works out anew whether a connection is served beside the chain of a turn.
func (c *conn) aside() { c.slow = c.lag != nil || c.pace != nil || c.ahead > 0 }
