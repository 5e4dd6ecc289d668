package edge

import (
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// latest opens a feed of one latest topic on a stage.
func (s *stage) latest(name bus.Topic) (*feed, *topic) {
	f, t := s.loop.feed(bus.Pattern(name)), &topic{name: name}
	s.loop.granted(grant{feed: f, at: bus.Position{Epoch: s.loop.epoch}, topics: []known{{topic: t}}})
	return f, t
}

// A client that lags when the stream is made anew has values coming to it that are void. They are forgotten.
func TestNewStream_VoidsValuesOfLaggingClients(t *testing.T) {
	s := set(t)
	l := s.loop
	f, topic := s.latest("metrics.a")
	s.clients(1)
	c := l.conns.at(0)
	l.join(0, c, sub{feed: f})
	l.fallBehind(0, c)
	c.lag.blocked = true
	l.spread(dataFrame(topic, bus.Message{Topic: topic.name, Seq: 7, Payload: []byte(`1`)}, false))
	l.rewind(0)
	c.lag.blocked = false
	l.mark(0, c)
	l.flush()
	if c.lag != nil {
		t.Error("it still lags")
	}
}

// What a lagging client of both kinds of topics is sent of several latest ones rises in seq: it may take the highest one for its
// position.
func TestStaleValues_RiseInSeqWhereTheyMakeAPosition(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	c.onePosition = true
	l.fallBehind(0, c)
	c.lag.blocked = true
	for seq, name := range []bus.Topic{"metrics.a", "metrics.b", "metrics.c", "metrics.b", "metrics.a"} {
		var tp *topic
		for known := range l.views {
			if known.name == name {
				tp = known
			}
		}
		if tp == nil {
			var f *feed
			f, tp = s.latest(name)
			l.join(0, c, sub{feed: f})
			c.lag.cursors = append(c.lag.cursors, 0)
		}
		l.spread(dataFrame(tp, bus.Message{Topic: name, Seq: uint64(seq + 1), Payload: []byte(`1`)}, false))
	}
	last := uint64(0)
	for _, f := range l.choose(0, c) {
		if f.seq <= last {
			t.Errorf("%s@%d is chosen after %d", f.topic.name, f.seq, last)
		}
		last = f.seq
	}
	if last != 5 {
		t.Errorf("the last one is %d, want 5", last)
	}
}

// A feed that nobody subscribes to stays while a subscribe that names it waits for another one.
func TestFeed_OfAPendingSubscribe_IsNotSwept(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	f, _ := s.latest("metrics.a")
	l.idleIfUnused(f)
	l.subscribe(0, c, wire.Request{ID: 1, Topics: []wire.Want{{Topic: "metrics.a"}, {Topic: "metrics.b"}}})
	if c.pending == nil {
		t.Fatal("it waits for nothing")
	}
	l.now = l.now.Add(time.Hour)
	l.sweep()
	if l.feeds["metrics.a"] != f {
		t.Fatal("its feed was let go of")
	}
	l.granted(grant{feed: l.feeds["metrics.b"], at: bus.Position{Epoch: l.epoch}})
	if len(c.subs) != 3 || c.pending != nil {
		t.Errorf("it holds %d patterns", len(c.subs))
	}
	l.detach(c)
	l.now = l.now.Add(time.Hour)
	l.sweep()
	if len(l.feeds) != 0 || len(l.wild) != 0 || len(l.views) != 0 {
		t.Errorf("%d feeds and %d views are left", len(l.feeds), len(l.views))
	}
}

// A grant for a feed that was let go of does not open the one begun after it, of which messages are missing.
func TestStaleGrant_OpensNothing(t *testing.T) {
	s := set(t)
	l := s.loop
	old := l.feed("metrics.a")
	l.unfeed(old)
	l.granted(grant{feed: old, at: bus.Position{Epoch: l.epoch, Seq: 9}})
	if f := l.feed("metrics.a"); f == old || f.open {
		t.Error("it is open")
	}
	l.granted(grant{feed: old, at: bus.Position{Epoch: l.epoch, Seq: 9}})
	if l.feeds["metrics.a"].open {
		t.Error("it is open")
	}
}

// A message that comes when its feed has been let go of leaves nothing.
func TestLateMessage_LeavesNoView(t *testing.T) {
	s := set(t)
	l := s.loop
	f, topic := s.latest("metrics.a")
	l.unfeed(f)
	views := len(l.views)
	l.spread(dataFrame(topic, bus.Message{Topic: topic.name, Seq: 7, Payload: []byte(`1`)}, false))
	if len(l.views) != views {
		t.Errorf("%d views instead of %d", len(l.views), views)
	}
}
