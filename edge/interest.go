package edge

import (
	"context"
	"slices"
	"time"

	"tidings/bus"
)

// interest is a pattern that some loop holds, at the hub. It is loading until the edge knows the last message of
// every topic that the pattern matches, and ready from then on.
type interest struct {
	pattern bus.Pattern
	loops   uint64    // bit set: loops that hold it
	via     *interest // the interest that covers it; nil: it has a subscription of its own at NATS
	ready   bool
	closed  bool
	loaded  uint64                    // all up to this place of the stream is accounted for
	waiting []asker                   // to be told when it is ready
	early   map[bus.Topic]bus.Message // newest live message of each topic that came while it was loading
}

// asker is a loop, and the feed for which it asks. The hub hands the feed back and does not look into it.
type asker struct {
	loop *loop
	feed *feed
}

// grant is what a loop learns when a pattern that it asked for is ready: from where it will miss nothing, and the
// newest message of each topic.
type grant struct {
	feed   *feed
	at     bus.Position
	topics []known
}

// known is a topic, how far the hub has passed it on and, if it is a latest one with a message retained, that message.
type known struct {
	topic *topic
	seq   uint64
	last  *frame
}

// want records that a loop wants a pattern. The loop is granted it when it is ready.
func (h *hub) want(a asker, p bus.Pattern) {
	in := h.interests[p]
	if in == nil {
		in = h.open(p)
	}
	in.loops |= a.loop.bit()
	if !in.ready {
		in.waiting = append(in.waiting, a)
		return
	}
	h.grant(in, a)
}

// open begins an interest: subscribed at NATS, if nothing covers it, and queued to be loaded.
func (h *hub) open(p bus.Pattern) *interest {
	in := &interest{pattern: p}
	h.interests[p] = in
	h.metrics.patterns.Inc()
	if !p.IsTopic() {
		h.wild = append(h.wild, in)
	}
	for _, w := range h.wild {
		if w != in && w.via == nil && w.pattern.Covers(p) {
			in.via = w
			break
		}
	}
	switch {
	case in.via == nil:
		h.subscribe(in)
		h.loading = append(h.loading, in)
	case in.via.ready: // whose messages and topics are this one's too
		in.ready, in.loaded = true, in.via.loaded
		h.each(p, h.rewire)
	default:
		h.loading = append(h.loading, in)
	}
	return in
}

func (h *hub) subscribe(in *interest) {
	if h.leaving[in.pattern] != nil { // its subscription is still there
		delete(h.leaving, in.pattern)
		return
	}
	if err := h.listener.Add(in.pattern); err != nil {
		// Only a closed connection refuses; what it means is told by the connection's state.
		h.log.Error("subscribe at NATS", "pattern", string(in.pattern), "error", err)
	}
}

// loadTimeout bounds one attempt to read from NATS what an interest needs.
const loadTimeout = 5 * time.Second

// load reads the last message of each topic of all interests that wait for it, in one go. Those that come
// meanwhile are read together next.
func (h *hub) load() {
	if len(h.loading) == 0 || h.reading || h.repairing {
		return
	}
	batch := h.loading
	h.loading = nil
	patterns := make([]bus.Pattern, len(batch))
	for i, in := range batch {
		patterns[i] = in.pattern
	}
	h.reading = true
	h.work(func(ctx context.Context) func() {
		var snapshot bus.Snapshot
		err := h.patiently(ctx, "load topics", func(ctx context.Context) (err error) {
			// Once the subscriptions are in force, nothing can fall between what is read here and what comes live.
			if err = h.bus.Flush(ctx); err == nil {
				snapshot, err = h.bus.Last(ctx, patterns...)
			}
			// What came live before it was read is on this side of the line then.
			if err == nil {
				err = h.bus.Flush(ctx)
			}
			return err
		})
		return func() {
			h.reading = false
			if err != nil {
				return
			}
			h.takeIn()
			if h.repairing { // messages before the snapshot are held back
				h.loading = append(slices.DeleteFunc(batch, func(in *interest) bool { return in.closed }), h.loading...)
				return
			}
			h.loadedAll(batch, snapshot)
			h.load()
		}
	})
}

// loadedAll makes interests ready.
func (h *hub) loadedAll(batch []*interest, snapshot bus.Snapshot) {
	if h.setEpoch(snapshot.Position.Epoch) {
		defer func() { h.repair("the stream was made anew", h.roots(), 0) }()
	}
	if !h.anyReady() { // so that nothing before it was to be passed on
		h.at = max(h.at, snapshot.Position.Seq)
	}
	fresh := map[bus.Topic]bool{} // topics that no interest was ready for: what was read is news of them
	for _, m := range snapshot.Messages {
		fresh[m.Topic] = h.topics[m.Topic] == nil
		if m.Seq > h.trail.tip.Seq {
			h.trail.pass(m)
		}
	}
	for _, in := range batch {
		if in.closed {
			continue
		}
		in.ready, in.loaded = true, snapshot.Position.Seq
		for name, m := range in.early {
			in.loaded = max(in.loaded, m.Seq)
			if _, seen := fresh[name]; !seen {
				fresh[name] = h.topics[name] == nil
			}
		}
	}
	learn := func(m bus.Message) {
		t := h.topic(m.Topic)
		switch {
		case t == nil || t.every || !fresh[m.Topic] || (t.last != nil && m.Seq <= t.last.seq):
		case m.Gone:
			t.last = nil
		default:
			t.last = h.frame(t, m)
		}
	}
	for _, m := range snapshot.Messages {
		learn(m)
	}
	for _, in := range batch {
		for _, m := range in.early {
			if m.Seq > snapshot.Position.Seq { // or the snapshot knows better: it may have lapsed since
				learn(m)
			}
		}
		in.early = nil
	}
	for _, in := range batch {
		if in.closed {
			continue
		}
		h.each(in.pattern, h.rewire)
		for _, a := range in.waiting {
			h.grant(in, a)
		}
		in.waiting = nil
		h.cover(in)
	}
}

// cover ends the subscriptions of those interests that a new one covers.
func (h *hub) cover(in *interest) {
	if in.via != nil || in.pattern.IsTopic() {
		return
	}
	for _, q := range h.interests {
		if q != in && q.via == nil && in.pattern.Covers(q.pattern) {
			q.via = in
			for _, r := range h.interests {
				if q.pattern.IsTopic() {
					break // it covers nothing
				}
				if r.via == q {
					r.via = in
				}
			}
			h.unsubscribe(q)
		}
	}
}

func (h *hub) unsubscribe(in *interest) {
	if err := h.listener.Remove(in.pattern); err != nil {
		h.log.Error("unsubscribe at NATS", "pattern", string(in.pattern), "error", err)
	}
}

// grant tells a loop that it has what it asked for. From the loop's inbox it comes in order with the messages.
func (h *hub) grant(in *interest, a asker) {
	g := grant{feed: a.feed, at: bus.Position{Epoch: h.epoch, Seq: max(h.at, in.loaded)}}
	h.each(in.pattern, func(t *topic) {
		t.loops |= a.loop.bit()
		g.topics = append(g.topics, known{t, t.seq, t.last})
	})
	h.granted = max(h.granted, g.at.Seq)
	a.loop.post(func(l *loop) { l.granted(g) })
}

// release records that a loop no longer holds a pattern. The last one ends the subscription at NATS; the
// linger was the loop's.
func (h *hub) release(l *loop, p bus.Pattern) {
	in := h.interests[p]
	if in == nil {
		return
	}
	in.loops &^= l.bit()
	in.waiting = slices.DeleteFunc(in.waiting, func(a asker) bool { return a.loop == l })
	if in.loops == 0 {
		h.close(in)
	}
	h.each(p, h.rewire)
}

func (h *hub) close(in *interest) {
	in.closed = true
	delete(h.interests, in.pattern)
	h.metrics.patterns.Dec()
	h.wild = slices.DeleteFunc(h.wild, func(w *interest) bool { return w == in })
	h.loading = slices.DeleteFunc(h.loading, func(w *interest) bool { return w == in })
	if in.via != nil {
		return
	}
	if h.uncover(in) {
		h.unsubscribeLater(in)
	} else {
		h.unsubscribe(in)
	}
}

// uncover gives those that an interest covered a subscription of their own, or another one that covers them. It reports
// whether any was opened.
func (h *hub) uncover(in *interest) (opened bool) {
	var bare []*interest
	for _, q := range h.interests {
		if q.via == in {
			q.via = nil
			bare = append(bare, q)
		}
	}
	for _, q := range bare {
		for _, w := range h.wild {
			if w != q && w.pattern.Covers(q.pattern) {
				q.via = w
				if w.via != nil {
					q.via = w.via
				}
				break
			}
		}
	}
	for _, q := range bare {
		for q.via != nil && q.via.via != nil { // covered by one that was bare too
			q.via = q.via.via
		}
		if q.via == nil {
			h.subscribe(q)
			opened = true
		}
	}
	return opened
}

// unsubscribeLater ends a subscription once those that take its place are in force at NATS.
func (h *hub) unsubscribeLater(in *interest) {
	h.leaving[in.pattern] = in
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		err := h.bus.Flush(ctx)
		return func() {
			if err != nil {
				h.log.Debug("flush subscriptions", "error", err) // NATS is away, and all is read again when it is back
			}
			if h.leaving[in.pattern] == in {
				delete(h.leaving, in.pattern)
				h.unsubscribe(in)
			}
		}
	})
}
