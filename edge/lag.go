package edge

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/poll"
	"tidings/edge/wire"
)

// lag is what a connection is owed while its socket takes no more. It holds no messages of its own, but places: how far
// each subscription has got, and which latest topics have a newer value. So what a slow client costs is bounded by what
// it subscribed to. Messages that came late (late.go) no place can tell of, so they are kept, up to a limit.
type lag struct {
	cut     []byte              // rest of the frame that the last write cut in two
	queue   []*frame            // to be sent first: acks, errors, what a subscribe brings back
	fresh   *frame              // a status that is true once all `every` messages before it are sent
	cursors []uint64            // for each sub, the place up to which it has been sent its `every` messages
	late    []*frame            // `every` messages that lie before those places and came after, by rising seq
	gone    map[*topic]bus.Loss // of those, what was too much to remember
	stale   map[*view]uint64    // latest topics with a value to be sent, by the order in which they came to have one
	turns   uint64              // how many have come to
	blocked bool                // the socket is full: wait until it can be written
	asking  bool                // messages are being read from the stream
	moved   time.Time           // when the socket last took something
	share   int                 // bytes of the next write
}

// Limits of one write to a lagging connection, after which the socket is asked again whether it can be written: the kernel takes far more
// at once than it can send, and values that wait there get old. So writes to a socket that drains slowly are small, and chosen late;
// those to one that has room again within a moment become large.
const (
	shareLeast    = 2 << 10
	shareMost     = 32 << 10
	catchUpFrames = 128

	brisk = 50 * time.Millisecond // a socket that has room again so soon may be given twice as much
)

// fallBehind makes a connection lag: from here on it is owed places instead of frames. All that was passed on so far
// counts as sent; what was not is put back after this.
func (l *loop) fallBehind(slot uint32, c *conn) {
	if c.lag != nil {
		return
	}
	g := &lag{cursors: make([]uint64, len(c.subs)), moved: l.now, share: shareLeast}
	for i := range c.subs {
		g.cursors[i] = c.subs[i].passed()
	}
	c.lag, c.slow = g, true
	l.node.metrics.lagging.Inc()
	l.node.metrics.slow.Inc()
	if !c.watched {
		c.watched = true
		l.timers.add(l.now.Add(l.node.cfg.SlowTimeout), timer{slot: slot, gen: c.gen, kind: slowTimer})
	}
	// What the chain of this turn still holds comes first.
	t := &l.turn
	for d := c.head; d >= 0; d = t.dues[d].next {
		g.queue = append(g.queue, t.frames[t.dues[d].frame])
	}
	if c.head >= 0 {
		c.head, c.tail = -1, -1
	}
}

// putBack owes a lagging connection a frame that was passed on to it and not sent.
func (l *loop) putBack(c *conn, f *frame) {
	switch {
	case f.topic == nil || f.lost || f.seq == 0:
		c.lag.append(f)
	case !f.topic.every:
		l.outdate(c, l.viewOf(f.topic))
	case f.late:
		l.oweLate(c, f)
	default:
		v := l.viewOf(f.topic)
		for i := range c.subs {
			if s := &c.subs[i]; f.seq > s.live && v.of(s.feed) {
				c.lag.cursors[i] = min(c.lag.cursors[i], f.seq-1)
			}
		}
	}
}

// append owes a lagging connection a frame that no newer one replaces. A status that all is up to date comes true when what the
// connection is owed by its places has been sent, and not any more where NATS has gone away again.
func (g *lag) append(f *frame) {
	switch {
	case f.fresh:
		g.fresh = f
		return
	case f.stale:
		g.fresh = nil
	}
	g.queue = append(g.queue, f)
}

// outdate notes that a latest topic has a value that the connection has not been sent.
func (l *loop) outdate(c *conn, v *view) {
	if _, ok := c.lag.stale[v]; ok {
		l.node.metrics.conflated.Inc()
		return
	}
	if c.lag.stale == nil {
		c.lag.stale = map[*view]uint64{}
	}
	c.lag.turns++
	c.lag.stale[v] = c.lag.turns
}

// spreadSlow is spread for a connection that lags, paces or is ahead.
func (l *loop) spreadSlow(slot uint32, c *conn, v *view, f *frame) {
	if c.ahead > 0 && l.hasHad(c, v, f) {
		return
	}
	if c.pace != nil && !f.topic.every && !f.lost && l.tooSoon(slot, c, v) {
		return
	}
	switch {
	case c.lag == nil:
		l.owe(slot, c, f)
	case f.lost || (f.seq == 0 && f.topic.every):
		if len(c.lag.queue) >= l.node.cfg.Limits.Replay {
			l.node.metrics.overflow.Inc()
			return
		}
		c.lag.queue = append(c.lag.queue, f)
	case f.late:
		l.oweLate(c, f)
	case !f.topic.every:
		l.outdate(c, v)
	}
	if c.lag != nil && !c.lag.blocked {
		l.mark(slot, c)
	}
}

// block waits until a connection's socket can be written again, which may be now.
func (l *loop) block(slot uint32, c *conn) {
	c.lag.blocked = true
	l.arm(slot, c, c.armed|poll.Writable)
}

// unblock goes on with a connection whose socket can be written again.
func (l *loop) unblock(slot uint32, c *conn) {
	g := c.lag
	g.blocked = false
	if l.now.Sub(g.moved) < brisk {
		g.share = min(2*g.share, shareMost)
	} else {
		g.share = max(g.share/2, shareLeast)
	}
	l.mark(slot, c)
}

// catchUp sends a lagging connection what it is owed: a share of it, if its socket takes that.
func (l *loop) catchUp(slot uint32, c *conn, sent *tally) {
	g := c.lag
	for !g.blocked {
		if len(g.cut) > 0 {
			n, err := c.sock.Write(g.cut)
			sent.bytes += n
			if !l.progress(slot, c, n, err) {
				return
			}
			g.cut = g.cut[n:]
			continue
		}
		g.cut = nil
		batch := l.choose(slot, c)
		if len(batch) == 0 {
			if g.asking {
				l.arm(slot, c, c.armed&^poll.Writable) // or it would be announced all the time
			} else {
				l.caughtUp(slot, c)
			}
			return
		}
		buf := l.text[:0]
		for _, f := range batch {
			buf = append(buf, f.bytes(c.deflate)...)
		}
		l.text = buf[:0]
		n, err := c.sock.Write(buf)
		done := 0
		for rest := n; done < len(batch) && rest > 0; done++ {
			b := batch[done].bytes(c.deflate)
			if rest < len(b) {
				g.cut = b[rest:]
				rest = 0
			} else {
				rest -= len(b)
			}
		}
		for _, f := range batch[:done] {
			l.sentTo(c, f)
		}
		sent.count(done, n)
		if !l.progress(slot, c, n, err) {
			return
		}
		if len(buf) >= g.share {
			l.block(slot, c) // more may be owed
		}
	}
}

// progress notes what a write achieved. False: the connection is no more.
func (l *loop) progress(slot uint32, c *conn, n int, err error) bool {
	if n > 0 {
		c.lag.moved = l.now
	}
	switch {
	case err == nil:
	case errors.Is(err, poll.ErrAgain):
		l.block(slot, c)
	default:
		l.drop(slot, c, closedByPeer)
		return false
	}
	return true
}

// caughtUp ends a connection's lag: it has all that it was owed.
func (l *loop) caughtUp(slot uint32, c *conn) {
	c.lag = nil
	c.aside()
	l.node.metrics.lagging.Dec()
	l.arm(slot, c, poll.Readable)
	if c.input != nil && len(c.input.raw) > 0 {
		r := ref{slot, c.gen}
		l.post(func(l *loop) {
			if c := l.conns.find(r); c != nil {
				l.hear(r.slot, c)
			}
		})
	}
}

// choose picks what to send next: what is queued; then of `every` topics what is recent, in rising seq over all
// subscriptions; then the newest values. Where one pattern may match topics of both kinds, values wait until the
// messages before them are sent, or the highest seq a client has seen would not be a position.
func (l *loop) choose(slot uint32, c *conn) []*frame {
	g := c.lag
	l.tellGone(g)
	batch, size := l.turn.batch[:0], 0
	room := func() bool { return size < g.share && len(batch) < catchUpFrames }
	add := func(f *frame) {
		batch = append(batch, f)
		size += len(f.wire)
	}
	for i := 0; i < len(g.queue) && room(); i++ {
		add(g.queue[i])
	}
	if len(batch) == len(g.queue) {
		behind := l.chooseEvery(slot, c, room, add)
		if !behind && g.fresh != nil {
			add(g.fresh)
		}
		if !behind || !c.mixes() {
			for _, v := range l.values(c) {
				if !room() && len(batch) > 0 {
					break
				}
				add(v.last)
			}
		}
	}
	l.turn.batch = batch
	return batch
}

// values lists the stale topics of a lagging connection. Each has its turn: whose value has waited longest comes first, for in the order
// of their places those that a beat publishes last would never come before the next beat. Where one position may stand for topics
// of both kinds they come in rising seq all the same, so that here too the highest seq it has seen is a position.
func (l *loop) values(c *conn) []*view {
	g := c.lag
	list := slices.AppendSeq(l.turn.values[:0], maps.Keys(g.stale))
	if c.mixes() {
		slices.SortFunc(list, func(a, b *view) int { return bySeq(a.last, b.last) })
	} else {
		slices.SortFunc(list, func(a, b *view) int { return cmp.Compare(g.stale[a], g.stale[b]) })
	}
	l.turn.values = list
	return list
}

// chooseEvery merges what the feeds of a connection keep behind its cursors. It reports whether more is to come, be
// it that there was no room or that the stream has to be read.
func (l *loop) chooseEvery(slot uint32, c *conn, room func() bool, add func(*frame)) (behind bool) {
	g := c.lag
	next := l.turn.next[:0]
	for i := range c.subs {
		r := &c.subs[i].feed.recent
		if g.cursors[i] < r.floor {
			l.ask(slot, c)
			return true
		}
		next = append(next, r.after(g.cursors[i]))
	}
	l.turn.next = next
	late := g.late
	for {
		var first *frame
		if len(late) > 0 {
			first = late[0]
		}
		for i := range c.subs {
			r := &c.subs[i].feed.recent
			if next[i] < r.n {
				if f := r.at(next[i]); first == nil || f.seq < first.seq {
					first = f
				}
			}
		}
		if first == nil {
			return false
		}
		if !room() {
			return true
		}
		for i := range c.subs {
			r := &c.subs[i].feed.recent
			if next[i] < r.n && r.at(next[i]) == first {
				next[i]++
			}
		}
		if len(late) > 0 && first == late[0] {
			late = late[1:]
			add(first)
		} else if !c.had(first) {
			add(first)
		}
	}
}

// mixes reports whether one position of a connection may stand for topics of both kinds.
func (c *conn) mixes() bool {
	if c.onePosition {
		return true
	}
	for i := range c.subs {
		if p := c.subs[i].feed.pattern; p[0] == '*' || p[0] == '>' {
			return true
		}
	}
	return false
}

// had reports whether a lagging connection has been sent an `every` message, by the place of the subscription that owes it.
func (c *conn) had(f *frame) bool {
	i := c.owes(f)
	return i >= 0 && f.seq <= c.lag.cursors[i]
}

// owes is which subscription owes an `every` message: the first that matches, for what later ones brought was without that. None: -1.
func (c *conn) owes(f *frame) int {
	return slices.IndexFunc(c.subs, func(s sub) bool { return s.from < f.seq && s.feed.pattern.Matches(f.topic.name) })
}

// sentTo strikes a frame from what a lagging connection is owed.
func (l *loop) sentTo(c *conn, f *frame) {
	g := c.lag
	switch {
	case len(g.queue) > 0 && g.queue[0] == f:
		g.queue[0] = nil
		if g.queue = g.queue[1:]; len(g.queue) == 0 {
			g.queue = nil
		}
	case f == g.fresh:
		g.fresh = nil
	case f.topic.every:
		if len(g.late) > 0 && g.late[0] == f {
			g.late = slices.Delete(g.late, 0, 1)
		}
		v := l.viewOf(f.topic)
		for i := range c.subs {
			if v.of(c.subs[i].feed) {
				g.cursors[i] = max(g.cursors[i], f.seq)
			}
		}
	default:
		delete(g.stale, l.views[f.topic])
	}
}

// checkSlow gives up a client whose socket has taken nothing for too long.
func (l *loop) checkSlow(slot uint32, c *conn) {
	c.watched = false
	if c.lag == nil {
		return
	}
	left := l.node.cfg.SlowTimeout
	if c.lag.blocked {
		left -= l.now.Sub(c.lag.moved)
	}
	if left <= 0 {
		l.shut(slot, c, wire.CloseTooSlow, "too slow")
		return
	}
	c.watched = true
	l.timers.add(l.now.Add(left), timer{slot: slot, gen: c.gen, kind: slowTimer})
}
