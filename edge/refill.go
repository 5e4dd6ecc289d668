package edge

import (
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// ask has the stream read for a connection that is behind what is recent. All subscriptions that are behind move on together:
// what one of them got ahead of another that matches it too would come twice, or out of order.
func (l *loop) ask(slot uint32, c *conn) {
	g := c.lag
	if g.asking {
		return
	}
	g.asking = true
	after := ^uint64(0)
	var patterns []bus.Pattern
	for i := range c.subs {
		if c.behind(i) {
			patterns = append(patterns, c.subs[i].feed.pattern)
			after = min(after, g.cursors[i])
		}
	}
	r := ref{slot, c.gen}
	hub := l.node.hub
	key := newReplayKey(patterns, refillRead)
	key.after, key.refill = after, true
	hub.mail.put(func() {
		hub.replay(key, func(got replayed) {
			l.post(func(l *loop) { l.refilled(r, key, got) })
		})
	})
}

// behind reports whether `every` messages have been passed on that a subscription of a lagging connection may be owed.
func (c *conn) behind(i int) bool {
	f := c.subs[i].feed
	return c.lag.cursors[i] < f.seq && bus.Topic(f.pattern).Delivery() == bus.Every
}

// refillRead is how many messages are read at a time for a client that fell behind.
const refillRead = 256

// refilled queues what the stream had for a lagging connection, and says what it had no more.
func (l *loop) refilled(r ref, key replayKey, got replayed) {
	c := l.conns.find(r)
	if c == nil || c.lag == nil {
		return
	}
	g := c.lag
	g.asking = false
	if got.err != nil {
		// NATS is away; it will be asked again when the connection is looked after next.
		l.timers.add(l.now.Add(time.Second), timer{slot: r.slot, gen: r.gen, kind: askTimer})
		return
	}
	if got.at.Epoch != l.epoch { // of a stream that is no more
		l.mark(r.slot, c)
		return
	}
	wanted := key.split()
	reached := got.at.Seq
	if n := len(got.frames); got.more && n > 0 {
		reached = got.frames[n-1].seq
	}
	for i := range c.subs {
		if c.behind(i) && !slices.Contains(wanted, c.subs[i].feed.pattern) { // it fell behind, or came, meanwhile
			reached = min(reached, g.cursors[i])
		}
	}
	for _, loss := range got.lost {
		loss.Before = min(loss.Before, reached+1) // what is behind that is found again
		if after := c.missed(loss.Topic, wanted); after+1 < loss.Before {
			loss.After = max(loss.After, after)
			g.queue = append(g.queue, l.gap(loss, wire.GapSlow))
		}
	}
	late := 0 // what came late has its place among these
	for late < len(g.late) && g.late[late].seq <= reached {
		late++
	}
	brought := slices.Clone(g.late[:late])
	g.late = slices.Delete(g.late, 0, late)
	for _, f := range l.passed(got.frames, got.sure, reached) {
		if f.topic.every && c.owed(f) {
			brought = append(brought, f)
		}
	}
	slices.SortFunc(brought, bySeq)
	g.queue = append(g.queue, brought...)
	for i := range c.subs {
		if feed := c.subs[i].feed; slices.Contains(wanted, feed.pattern) {
			g.cursors[i] = max(g.cursors[i], min(reached, feed.seq)) // what was read early is still to come live
		}
	}
	l.mark(r.slot, c)
}

// missed is the place behind which a lagging connection has not been sent a topic's messages, as far as some patterns go.
func (c *conn) missed(t bus.Topic, of []bus.Pattern) uint64 {
	after := ^uint64(0) - 1
	for i := range c.subs {
		if s := &c.subs[i]; s.feed.pattern.Matches(t) && slices.Contains(of, s.feed.pattern) {
			after = min(after, max(s.from, c.lag.cursors[i]))
		}
	}
	return after
}

// owed reports whether a lagging connection is still to be sent an `every` message that has been passed on.
func (c *conn) owed(f *frame) bool {
	i := c.owes(f)
	return i >= 0 && c.lag.cursors[i] < f.seq && f.seq <= c.subs[i].feed.seq
}
