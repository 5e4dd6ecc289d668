package edge

import (
	"cmp"
	"slices"

	"tidings/bus"
	"tidings/edge/wire"
)

// A hole shows by the next message of its topic, and what other topics bring until then is passed on. So what is read for that hole from the
// stream comes late: it rises in its topic, as all does, and lies before what its pattern has come to. Whoever is subscribed is sent it,
// unless he came from behind it; in what is recent it has its place among the others; and what was read from the stream for somebody who
// came back, or fell behind, leaves out what is still to come in this way, or it would come twice.

// isLate reports whether a frame of an `every` topic lies before something that was passed on, or from where somebody was granted a pattern.
func (h *hub) isLate(f *frame) bool {
	return f.topic.every && f.place() != 0 && f.place() <= max(h.at, h.granted)
}

// oweLate owes a lagging connection a late message. If no place that it has been sent all up to has gone past it, it comes in its turn from what
// is recent; otherwise it is remembered by itself, or where those are too many, that it is gone.
func (l *loop) oweLate(c *conn, f *frame) {
	if !c.had(f) {
		return
	}
	g := c.lag
	if len(g.late) >= l.node.cfg.Limits.Replay {
		l.node.metrics.overflow.Inc()
		if g.gone == nil {
			g.gone = map[*topic]bus.Loss{}
		}
		loss, more := g.gone[f.topic]
		if !more {
			loss = bus.Loss{Topic: f.topic.name, After: f.seq - 1}
		}
		loss.Before = f.seq + 1
		g.gone[f.topic] = loss
		return
	}
	i, _ := slices.BinarySearchFunc(g.late, f, bySeq)
	g.late = slices.Insert(g.late, i, f)
}

// inherit has the other subscriptions of a lagging connection owe it what the i-th one did, which has left at a place: of the topics that they
// match as well, where they resumed from before that place. What lies behind the memory of that one is given up, and told.
func (l *loop) inherit(c *conn, i int, left sub, cursor uint64) {
	c.disown()
	if i == len(c.subs) {
		return // none came later, and none that came earlier has anything from it
	}
	after, f := max(left.from, cursor), left.feed
	owed := func(fr *frame) bool { // and the others take it for sent
		heir := c.owes(fr)
		return heir >= i && fr.seq <= c.lag.cursors[heir]
	}
	if after < f.recent.floor {
		l.giveUp(c, i, f, after)
	}
	for k := f.recent.after(after); k < f.recent.n; k++ {
		if fr := f.recent.at(k); owed(fr) {
			l.oweLate(c, fr)
		}
	}
}

// giveUp tells a lagging connection what is behind a feed's memory of the topics of which its subscriptions from the i-th on take that for sent.
func (l *loop) giveUp(c *conn, i int, f *feed, after uint64) {
	for _, v := range f.views {
		loss := bus.Loss{Topic: v.topic.name, After: f.recent.floor}
		for j := i; j < len(c.subs); j++ {
			s := &c.subs[j]
			if from, sent := max(after, s.from), min(c.lag.cursors[j], f.recent.floor); from < sent && v.of(s.feed) {
				loss.After, loss.Before = min(loss.After, from), max(loss.Before, sent+1)
			}
		}
		if v.topic.every && loss.Before > 0 {
			c.lag.queue = append(c.lag.queue, l.gap(loss, wire.GapSlow))
		}
	}
}

// tellGone tells a lagging connection, now that its socket takes something, what was too much to remember.
func (l *loop) tellGone(g *lag) {
	for _, loss := range g.gone {
		g.queue = append(g.queue, l.gap(loss, wire.GapSlow))
	}
	g.gone = nil
}

// disown forgets those late messages that a lagging connection is owed by its places, or not at all, now that these have changed.
func (c *conn) disown() {
	c.lag.late = slices.DeleteFunc(c.lag.late, func(f *frame) bool { return !c.had(f) })
}

// passed leaves out of what was read from the stream, up to a place, what has not been passed on here and is still to come: live, or late.
// What lies before the place of which the hub was sure has been.
func (l *loop) passed(frames []*frame, sure, upTo uint64) []*frame {
	frames = until(frames, upTo)
	n := len(until(frames, sure))
	passed := frames[:n:n]
	for _, f := range frames[n:] {
		if l.hasPassed(f) {
			passed = append(passed, f)
		}
	}
	return passed
}

func (l *loop) hasPassed(f *frame) bool {
	v := l.views[f.topic]
	return v == nil || f.seq <= v.seq
}

// until is those of frames, which rise in seq, that lie before a place or at it.
func until(frames []*frame, seq uint64) []*frame {
	n, _ := slices.BinarySearchFunc(frames, seq, func(f *frame, seq uint64) int { return cmp.Compare(f.seq, seq+1) })
	return frames[:n]
}
