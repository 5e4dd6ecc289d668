package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/bus"
	"tidings/edge/wire"
)

// A client may come from an edge that was told sooner. What this edge has still to be told up to there, it is not sent again, also
// if it is slow meanwhile; all that follows it is.
func TestResume_FromAheadOfThisEdge_BringsNothingTwice(t *testing.T) {
	a := newAudited(t, `{"type":"subscribe","id":1,"topics":["orders.*","alerts.*","metrics.*"]}`)
	h := a.edge.hub
	h.on(func() { h.repairing = true }) // it holds back what comes
	var places []uint64
	for n := range 3 {
		for _, topic := range []bus.Topic{"orders.a", "metrics.a", "alerts.a"} {
			places = append(places, a.publish(topic, fmt.Sprint(n), bus.PublishOptions{}))
		}
	}
	position := places[5]

	client, _, err := websocket.Dial(a.ctx, "ws://"+a.edge.Addr().String()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.CloseNow() }()
	next := func() (m wire.Message) {
		t.Helper()
		_, text, err := client.Read(a.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = wire.ParseMessage(text); err != nil {
			t.Fatal(err)
		}
		return m
	}
	say := func(request string) {
		t.Helper()
		if err := client.Write(a.ctx, websocket.MessageText, []byte(request)); err != nil {
			t.Fatal(err)
		}
		for next().Type != "ack" {
		}
	}
	var epoch string
	h.on(func() { epoch = h.epoch })
	since := fmt.Sprintf(`"since":{"epoch":%q,"seq":%d}`, epoch, position)
	say(fmt.Sprintf(`{"type":"subscribe","id":1,"topics":[{"topic":"orders.*",%s},{"topic":"metrics.*",%s}]}`, since, since))
	say(`{"type":"subscribe","id":2,"topics":[{"topic":"alerts.*","snapshot":false}]}`) // from where this edge stands

	h.on(func() {
		h.repairing = false
		h.letGo()
	})
	places = append(places, a.publish("orders.a", `3`, bus.PublishOptions{}), a.publish("metrics.a", `3`, bus.PublishOptions{}))
	want := append([]uint64{places[2]}, places[5:]...) // alerts.a, and all behind the position
	for _, seq := range want {
		if m := next(); m.Seq != seq {
			t.Errorf("got %d of %s, want %d; it came from %d", m.Seq, m.Topic, seq, position)
		}
	}
	beside := false
	for _, l := range a.edge.loops {
		done := make(chan bool)
		l.post(func(l *loop) {
			slow := false
			l.conns.each(func(_ uint32, c *conn) { slow = slow || c.slow })
			done <- slow
		})
		beside = <-done || beside
	}
	if beside {
		t.Error("it is still served beside the others, though this edge has come to where it was")
	}
	for _, seq := range places { // and the others are sent all
		var got uint64
		for got == 0 {
			_, text, err := a.client.Read(a.ctx)
			if err != nil {
				t.Fatal(err)
			}
			m, err := wire.ParseMessage(text)
			if err != nil {
				t.Fatal(err)
			}
			got = m.Seq
		}
		if got != seq {
			t.Errorf("another client got %d, want %d", got, seq)
		}
	}
}

// What this edge lost of what a client had where it came from is no gap to that client. What it lost behind that is one, and so is that the
// stream was made anew.
func TestAhead_IsToldOfNoGapInWhatItHas(t *testing.T) {
	s, c := aheadAndSlow(t)
	l := s.loop
	gap := func(after, before uint64, reason wire.GapReason) {
		l.spread(gapFrame(s.topic, bus.Loss{Topic: s.topic.name, After: after, Before: before}, reason, time.Now()))
	}
	gap(0, 4, wire.GapUpstream)
	gap(1, 5, wire.GapUpstream)
	gap(0, 1, wire.GapEpoch)
	gap(2, 4, wire.GapEpoch)
	var told []string
	for _, f := range c.lag.queue {
		m, err := wire.ParseMessage(f.wire[bytes.IndexByte(f.wire, '{'):])
		if err != nil {
			t.Fatal(err)
		}
		var p wire.GapPayload
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			t.Fatal(err)
		}
		told = append(told, fmt.Sprintf("%d %d %s", p.After, p.Before, p.Reason))
	}
	if want := []string{"1 5 upstream", "0 1 epoch", "2 4 epoch"}; !slices.Equal(told, want) {
		t.Errorf("it is told of %v, want %v", told, want)
	}
}

// A connection that is ahead and falls behind is owed what follows its place, and nothing from before.
func TestAhead_AndSlow_IsOwedWhatFollows(t *testing.T) {
	s, c := aheadAndSlow(t)
	l := s.loop
	for range 5 {
		l.spread(s.frame())
	}
	var owed []uint64
	for _, f := range l.choose(0, c) {
		owed = append(owed, f.seq)
	}
	if fmt.Sprint(owed) != "[4 5]" {
		t.Errorf("it is owed %v", owed)
	}
	l.flush()
	if c.slow || c.ahead > 0 {
		t.Error("it is still ahead")
	}
}

// aheadAndSlow is a connection that came from place 3, to which its edge has not come, and lags.
func aheadAndSlow(t *testing.T) (*stage, *conn) {
	s := set(t)
	s.clients(1)
	c := s.loop.conns.at(0)
	sub := &c.subs[0]
	sub.from, sub.live = 3, 3
	s.loop.isAhead(c, 3)
	c.aside()
	s.loop.fallBehind(0, c)
	return s, c
}

// An edge has not come to a place because another pattern was granted there: a value on its way is not sent to who resumed from behind it.
func TestAhead_OfWhatAnotherPatternWasGrantedAt(t *testing.T) {
	s := set(t)
	l := s.loop
	open := func(p bus.Pattern, at uint64) *feed {
		f := l.feed(p)
		l.granted(grant{feed: f, at: bus.Position{Epoch: l.epoch, Seq: at}})
		return f
	}
	f := open("values.*", 990)
	open("others.*", 1000)
	slot, c := l.conns.take()
	c.state, c.session = serving, l.node.anyone
	l.subscribed(c, slot, &want{feed: f, Want: wire.Want{Since: &wire.Position{Epoch: l.epoch, Seq: 1000}}}, 1000, true)
	c.aside()
	value := &topic{name: "values.a"}
	for seq := uint64(1000); seq <= 1001; seq++ {
		l.spread(dataFrame(value, bus.Message{Topic: value.name, Seq: seq, Payload: []byte(`1`)}, false))
		if due := c.head >= 0; due != (seq > 1000) {
			t.Errorf("it came from 1000, and is due %d: %v", seq, due)
		}
	}
}
