package edge

// A client may come from a place that this edge has not come to: another edge was told first, or this one still reads what it
// missed. What is then passed on here up to that place the client has, and is not sent. That is over once something from behind that
// place was passed on, of whatever topic: what follows from before it all the same is late (late.go), of which each is asked.

// isAhead notes that a connection resumed from beyond all that was passed on here.
func (l *loop) isAhead(c *conn, since uint64) {
	if since > l.at {
		c.ahead = max(c.ahead, since)
	}
}

// hasHad reports whether a connection that is ahead had a frame where it came from.
func (l *loop) hasHad(c *conn, v *view, f *frame) bool {
	if l.at > c.ahead {
		c.ahead = 0
		c.aside()
		return false
	}
	return c.beyond(v, f)
}

// beyond reports whether a connection came from behind a frame: by each of its subscriptions that match. What its edge lost up to where it
// came from it has as well.
func (c *conn) beyond(v *view, f *frame) bool {
	at := f.place()
	if at == 0 {
		return false
	}
	for i := range c.subs {
		s := &c.subs[i]
		start := s.live
		if f.topic.every {
			start = s.from
		}
		if at > start && v.of(s.feed) {
			return false
		}
	}
	return true
}

// passed is the place up to which all of a subscription has been passed on, here or where it came from.
func (s *sub) passed() uint64 { return max(s.feed.seq, s.from) }

// aside works out anew whether a connection is served beside the chain of a turn.
func (c *conn) aside() { c.slow = c.lag != nil || c.pace != nil || c.ahead > 0 }
