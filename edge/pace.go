package edge

import "time"

// pace is what a connection needs to remember that asked for some latest topics no more often than its interval.
type pace struct {
	intervals map[*feed]time.Duration // of the subscriptions that asked for one
	topics    map[*view]*paced
	timed     bool // a timer is set for the next value that waits
}

// paced is one topic of a pace.
type paced struct {
	next time.Time // before then, nothing is sent
	due  bool      // a value came meanwhile
}

// slowDown has the values of a feed come to a connection no more often than an interval.
func (c *conn) slowDown(f *feed, interval time.Duration) {
	if c.pace == nil {
		c.pace = &pace{intervals: map[*feed]time.Duration{}, topics: map[*view]*paced{}}
	}
	c.pace.intervals[f] = interval
}

// interval is how far apart a connection wants two values of a topic: the shortest of all subscriptions that match. 0: as
// they come.
func (c *conn) interval(v *view) time.Duration {
	var shortest time.Duration
	for i := range c.subs {
		s := &c.subs[i]
		if !s.feed.pattern.Matches(v.topic.name) {
			continue
		}
		d := c.pace.intervals[s.feed]
		if d == 0 {
			return 0
		}
		if shortest == 0 || d < shortest {
			shortest = d
		}
	}
	return shortest
}

// tooSoon reports whether a value has to wait for its topic's interval, and sees to it that the newest one is sent
// then.
func (l *loop) tooSoon(slot uint32, c *conn, v *view) bool {
	interval := c.interval(v)
	if interval == 0 {
		return false
	}
	p := c.pace.of(v)
	if !l.now.Before(p.next) {
		p.next = l.now.Add(interval)
		return false
	}
	if p.due {
		l.node.metrics.conflated.Inc()
	}
	p.due = true
	l.pace(slot, c)
	return true
}

// pacedBy begins the intervals of the topics of which a connection was just brought values.
func (l *loop) pacedBy(c *conn, frames []*frame) {
	if c.pace == nil {
		return
	}
	for _, f := range frames {
		if f.topic == nil || f.topic.every {
			continue
		}
		v := l.view(f.topic)
		if interval := c.interval(v); interval != 0 {
			c.pace.of(v).next = l.now.Add(interval)
		}
	}
}

// of is what a pace remembers of a topic.
func (p *pace) of(v *view) *paced {
	if p.topics[v] == nil {
		p.topics[v] = &paced{}
	}
	return p.topics[v]
}

// pace sets the timer for the value that is to be sent next.
func (l *loop) pace(slot uint32, c *conn) {
	if c.pace.timed {
		return
	}
	var next time.Time
	for _, p := range c.pace.topics {
		if p.due && (next.IsZero() || p.next.Before(next)) {
			next = p.next
		}
	}
	if !next.IsZero() {
		c.pace.timed = true
		l.timers.add(next, timer{slot: slot, gen: c.gen, kind: paceTimer})
	}
}

// paced sends the values whose time has come.
func (l *loop) paced(slot uint32, c *conn) {
	if c.pace == nil {
		return
	}
	c.pace.timed = false
	for v, p := range c.pace.topics {
		if !p.due || l.now.Before(p.next) {
			continue
		}
		p.due = false
		p.next = l.now.Add(c.interval(v))
		l.oweValue(slot, c, v)
	}
	l.pace(slot, c)
}

// oweValue owes a connection the newest value of a topic.
func (l *loop) oweValue(slot uint32, c *conn, v *view) {
	switch {
	case v.last == nil:
	case c.lag != nil:
		l.outdate(c, v)
	default:
		l.owe(slot, c, v.last)
	}
}

// repace keeps a connection's pace in step with its subscriptions.
func (l *loop) repace(slot uint32, c *conn) {
	switch {
	case c.pace == nil:
	case len(c.pace.intervals) == 0:
		c.pace = nil
	default:
		for v, p := range c.pace.topics {
			if c.interval(v) != 0 {
				continue
			}
			delete(c.pace.topics, v)
			if p.due && c.matches(v.topic.name) { // it need not wait any more
				l.oweValue(slot, c, v)
			}
		}
	}
	c.aside()
}
