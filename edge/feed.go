package edge

import (
	"maps"
	"slices"
	"time"

	"tidings/bus"
)

// feed is a pattern as one loop holds it: who subscribes to it, where it stands, and what came of late.
type feed struct {
	pattern bus.Pattern
	open    bool       // granted by the hub
	seq     uint64     // all of the pattern up to this place has been passed on
	subs    []uint32   // slots of the subscribers
	wanted  int        // subscribes under way that name it
	waiting []*pending // those of them that wait for the grant, and some that are over
	views   []*view    // of the topics it matches
	recent  ring       // frames of its `every` topics
	idle    time.Time  // since when nobody subscribes to it
	listed  bool       // in the loop's list of idle feeds
}

// view is a topic as one loop sees it.
type view struct {
	topic    *topic
	seq      uint64 // all of it up to this place has been passed on, or was before the loop wanted it
	last     *frame // newest, of a latest topic
	retained *frame // newest that did not bypass the stream
	feeds    []*feed
}

// of reports whether a feed matches the topic. A client that lags is asked this of each of its subscriptions for each
// message, so it is looked up and not worked out anew: with 50 subscriptions that was a third of what such a client cost.
func (v *view) of(f *feed) bool { return slices.Contains(v.feeds, f) }

// take notes the newest frame of a latest topic.
func (v *view) take(f *frame) {
	v.last = f
	if f.seq != 0 || f.gone {
		v.retained = f
	}
}

// value is the view's retained message; nil if there is none.
func (v *view) value() *frame {
	if v.retained == nil || v.retained.gone {
		return nil
	}
	return v.retained
}

// feed finds the feed of a pattern, and asks the hub for it where it is new.
func (l *loop) feed(p bus.Pattern) *feed {
	f := l.feeds[p]
	if f == nil {
		f = &feed{pattern: p}
		l.feeds[p] = f
		if !p.IsTopic() {
			l.wild = append(l.wild, f)
		}
		hub := l.node.hub
		hub.mail.put(func() { hub.want(asker{l, f}, p) })
	}
	return f
}

// await has a subscribe wait for a feed's grant.
func (f *feed) await(p *pending) {
	if len(f.waiting) > 2*f.wanted { // most have given up: NATS has been away for long
		f.waiting = slices.DeleteFunc(f.waiting, func(p *pending) bool { return p.over })
	}
	f.waiting = append(f.waiting, p)
	p.waiting++
}

// granted opens a feed.
func (l *loop) granted(g grant) {
	f := g.feed
	if l.feeds[f.pattern] != f { // it has been let go of, and perhaps begun anew
		return
	}
	f.open, f.seq, f.recent.floor = true, g.at.Seq, g.at.Seq
	for _, k := range g.topics {
		v := l.view(k.topic)
		v.seq = max(v.seq, k.seq)
		if k.last != nil && (v.retained == nil || k.last.seq > v.retained.seq) {
			v.take(k.last)
		}
	}
	waiting := f.waiting
	f.waiting = nil
	for _, p := range waiting {
		if !p.over {
			p.waiting--
			l.proceed(p.conn.slot, l.conns.at(p.conn.slot))
		}
	}
}

// learn notes how far the hub had passed topics on, which the loop has come to as well: what tells it comes in order with the messages.
func (l *loop) learn(topics []known) {
	for _, k := range topics {
		v := l.views[k.topic]
		if v == nil && slices.ContainsFunc(l.feedsOf(k.topic.name), func(f *feed) bool { return f.open }) {
			v = l.view(k.topic)
		}
		if v != nil {
			v.seq = max(v.seq, k.seq)
		}
	}
}

// viewOf finds the view of a topic that some feed here has brought.
func (l *loop) viewOf(t *topic) *view {
	if v := l.views[t]; v != nil {
		return v
	}
	return l.view(t)
}

// view finds the view of a topic, and makes it when the topic is new here; feeds that are new are added to it.
func (l *loop) view(t *topic) *view {
	v := l.views[t]
	if v == nil {
		v = &view{topic: t}
		l.views[t] = v
	}
	for _, f := range l.feedsOf(t.name) {
		if !slices.Contains(v.feeds, f) {
			v.feeds = append(v.feeds, f)
			f.views = append(f.views, v)
		}
	}
	return v
}

// feedsOf lists the feeds that match a topic.
func (l *loop) feedsOf(name bus.Topic) []*feed {
	var list []*feed
	if f := l.feeds[bus.Pattern(name)]; f != nil {
		list = append(list, f)
	}
	for _, f := range l.wild {
		if f.pattern.Matches(name) {
			list = append(list, f)
		}
	}
	return list
}

// join makes a connection a subscriber of a feed.
func (l *loop) join(slot uint32, c *conn, s sub) {
	s.place = uint32(len(s.feed.subs))
	s.feed.subs = append(s.feed.subs, slot)
	c.subs = append(c.subs, s)
	l.node.metrics.subscriptions.Inc()
}

// leave ends the i-th subscription of a connection.
func (l *loop) leave(c *conn, i int) {
	s := c.subs[i]
	f := s.feed
	last := len(f.subs) - 1
	moved := f.subs[last]
	f.subs[s.place] = moved
	f.subs = f.subs[:last]
	if int(s.place) != last {
		other := l.conns.at(moved)
		for j := range other.subs {
			if other.subs[j].feed == f {
				other.subs[j].place = s.place
			}
		}
	}
	l.idleIfUnused(f)
	c.subs = slices.Delete(c.subs, i, i+1)
	if c.pace != nil {
		delete(c.pace.intervals, f)
	}
	if c.lag != nil {
		cursor := c.lag.cursors[i]
		c.lag.cursors = slices.Delete(c.lag.cursors, i, i+1)
		l.inherit(c, i, s, cursor)
		maps.DeleteFunc(c.lag.stale, func(v *view, _ uint64) bool { return !c.matches(v.topic.name) })
	}
	l.node.metrics.subscriptions.Dec()
}

// used reports whether somebody subscribes to a feed, or is about to.
func (f *feed) used() bool { return len(f.subs) > 0 || f.wanted > 0 }

// idleIfUnused has a feed without subscribers swept after the linger.
func (l *loop) idleIfUnused(f *feed) {
	if f.used() {
		return
	}
	f.idle = l.now
	if !f.listed {
		f.listed = true
		l.idle = append(l.idle, f)
	}
}

// idleMax is how many feeds without subscribers a loop keeps for those who may come back. Beyond it the oldest go before
// their time, or a client that subscribes to ever new patterns and leaves them could make them add up.
const idleMax = 1024

// sweep lets go of feeds that nobody has subscribed to for the linger, so that a page that is loaded again finds
// them still there.
func (l *loop) sweep() {
	excess := len(l.idle) - idleMax
	l.idle = slices.DeleteFunc(l.idle, func(f *feed) bool {
		excess--
		if !f.used() && excess < 0 && l.now.Sub(f.idle) < l.node.cfg.Linger {
			return false
		}
		f.listed = false
		if !f.used() {
			l.unfeed(f)
		}
		return true
	})
}

// unfeed lets go of a feed.
func (l *loop) unfeed(f *feed) {
	delete(l.feeds, f.pattern)
	l.wild = slices.DeleteFunc(l.wild, func(g *feed) bool { return g == f })
	for f.recent.n > 0 {
		l.forget(f)
	}
	for _, v := range f.views {
		v.feeds = slices.DeleteFunc(v.feeds, func(g *feed) bool { return g == f })
		if !slices.ContainsFunc(v.feeds, func(g *feed) bool { return g.open }) {
			l.unview(v)
		}
	}
	hub, p := l.node.hub, f.pattern
	hub.mail.put(func() { hub.release(l, p) })
}

// unview forgets a topic. A feed that is not open yet hears of it anew when it is.
func (l *loop) unview(v *view) {
	delete(l.views, v.topic)
	for _, f := range v.feeds {
		f.views = slices.DeleteFunc(f.views, func(w *view) bool { return w == v })
	}
}

// keep adds a frame to what is recent of a feed, within the loop's budget.
func (l *loop) keep(f *feed, fr *frame) {
	before := f.recent.bytes
	f.recent.add(fr, l.node.cfg.Limits.Recent)
	l.recentBytes += f.recent.bytes - before
	if l.recentBytes <= l.node.cfg.Limits.RecentBytes {
		return
	}
	// Over budget: every feed gives up the older half of what it keeps. Seldom, so nothing is
	// kept in order for it.
	for _, f := range l.feeds {
		for n := (f.recent.n + 1) / 2; n > 0; n-- {
			l.forget(f)
		}
	}
}

func (l *loop) forget(f *feed) { l.lose(f, f.recent.drop) }

func (l *loop) forgetNewest(f *feed) { l.lose(f, f.recent.dropNewest) }

func (l *loop) lose(f *feed, drop func()) {
	before := f.recent.bytes
	drop()
	l.recentBytes += f.recent.bytes - before
}
