package edge

import (
	"fmt"
	"slices"
	"testing"

	"tidings/bus"
)

// What a slow client costs is bounded by what it subscribed to, not by what is published.
func TestSlowClient_CostsPlacesNotMessages(t *testing.T) {
	s := set(t)
	l := s.loop
	cfg := &l.node.cfg
	cfg.Limits.Recent, cfg.Limits.RecentBytes = 64, 100<<10
	s.clients(1)
	c := l.conns.at(0)
	topics := []*topic{s.feed.views[0].topic}
	for i := range 3 {
		f, tp := s.latest(bus.Topic(fmt.Sprintf("metrics.%d", i)))
		l.join(0, c, sub{feed: f})
		topics = append(topics, tp)
	}
	l.fallBehind(0, c)
	l.block(0, c)
	const many = 20_000
	for i := range many {
		tp := topics[i%len(topics)]
		s.seq++
		l.spread(dataFrame(tp, bus.Message{Topic: tp.name, Seq: s.seq, Payload: payload512}, false))
		l.flush()
		if len(c.lag.queue) > 0 || len(c.lag.stale) > 3 || len(c.lag.cursors) != 4 || s.feed.recent.n > 64 || l.recentBytes > 100<<10 {
			t.Fatalf("after %d messages it is owed %d frames, %d values and %d places, and %d messages with %d bytes are kept",
				i+1, len(c.lag.queue), len(c.lag.stale), len(c.lag.cursors), s.feed.recent.n, l.recentBytes)
		}
	}
	// Messages that bypassed the stream can be had nowhere else, so they are queued, up to a limit.
	for range many {
		l.spread(dataFrame(topics[0], bus.Message{Topic: topics[0].name, Payload: payload512}, false))
		l.flush()
	}
	if got, most := len(c.lag.queue), cfg.Limits.Replay; got > most {
		t.Errorf("%d frames are queued, at most %d may be", got, most)
	}
}

// A client that can't take all values of a beat before the next gets those next that it did not get: each topic has its turn.
func TestSlowClient_EachTopicHasItsTurn(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	l.leave(c, 0)
	var topics []*topic
	for i := range 10 {
		f, tp := s.latest(bus.Topic(fmt.Sprintf("metrics.%d", i)))
		l.join(0, c, sub{feed: f})
		topics = append(topics, tp)
	}
	l.fallBehind(0, c)
	l.block(0, c)
	came := map[*topic]int{} // in which beat
	for beat := 1; beat <= 20; beat++ {
		for _, tp := range topics {
			s.seq++
			l.spread(dataFrame(tp, bus.Message{Topic: tp.name, Seq: s.seq, Payload: payload512}, false))
		}
		before := s.seq - uint64(len(topics))
		for _, f := range l.choose(0, c)[:4] { // that is all it takes in a beat
			if f.seq <= before {
				t.Errorf("%s@%d is not its newest", f.topic.name, f.seq)
			}
			l.sentTo(c, f)
			came[f.topic] = beat
		}
		for _, tp := range topics {
			if waited := beat - came[tp]; waited > 3 {
				t.Fatalf("beat %d: no value of %s came for %d beats, in each of which four did", beat, tp.name, waited)
			}
		}
	}
}

// overlapping makes a lagging client of two patterns that share the topic orders.a: one that is behind since place 10, and one
// that it subscribed to at another. The last place is 60.
func (s *stage) overlapping(at uint64) (c *conn, a *topic) {
	l := s.loop
	s.clients(1)
	c = l.conns.at(0)
	l.leave(c, 0)
	open := func(p bus.Pattern) *feed {
		f := l.feed(p)
		l.granted(grant{feed: f, at: bus.Position{Epoch: l.epoch, Seq: 10}})
		return f
	}
	one, both := open("*.a"), open("orders.*")
	a = &topic{name: "orders.a", every: true}
	b := &topic{name: "orders.b", every: true}
	l.join(0, c, sub{feed: one, from: 10, live: 10})
	l.fallBehind(0, c)
	l.block(0, c)
	spread := func(from, to uint64) {
		for seq := from; seq <= to; seq++ {
			tp := a
			if seq%2 == 1 {
				tp = b
			}
			l.spread(dataFrame(tp, bus.Message{Topic: tp.name, Seq: seq, Payload: payload512}, false))
			l.flush()
		}
	}
	spread(11, at)
	l.join(0, c, sub{feed: both, from: at, live: at})
	c.lag.cursors = append(c.lag.cursors, at)
	spread(at+1, 60)
	return c, a
}

// All that is behind is asked for together, from the place that is furthest back.
func TestRefill_AsksForAllThatIsBehind(t *testing.T) {
	s := set(t)
	l := s.loop
	l.node.cfg.Limits.Recent = 4
	c, _ := s.overlapping(58) // from where the second one has all in memory
	l.node.hub.mail.take()    // the patterns, which nobody is there to subscribe to
	l.ask(0, c)
	key := newReplayKey([]bus.Pattern{"*.a", "orders.*"}, refillRead)
	key.after = 10
	asked := &replay{key: key} // so that nothing has to be read
	l.node.hub.replays = []*replay{asked}
	for _, do := range l.node.hub.mail.take() {
		do()
	}
	if len(asked.waiting) != 1 || asked.waiting[0].after != key.after {
		t.Errorf("not asked for %+v", key)
	}
}

// What was read for one pattern gets no further than another one that matches the same topic has got.
func TestRefill_KeepsPatternsInStep(t *testing.T) {
	s := set(t)
	c, a := s.overlapping(50)
	key := newReplayKey([]bus.Pattern{"*.a"}, refillRead) // asked before the client subscribed to the other
	key.after = 10
	got := replayed{complete: true, at: bus.Position{Epoch: s.loop.epoch, Seq: 60}}
	for seq := uint64(12); seq <= 60; seq += 2 {
		got.frames = append(got.frames, dataFrame(a, bus.Message{Topic: a.name, Seq: seq, Payload: payload512}, false))
	}
	s.loop.refilled(ref{0, c.gen}, key, got)
	last := uint64(10)
	take := func(f *frame) {
		t.Helper()
		want := last + 2 // orders.a alone, up to where the other begins
		if last >= 50 {
			want = last + 1
		}
		if f.seq != want {
			t.Fatalf("after %d comes %d, want %d", last, f.seq, want)
		}
		last = f.seq
	}
	for last < 60 {
		batch := s.loop.choose(0, c)
		if len(batch) == 0 {
			t.Fatalf("nothing comes after %d", last)
		}
		for _, f := range batch {
			take(f)
			s.loop.sentTo(c, f)
		}
	}
	if rest := s.loop.choose(0, c); len(rest) > 0 {
		t.Errorf("%d more come: %d", len(rest), rest[0].seq)
	}
}

// That all is up to date again a client that lags is told after what it missed, and not while that is still to be read.
func TestStatusOK_FollowsWhatALaggingClientIsOwed(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	f, tp := s.latest("orders.a")
	tp.every = true
	l.join(0, c, sub{feed: f})
	l.fallBehind(0, c)
	c.lag.blocked = true
	told := func() (words []string) {
		batch := l.choose(0, c)
		for _, f := range batch {
			switch {
			case f.stale:
				words = append(words, "degraded")
			case f.fresh:
				words = append(words, "ok")
			default:
				words = append(words, fmt.Sprint(f.seq))
			}
			l.sentTo(c, f)
		}
		return words
	}
	message := func(seq uint64) *frame {
		return dataFrame(tp, bus.Message{Topic: tp.name, Seq: seq, Payload: []byte(`1`)}, false)
	}
	l.status(true, l.now)
	l.spread(message(1))
	l.spread(message(2))
	l.status(false, l.now)
	if got, want := told(), []string{"degraded", "1", "2", "ok"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	if got := told(); got != nil {
		t.Errorf("told %v once more", got)
	}
	l.spread(message(3))
	l.status(false, l.now)
	l.status(true, l.now) // before it was told
	if got, want := told(), []string{"degraded", "3"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	// What the socket did not take of a turn is owed by its places, and so told after it.
	l.putBack(c, message(3))
	fresh := newFrame(nil)
	fresh.fresh = true
	l.putBack(c, fresh)
	if got, want := told(), []string{"3", "ok"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}
