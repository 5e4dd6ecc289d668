package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tidings/bus"
	"tidings/edge/wire"
)

// scene is a loop whose hub is played: of three topics messages are passed on as they come, but for some that come late. Its clients' sockets
// take what chance lets them.
type scene struct {
	*stage
	random *rand.Rand
	wide   *feed // orders.*
	narrow *feed // orders.a
	topics []*topic
	stream []bus.Message
	lost   map[*topic][]*frame // since the last one that came
	passed map[bus.Topic][]uint64
	seats  []*seat
}

// seat is one client after the other.
type seat struct {
	slot  uint32
	from  map[bus.Topic]uint64 // it is owed what follows
	back  map[bus.Topic]bool   // and had something from before that, or asked for it later on
	got   map[bus.Topic][]uint64
	asked replayKey // what is to be read for it

	quits bool // it has unsubscribed
	gaps  map[bus.Topic][]wire.GapPayload
}

func newScene(t *testing.T, seed uint64) *scene {
	s := &scene{stage: set(t), random: rand.New(rand.NewPCG(seed, 3)), lost: map[*topic][]*frame{}, passed: map[bus.Topic][]uint64{}}
	l := s.loop
	if seed%2 == 1 {
		l.node.cfg.Limits.Recent = 1 + int(seed%16) // the stream has to be read
	}
	for _, name := range []bus.Topic{"orders.a", "orders.b", "orders.c"} {
		s.topics = append(s.topics, &topic{name: name, every: true})
	}
	open := func(p bus.Pattern) *feed {
		f := l.feed(p)
		var topics []known
		for _, tp := range s.topics {
			if p.Matches(tp.name) {
				topics = append(topics, known{topic: tp})
			}
		}
		l.granted(grant{feed: f, at: bus.Position{Epoch: l.epoch}, topics: topics})
		return f
	}
	s.wide, s.narrow = open("orders.*"), open("orders.a")
	for range 6 {
		slot, c := l.conns.take()
		c.state, c.session = serving, l.node.anyone
		seat := &seat{slot: slot}
		s.seats = append(s.seats, seat)
		s.come(seat)
	}
	return s
}

// publish has the stream take a message, which comes, or is lost on its way. What was lost of its topic before comes first.
func (s *scene) publish() {
	tp := s.topics[s.random.IntN(len(s.topics))]
	s.seq++
	m := bus.Message{Topic: tp.name, Seq: s.seq, Payload: []byte(`1`)}
	s.stream = append(s.stream, m)
	f := dataFrame(tp, m, false)
	s.lost[tp] = append(s.lost[tp], f)
	if s.random.IntN(4) > 0 {
		s.pass(tp)
	}
}

// pass passes on all of a topic.
func (s *scene) pass(tp *topic) {
	h := s.loop.node.hub
	for _, f := range s.lost[tp] {
		f.late = h.isLate(f)
		h.at = max(h.at, f.seq)
		s.passed[tp.name] = append(s.passed[tp.name], f.seq)
		s.loop.spread(f)
	}
	delete(s.lost, tp)
}

// read is what the stream has of some patterns behind a place: also what was lost on its way.
func (s *scene) read(after uint64, patterns ...bus.Pattern) replayed {
	at := s.loop.node.hub.at
	got := replayed{at: bus.Position{Epoch: s.loop.epoch, Seq: s.seq}, complete: true, sure: at}
	var topics []known
	for _, tp := range s.topics {
		if !slices.ContainsFunc(patterns, func(p bus.Pattern) bool { return p.Matches(tp.name) }) {
			continue
		}
		var seq uint64
		if passed := s.passed[tp.name]; len(passed) > 0 {
			seq = passed[len(passed)-1]
		}
		topics = append(topics, known{topic: tp, seq: seq})
		for _, m := range s.stream {
			if m.Topic != tp.name || m.Seq <= after {
				continue
			}
			got.frames = append(got.frames, dataFrame(tp, m, false))
			if m.Seq > seq && m.Seq <= at {
				got.sure = min(got.sure, m.Seq-1)
			}
		}
	}
	s.loop.learn(topics)
	slices.SortFunc(got.frames, bySeq)
	return got
}

// come has a new client subscribe.
func (s *scene) come(seat *seat) {
	seat.quits, seat.gaps = false, map[bus.Topic][]wire.GapPayload{}
	seat.from, seat.back, seat.got = map[bus.Topic]uint64{}, map[bus.Topic]bool{}, map[bus.Topic][]uint64{}
	s.subscribe(seat)
}

// subscribe has a client subscribe to patterns that it has not had yet, each live or from some place, which this edge may not have come to.
func (s *scene) subscribe(seat *seat) {
	l := s.loop
	c := l.conns.at(seat.slot)
	p := &pending{conn: ref{seat.slot, c.gen}, id: 1}
	for _, f := range []*feed{s.wide, s.narrow} {
		if s.random.IntN(3) == 0 || c.holds(f.pattern) >= 0 || seat.quits {
			continue
		}
		w := want{feed: f}
		from := f.seq
		if s.random.IntN(2) == 0 {
			from = s.seq - uint64(s.random.IntN(int(min(s.seq+1, 12))))
			w.Since = &wire.Position{Epoch: l.epoch, Seq: from}
			if from < min(f.seq, f.recent.floor) {
				got := s.read(from, f.pattern)
				w.replayed = &got
			}
		}
		p.wants = append(p.wants, w)
		for _, tp := range s.topics {
			if had, ok := seat.from[tp.name]; f.pattern.Matches(tp.name) && (!ok || from < had) {
				seat.from[tp.name] = from
				seat.back[tp.name] = ok && len(p.wants) == 1
			}
		}
	}
	for i := range p.wants {
		p.wants[i].feed.wanted++
	}
	c.pending = p
	l.complete(seat.slot, c, p)
	l.finish(c)
}

// unsubscribe has a client let go of one of two patterns.
func (s *scene) unsubscribe(seat *seat) {
	l := s.loop
	c := l.conns.at(seat.slot)
	if len(c.subs) < 2 {
		return
	}
	s.send() // in a turn of its own
	seat.quits = true
	l.leave(c, s.random.IntN(2))
	for _, tp := range s.topics {
		delete(seat.from, tp.name)
		if kept := &c.subs[0]; kept.feed.pattern.Matches(tp.name) {
			seat.from[tp.name], seat.back[tp.name] = kept.from, true
		}
	}
}

// send is the end of a turn: each socket takes some of what its client is due.
func (s *scene) send() {
	l := s.loop
	for _, seat := range s.seats {
		c := l.conns.at(seat.slot)
		var chain []*frame
		for d := c.head; d >= 0; d = l.turn.dues[d].next {
			chain = append(chain, l.turn.frames[l.turn.dues[d].frame])
		}
		c.head, c.tail = -1, -1
		if len(chain) > 0 && c.lag == nil {
			n := len(chain)
			if s.random.IntN(3) == 0 {
				n = s.random.IntN(n)
			}
			seat.take(s.tb, chain[:n])
			if n < len(chain) {
				l.fallBehind(seat.slot, c)
				for _, f := range chain[n:] {
					l.putBack(c, f)
				}
			}
		}
		for c.lag != nil && s.random.IntN(3) > 0 {
			s.catchUp(seat)
		}
	}
	l.turn.reset()
}

// catchUp has a client that lags take some of what it is owed.
func (s *scene) catchUp(seat *seat) {
	c := s.loop.conns.at(seat.slot)
	if c.lag.asking {
		s.answer(seat)
	}
	batch := slices.Clone(s.loop.choose(seat.slot, c))
	if len(batch) == 0 {
		if !c.lag.asking {
			s.loop.caughtUp(seat.slot, c)
		}
		return
	}
	batch = batch[:1+s.random.IntN(len(batch))]
	seat.take(s.tb, batch)
	for _, f := range batch {
		s.loop.sentTo(c, f)
	}
}

// answer has the stream read for a client that asked for it, now or when more has happened.
func (s *scene) answer(seat *seat) {
	c := s.loop.conns.at(seat.slot)
	s.loop.node.hub.mail.take()
	if seat.asked.patterns == "" {
		seat.asked = newReplayKey(nil, refillRead)
		seat.asked.after = ^uint64(0)
		var patterns []bus.Pattern
		for i := range c.subs {
			if c.behind(i) {
				patterns, seat.asked.after = append(patterns, c.subs[i].feed.pattern), min(seat.asked.after, c.lag.cursors[i])
			}
		}
		seat.asked.patterns = newReplayKey(patterns, 0).patterns
	}
	if s.random.IntN(2) == 0 {
		return
	}
	got := s.read(seat.asked.after, seat.asked.split()...)
	s.loop.refilled(ref{seat.slot, c.gen}, seat.asked, got)
	seat.asked = replayKey{}
}

// take notes what a client is sent.
func (s *seat) take(tb testing.TB, frames []*frame) {
	tb.Helper()
	for _, f := range frames {
		m, err := wire.ParseMessage(f.wire[bytes.IndexByte(f.wire, '{'):])
		if err != nil {
			tb.Fatal(err)
		}
		name := bus.Topic(m.Topic)
		if m.IsData() {
			s.got[name] = append(s.got[name], m.Seq)
		}
		if m.Type != "gap" {
			continue
		}
		var p wire.GapPayload
		if err := json.Unmarshal(m.Payload, &p); err != nil || !s.quits {
			tb.Fatalf("one that did not unsubscribe is told %s, %v", m.Payload, err)
		}
		s.gaps[name] = append(s.gaps[name], p)
	}
}

// leave has a client take all that it is owed, and go: it had to have all that was passed on behind its place, once and in order.
func (s *scene) leave(seat *seat) {
	s.tb.Helper()
	s.send()
	c := s.loop.conns.at(seat.slot)
	for c.lag != nil {
		s.catchUp(seat)
	}
	for name, from := range seat.from {
		var want []uint64
		for _, seq := range s.passed[name] {
			told := slices.ContainsFunc(seat.gaps[name], func(g wire.GapPayload) bool { return g.After < seq && seq < g.Before })
			if seq > from && !told {
				want = append(want, seq)
			}
		}
		if got := seat.got[name]; seat.back[name] {
			slices.Sort(got)
			first, _ := slices.BinarySearch(got, from+1)
			seat.got[name] = got[first:]
		}
		if !slices.Equal(seat.got[name], want) {
			s.tb.Fatalf("of %s behind %d it got\n%v, want\n%v", name, from, seat.got[name], want)
		}
	}
	s.loop.detach(c)
	c.ahead = 0
	c.aside()
}

// Whatever comes late, and whoever comes from wherever and takes what he is sent when he likes: each has all that was passed on behind his
// place, once, and rising in each topic.
func TestLate_WhateverHappens_EachMessageComesOnce(t *testing.T) {
	const seeds = 300
	late, places, gaps := 0, 0, 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newScene(t, seed)
			for range 400 {
				switch s.random.IntN(14) {
				case 0:
					seat := s.seats[s.random.IntN(len(s.seats))]
					s.leave(seat)
					s.come(seat)
				case 1:
					s.subscribe(s.seats[s.random.IntN(len(s.seats))])
				case 2:
					s.unsubscribe(s.seats[s.random.IntN(len(s.seats))])
				case 3:
					s.pass(s.topics[s.random.IntN(len(s.topics))])
				case 4, 5, 6:
					s.send()
				default:
					s.publish()
				}
			}
			for _, tp := range s.topics {
				s.pass(tp)
			}
			for _, seat := range s.seats {
				s.leave(seat)
				gaps += len(seat.gaps)
			}
			for i := 1; i < s.wide.recent.n; i++ {
				if s.wide.recent.at(i).seq <= s.wide.recent.at(i-1).seq {
					t.Fatalf("what is recent does not rise: %d after %d", s.wide.recent.at(i).seq, s.wide.recent.at(i-1).seq)
				}
			}
			for i := range s.wide.recent.n {
				places++
				if s.wide.recent.at(i).late {
					late++
				}
			}
		})
	}
	if late*20 < places || gaps*50 > seeds {
		t.Errorf("%d of %d came late, and %d gaps were told: there is nothing to see", late, places, gaps)
	}
}

// One that unsubscribes while it lags goes on being owed what another subscription of its resumed from, and is told what is gone from memory.
func TestUnsubscribe_WhileItLags_LeavesWhatOthersResumedFrom(t *testing.T) {
	s := set(t)
	s.loop.node.cfg.Limits.Recent = 4
	c, a := s.overlapping(58)
	c.subs[1].from = 20
	s.loop.leave(c, 0)
	var owed []uint64
	for _, f := range c.lag.late {
		owed = append(owed, f.seq)
	}
	if fmt.Sprint(owed) != "[54 56 58]" {
		t.Errorf("it is owed %v of %s", owed, a.name)
	}
	if len(c.lag.queue) != 1 || !bytes.Contains(c.lag.queue[0].wire, []byte(`{"after":20,"before":53,"reason":"slow"}`)) {
		t.Errorf("it is told %d times of what is gone", len(c.lag.queue))
	}
}

// However much comes late to one that takes nothing, what is kept for it is bounded, and the rest is told.
func TestLate_MoreThanIsKept_IsToldAsOneGap(t *testing.T) {
	s := set(t)
	l := s.loop
	l.node.cfg.Limits.Replay = 10
	c, _ := s.overlapping(58)
	other := &topic{name: "orders.c", every: true}
	c.lag.cursors[0], c.lag.cursors[1] = 10_000, 10_000
	for seq := uint64(101); seq <= 1_000; seq++ {
		f := dataFrame(other, bus.Message{Topic: other.name, Seq: seq, Payload: payload512}, false)
		f.late = true
		l.spread(f)
		l.flush()
	}
	if len(c.lag.late) != 10 || len(c.lag.queue) != 0 {
		t.Errorf("%d late messages and %d others are kept", len(c.lag.late), len(c.lag.queue))
	}
	l.choose(0, c)
	if len(c.lag.queue) != 1 || !bytes.Contains(c.lag.queue[0].wire, []byte(`{"after":110,"before":1001,"reason":"slow"}`)) {
		t.Errorf("it is told %d times of what is gone", len(c.lag.queue))
	}
}
