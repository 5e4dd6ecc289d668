package client

import (
	"testing"

	"tidings/bus"
	"tidings/edge/wire"
)

// TestSubscription_Position plays what one connection brings to a subscription and holds where a resume would
// start after each step.
func TestSubscription_Position(t *testing.T) {
	quiet, busy := func(s *subscription, h *holding) wire.Position { return s.beat(h, true) }, func(s *subscription, h *holding) wire.Position { return s.beat(h, false) }
	message := func(seq uint64) step {
		return func(s *subscription, h *holding) wire.Position { return s.message(h, seq) }
	}
	yes, no := new(true), new(false)
	since := &wire.Position{Epoch: "e1", Seq: 5}
	for _, test := range []struct {
		about     string
		pattern   bus.Pattern
		options   Options
		epoch     string // of the ack, at 20
		recovered *bool
		want      string // after the ack
		steps     []step
		wants     []string // after each
	}{
		{"every, afresh: the ack, then each message", "orders.*", Options{}, "e1", nil, "e1:20",
			[]step{message(21), message(30)}, []string{"e1:21", "e1:30"}},
		{"every, recovered: the replay, then each message", "orders.*", Options{Since: since}, "e1", yes, "e1:5",
			[]step{message(9), quiet, message(12), quiet, busy, quiet, quiet}, []string{"e1:9", "e1:9", "e1:12", "e1:20", "e1:20", "e1:20", "e1:20"}},
		{"every, recovered, nothing to replay", "orders.*", Options{Since: since}, "e1", yes, "e1:5",
			[]step{quiet, quiet, message(21)}, []string{"e1:5", "e1:20", "e1:21"}},
		{"every, busy heartbeats prove nothing", "orders.*", Options{Since: since}, "e1", yes, "e1:5",
			[]step{quiet, busy, quiet, busy, quiet, quiet}, []string{"e1:5", "e1:5", "e1:5", "e1:5", "e1:5", "e1:20"}},
		{"every, not recovered: the ack", "orders.*", Options{Since: since}, "e2", no, "e2:20",
			[]step{message(21)}, []string{"e2:21"}},
		{"every, with last: the ack", "orders.*", Options{Last: 3}, "e1", nil, "e1:20",
			[]step{message(18), message(25), quiet, quiet, message(26)}, []string{"e1:20", "e1:25", "e1:25", "e1:25", "e1:26"}},
		{"every, no epoch known: none", "orders.*", Options{}, "", nil, ":0",
			[]step{message(21), quiet, quiet}, []string{":0", ":0", ":0"}},
		{"latest: the ack once it is quiet", "metrics.*", Options{}, "e1", nil, ":0",
			[]step{quiet, quiet, quiet}, []string{":0", "e1:20", "e1:20"}},
		{"latest, live only: the ack", "metrics.*", Options{LiveOnly: true}, "e1", nil, "e1:20",
			[]step{quiet, quiet}, []string{"e1:20", "e1:20"}},
		{"latest, with last: the ack once it is quiet", "metrics.*", Options{Last: 3}, "e1", nil, ":0",
			[]step{quiet, quiet}, []string{":0", "e1:20"}},
		{"mixed: the ack, then what was seen a heartbeat ago", ">", Options{}, "e1", nil, "e1:20",
			[]step{message(25), quiet, message(30), quiet, quiet}, []string{"e1:20", "e1:20", "e1:20", "e1:25", "e1:30"}},
		{"mixed, recovered: the same once it is quiet", ">", Options{Since: since}, "e1", yes, "e1:5",
			[]step{message(9), quiet, message(12), busy, message(25), quiet, quiet, quiet}, []string{"e1:5", "e1:5", "e1:5", "e1:5", "e1:5", "e1:5", "e1:25", "e1:25"}},
	} {
		s := newSubscription(test.pattern, test.options)
		ack := wire.AckTopic{Topic: string(test.pattern), Epoch: test.epoch, Seq: 20, Recovered: test.recovered}
		if test.epoch == "" {
			ack.Seq = 0
		}
		var h *holding
		h, s.position = s.start(s.want(), ack)
		if got := s.position.String(); got != test.want {
			t.Errorf("%s: after the ack %s, want %s", test.about, got, test.want)
		}
		for i, step := range test.steps {
			s.position = step(s, h)
			if got := s.position.String(); got != test.wants[i] {
				t.Errorf("%s: after step %d %s, want %s", test.about, i+1, got, test.wants[i])
			}
		}
	}
}

func TestSubscription_ForgetsWhatWasSeenOfAnotherEpoch(t *testing.T) {
	s := newSubscription(">", Options{})
	s.position, s.seen, s.mark = wire.Position{Epoch: "e1", Seq: 500}, 500, 500
	var h *holding
	h, s.position = s.start(s.want(), wire.AckTopic{Topic: ">", Epoch: "e2", Seq: 20, Recovered: new(false)})
	for range 3 {
		s.position = s.beat(h, true)
	}
	if got := s.position.String(); got != "e2:20" {
		t.Errorf("position %s, want e2:20", got)
	}
}

// step is something that happens to a subscription, and what its position then is.
type step func(*subscription, *holding) wire.Position

func TestSubscription_Kinds(t *testing.T) {
	for pattern, want := range map[bus.Pattern]kinds{
		"metrics.*": latestOnly, "host.a": latestOnly, "containers.>": latestOnly, "container-stats.*": latestOnly,
		"container-events.*": everyOnly, "orders.eu.>": everyOnly, "metrics-x.a": everyOnly,
		">": mixed, "*": mixed, "*.web-1": mixed,
	} {
		if got := newSubscription(pattern, Options{}).brings; got != want {
			t.Errorf("%s: %d, want %d", pattern, got, want)
		}
	}
}
