package edge

import (
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// pending is a request that can't be answered yet: a subscribe that waits for NATS, or one with a token that is being verified. Meanwhile
// nothing else of its connection is looked at.
type pending struct {
	conn  ref
	id    uint64
	over  bool // answered, or its connection has ended
	since time.Time

	token *verification // nil: it waits for none

	// Of a subscribe.
	wants   []want
	waiting int  // grants and replays that are still to come
	failed  bool // NATS could not be read
}

// want is one pattern of a subscribe.
type want struct {
	wire.Want
	feed     *feed
	held     bool // subscribed already: nothing moves
	replayed *replayed
	asked    bool // whether the stream reaches the position, which lies beyond what has been passed on here
	beyond   bool // it does not
}

// pendingTimeout is how long a subscribe waits for NATS before it is refused.
const pendingTimeout = 10 * time.Second

// subscribe takes a subscribe whole, or refuses it whole.
func (l *loop) subscribe(slot uint32, c *conn, r wire.Request) {
	list, err := patterns(r.Topics)
	if err != nil {
		l.bad(slot, c, r.ID, err)
		return
	}
	if i := c.session.lacks(list); i >= 0 {
		l.fail(slot, c, r.ID, forbidden(i, list[i]))
		return
	}
	if p, ok := l.node.tooWide(list); ok {
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.LimitExceeded, Message: l.node.widthAdvice(p)})
		return
	}
	p := &pending{conn: ref{slot, c.gen}, id: r.ID, wants: make([]want, len(list)), since: l.now}
	added := map[bus.Pattern]bool{}
	for i, pattern := range list {
		p.wants[i].Want = r.Topics[i]
		p.wants[i].held = c.holds(pattern) >= 0 || added[pattern]
		if !p.wants[i].held {
			added[pattern] = true
		}
	}
	if most := l.node.cfg.Limits.Subscriptions; len(c.subs)+len(added) > most {
		l.node.metrics.limited[limitSubscriptions].Inc()
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.LimitExceeded,
			Message: fmt.Sprintf("a connection may hold %d patterns; unsubscribe some, or use wider ones", most)})
		return
	}
	if len(added) > 0 && l.over(slot, c, limitSubscribes, len(added), r.ID) {
		return
	}
	for i, pattern := range list {
		f := l.feed(pattern)
		p.wants[i].feed = f
		f.wanted++
		if !f.open {
			f.await(p)
		}
	}
	c.pending = p
	if p.waiting > 0 {
		l.timers.add(l.now.Add(pendingTimeout), timer{slot: slot, gen: c.gen, kind: pendingTimer})
		return
	}
	l.settle(slot, c)
}

// proceed goes on with a pending subscribe when something that it waited for has come, and then with the requests behind it.
func (l *loop) proceed(slot uint32, c *conn) {
	l.settle(slot, c)
	l.hear(slot, c)
}

// settle takes a pending subscribe as far as it gets: first all feeds have to be open, then what is to be replayed
// has to be there.
func (l *loop) settle(slot uint32, c *conn) {
	p := c.pending
	if p.waiting == 0 && !p.failed {
		for i := range p.wants {
			if !l.reachFor(slot, c, p, i) {
				l.replayFor(slot, c, p, i)
			}
		}
	}
	if p.waiting > 0 {
		return
	}
	if p.failed {
		l.fail(slot, c, p.id, &wire.Error{Code: wire.Unavailable, RetryAfter: 5 * time.Second,
			Message: "this node can't reach its data right now; subscribe again in a moment"})
	} else {
		l.complete(slot, c, p)
	}
	l.finish(c)
}

// finish lets go of a pending subscribe, however it ended.
func (l *loop) finish(c *conn) {
	p := c.pending
	if p == nil {
		return
	}
	c.pending, p.over = nil, true
	if p.token != nil {
		l.node.desk.giveUp(p.token)
	}
	for i := range p.wants {
		f := p.wants[i].feed
		f.wanted--
		l.idleIfUnused(f)
	}
}

// reachFor asks whether the stream reaches a want's position, where that lies beyond what has been passed on here.
func (l *loop) reachFor(slot uint32, c *conn, p *pending, i int) (asks bool) {
	w := &p.wants[i]
	if w.Since != nil && l.doubt.of(w.Since.Seq) {
		w.beyond = true
		return false
	}
	if w.held || w.asked || w.Since == nil || w.Since.Epoch != l.epoch || w.Since.Seq <= w.feed.seq {
		return false
	}
	w.asked = true
	l.waitFor(slot, c, p)
	hub, seq := l.node.hub, w.Since.Seq
	hub.mail.put(func() {
		hub.reaches(seq, func(reaches bool, err error) {
			l.post(func(l *loop) {
				if p.over {
					return
				}
				w.beyond = !reaches
				p.failed = p.failed || err != nil
				p.waiting--
				l.proceed(p.conn.slot, l.conns.at(p.conn.slot))
			})
		})
	})
	return true
}

// waitFor has a subscribe wait for one more answer.
func (l *loop) waitFor(slot uint32, c *conn, p *pending) {
	p.waiting++
	if p.waiting == 1 {
		l.timers.add(l.now.Add(pendingTimeout), timer{slot: slot, gen: c.gen, kind: pendingTimer})
	}
}

// replayFor asks for what a want still needs from the stream: the last n, or what came after a position that is no longer
// among what is recent. Of a busy topic that may have moved on when it comes, and the rest is asked for.
func (l *loop) replayFor(slot uint32, c *conn, p *pending, i int) {
	w := &p.wants[i]
	// Of latest topics the newest value is all that a client is brought after a position, and that is at hand.
	values := bus.Topic(w.feed.pattern).Delivery() == bus.Latest
	behind := func(seq uint64) bool { return !values && seq < w.feed.seq && seq < w.feed.recent.floor }
	limit := max(1, l.node.cfg.Limits.Replay/len(p.wants))
	key := newReplayKey([]bus.Pattern{w.feed.pattern}, limit)
	switch got := w.replayed; {
	case w.held:
		return
	case got != nil:
		if !behind(got.at.Seq) || !got.complete || got.more || len(got.frames) >= limit {
			return
		}
		key.after = got.at.Seq
	case w.Since != nil:
		if w.Since.Epoch != l.epoch || w.beyond || !behind(w.Since.Seq) {
			return
		}
		key.after = w.Since.Seq
	case w.Last > 0:
		// Or many topics would add up to the whole stream.
		if most := max(1, limit/max(1, len(w.feed.views))); w.Last > most {
			l.node.metrics.limited[limitReplay].Inc()
			w.Last = most
		}
		key.last = w.Last
	default:
		return
	}
	l.waitFor(slot, c, p)
	hub := l.node.hub
	hub.mail.put(func() {
		hub.replay(key, func(got replayed) {
			l.post(func(l *loop) {
				if p.over {
					return
				}
				w.replayed = w.replayed.then(got)
				w.replayed.more = w.replayed.more || len(w.replayed.frames) > limit
				p.failed = p.failed || got.err != nil || got.at.Epoch != l.epoch
				p.waiting--
				l.proceed(p.conn.slot, l.conns.at(p.conn.slot))
			})
		})
	})
}

// checkPending refuses a subscribe for which NATS does not answer.
func (l *loop) checkPending(slot uint32, c *conn) {
	if p := c.pending; p != nil && p.waiting > 0 && l.now.Sub(p.since) >= pendingTimeout {
		p.waiting, p.failed = 0, true
		l.proceed(slot, c)
	}
}

// complete answers a subscribe: the ack, then what each position or snapshot brings; what is live follows by itself.
func (l *loop) complete(slot uint32, c *conn, p *pending) {
	topics := make([]wire.AckTopic, len(p.wants))
	brought := make([][]*frame, len(p.wants))
	for i := range p.wants {
		w := &p.wants[i]
		at := w.feed.seq
		a := &topics[i]
		*a = wire.AckTopic{Topic: string(w.feed.pattern), Epoch: l.epoch}
		switch {
		case w.held:
			at = c.sent(w.feed)
		case w.Since != nil:
			var recovered bool
			brought[i], recovered = l.resume(w)
			a.Recovered = &recovered
			if recovered {
				at = max(at, w.Since.Seq)
			}
		case w.replayed != nil:
			brought[i] = l.newest(w)
		case w.Snapshot:
			brought[i] = w.feed.snapshot(0)
		}
		a.Seq = at
	}
	l.ack(slot, c, p.id, topics)
	c.subs = slices.Grow(c.subs, len(p.wants))
	var all []*frame
	for i := range p.wants {
		if w := &p.wants[i]; !w.held {
			all = append(all, c.lacks(brought[i])...)
			recovered := topics[i].Recovered != nil && *topics[i].Recovered
			l.subscribed(c, slot, w, topics[i].Seq, recovered)
		}
	}
	// In rising seq over all patterns, so that the last one a client has seen is a position wherever it is cut off.
	slices.SortStableFunc(all, bySeq)
	l.bring(slot, c, all)
	l.repace(slot, c)
	l.pacedBy(c, all)
}

// sent is the place up to which a connection has been sent all of a pattern that it holds: what it lags behind is still to come.
func (c *conn) sent(f *feed) uint64 {
	i := c.holds(f.pattern)
	if i < 0 || c.lag == nil && c.pace == nil {
		return f.seq
	}
	at := f.seq
	owed := func(v *view) {
		if v.last != nil && v.last.seq > 0 && f.pattern.Matches(v.topic.name) {
			at = min(at, v.last.seq-1)
		}
	}
	if c.lag != nil {
		at = c.lag.cursors[i]
		for _, late := range c.lag.late {
			if f.pattern.Matches(late.topic.name) {
				at = min(at, late.seq-1)
			}
		}
		for v := range c.lag.stale {
			owed(v)
		}
	}
	if c.pace != nil {
		for v, p := range c.pace.topics {
			if p.due {
				owed(v)
			}
		}
	}
	return at
}

// bringMax is how many bytes a subscribe may bring in one write. What is more is queued behind it and sent as fast
// as the client takes it.
const bringMax = 64 << 10

func (l *loop) bring(slot uint32, c *conn, frames []*frame) {
	total := 0
	for _, f := range frames {
		if total += len(f.wire); total > bringMax && c.lag == nil {
			l.fallBehind(slot, c)
			l.mark(slot, c)
		}
		// Without its topic: if the socket does not take it, it can't be had from what is recent, and no newer value replaces it.
		l.owe(slot, c, &frame{wire: f.wire, packed: f.packed})
	}
}

func (l *loop) subscribed(c *conn, slot uint32, w *want, at uint64, recovered bool) {
	s := sub{feed: w.feed, from: at, live: at, values: w.Snapshot || w.Since != nil}
	switch {
	case recovered:
		s.from = min(at, w.Since.Seq)
		l.isAhead(c, w.Since.Seq)
	case w.Since == nil:
		s.last = uint16(w.Last)
	}
	l.join(slot, c, s)
	if w.Interval > 0 {
		c.slowDown(w.feed, w.Interval)
	}
	if c.lag != nil {
		c.lag.cursors = append(c.lag.cursors, s.passed())
	}
}

// lacks leaves out of frames, which rise in seq, those that reached a connection by a subscription that it has.
func (c *conn) lacks(frames []*frame) []*frame {
	if len(c.subs) == 0 || len(frames) == 0 {
		return frames
	}
	gave := make([]bool, len(frames))
	for i := range c.subs {
		s := &c.subs[i]
		newer := map[*topic]uint16{} // messages of each topic up to where s was live
		for j, f := range slices.Backward(frames) {
			if f.topic == nil || !s.feed.pattern.Matches(f.topic.name) {
				continue
			}
			if f.seq > s.live || (f.topic.every && f.seq > s.from) {
				gave[j] = true
				continue
			}
			newer[f.topic]++
			if n := newer[f.topic]; n <= s.last || (n == 1 && s.values && !f.topic.every) {
				gave[j] = true
			}
		}
	}
	lacks := make([]*frame, 0, len(frames))
	for j, f := range frames {
		if !gave[j] {
			lacks = append(lacks, f)
		}
	}
	return lacks
}

// snapshot lists the retained values of a feed that are newer than a place, in rising seq.
func (f *feed) snapshot(after uint64) []*frame {
	var values []*frame
	for _, v := range f.views {
		if !v.topic.every {
			if value := v.value(); value != nil && value.seq > after {
				values = append(values, value)
			}
		}
	}
	slices.SortFunc(values, bySeq)
	return values
}

func bySeq(a, b *frame) int {
	switch {
	case a.seq < b.seq:
		return -1
	case a.seq > b.seq:
		return 1
	}
	return 0
}

// newest lists the last n messages of each topic: of those that were read of the stream, and of what has come since.
func (l *loop) newest(w *want) []*frame {
	f, at := w.feed, w.replayed.at.Seq
	var frames []*frame
	for _, fr := range until(w.replayed.frames, f.seq) {
		// What is to come late of an `every` topic lies before where this subscription is live, and would not come by it.
		if fr.topic.every || fr.seq <= w.replayed.sure || l.hasPassed(fr) {
			frames = append(frames, fr)
		}
	}
	for i := f.recent.after(at); i < f.recent.n; i++ {
		frames = append(frames, f.recent.at(i))
	}
	frames = append(frames, f.snapshot(at)...)
	slices.SortStableFunc(frames, bySeq)
	newer := map[*topic]int{}
	first := len(frames)
	for _, fr := range slices.Backward(frames) {
		if newer[fr.topic]++; newer[fr.topic] <= w.Last {
			first--
			frames[first] = fr
		}
	}
	return frames[first:]
}

// resume brings what a client missed since its position, and says whether that is all of it.
func (l *loop) resume(w *want) (frames []*frame, recovered bool) {
	f := w.feed
	if w.Since.Epoch != l.epoch || w.beyond {
		frames = f.snapshot(0)
		for _, v := range f.views {
			if v.topic.every {
				frames = append(frames, l.gap(bus.Loss{Topic: v.topic.name, Before: f.seq + 1}, wire.GapEpoch))
			}
		}
		return frames, false
	}
	since := w.Since.Seq
	recent := since
	if got := w.replayed; got != nil {
		if !got.complete || got.more {
			if got.more {
				l.node.metrics.limited[limitReplay].Inc()
			}
			return l.unrecovered(f, got, since), false
		}
		for _, fr := range l.passed(got.frames, got.sure, f.seq) {
			if fr.topic.every {
				frames = append(frames, fr)
			}
		}
		recent = max(recent, got.at.Seq)
		if recent < f.recent.floor {
			l.node.metrics.limited[limitReplay].Inc()
			return l.unrecovered(f, got, since), false
		}
	}
	for i := f.recent.after(recent); i < f.recent.n; i++ {
		frames = append(frames, f.recent.at(i))
	}
	frames = append(frames, f.snapshot(since)...)
	slices.SortStableFunc(frames, bySeq)
	return frames, true
}

// unrecovered is what follows a position that is no longer wholly retained: the newest values, and a gap for each
// `every` topic of which messages were lost. It starts live, so what is retained of those is lost to this client too.
func (l *loop) unrecovered(f *feed, got *replayed, since uint64) []*frame {
	after := map[bus.Topic]uint64{}
	for _, fr := range got.frames {
		if fr.topic.every {
			after[fr.topic.name] = since
		}
	}
	for _, loss := range got.lost {
		after[loss.Topic] = loss.After
	}
	if got.more { // more than was read: any topic may be among them
		for _, v := range f.views {
			if v.topic.every {
				after[v.topic.name] = since
			}
		}
	}
	frames := f.snapshot(0)
	for name, a := range after {
		frames = append(frames, l.gap(bus.Loss{Topic: name, After: a, Before: f.seq + 1}, wire.GapExpired))
	}
	return frames
}

// gap builds a gap for one connection.
func (l *loop) gap(loss bus.Loss, reason wire.GapReason) *frame {
	l.node.metrics.gaps[reason].Inc()
	return newFrame(wire.AppendGap(nil, string(loss.Topic), l.now.UnixMilli(), loss.After, loss.Before, reason))
}
