package client

import (
	"fmt"
	"testing"
	"time"

	"tidings/edge/wire"
)

func TestReconnect_ResumesAndDropsDuplicates(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*", "metrics.*")
	a := s.enter()
	a.ack(a.hear("subscribe container-events.* metrics.*"), 10)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "subscribed metrics.* at e1:10")
	a.heartbeats(2)
	a.data("container-events.a", 11, 0)
	a.data("container-events.b", 12, 3)
	a.data("metrics.a", 13, 9)
	w.hears("container-events.a 11", "container-events.b 12", "metrics.a 13")
	a.drop()
	w.hears("disconnected")

	a = s.enter()
	a.ack(a.hear("subscribe container-events.* since=e1:12 metrics.* since=e1:10"), 16, true)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:16 recovered=true", "subscribed metrics.* at e1:16 recovered=true")
	a.data("metrics.a", 13, 9) // newer than the position, and yet heard before
	a.data("container-events.a", 14, 11)
	a.data("metrics.a", 17, 15) // 15 was conflated away
	w.hears("container-events.a 14", "metrics.a 17 missed")
}

func TestReconnect_AsksAgainForAHalfSnapshot(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enter()
	a.ack(a.hear("subscribe metrics.*"), 10)
	a.data("metrics.a", 4, 0) // metrics.b never comes
	a.heartbeats(1)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10", "metrics.a 4")
	a.drop()
	w.hears("disconnected")

	a = s.enter()
	a.ack(a.hear("subscribe metrics.*"), 11)
	a.data("metrics.a", 4, 0)
	a.data("metrics.b", 5, 0)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:11", "metrics.b 5")
}

func TestReconnect_GoesOnFromAHalfReplay(t *testing.T) {
	s := newScene(t)
	w := prepare(t, s, Config{})
	if err := w.Subscribe("orders.>", Options{Since: &wire.Position{Epoch: "e1", Seq: 3}, LiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	w.run()
	a := s.enter()
	a.ack(a.hear("subscribe orders.> since=e1:3 live"), 90, true)
	a.data("orders.eu", 7, 2)
	w.hears("connected to edge-0", "subscribed orders.> at e1:90 recovered=true", "orders.eu 7")
	a.drop()
	a = s.enter()
	a.hear("subscribe orders.> since=e1:7")
	if p, ok := w.Position("orders.>"); !ok || p != (wire.Position{Epoch: "e1", Seq: 7}) {
		t.Errorf("position %v, %t, want e1:7", p, ok)
	}
}

func TestReconnect_TellsWhatIsNotRecovered(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*")
	a := s.enter()
	a.ack(a.hear("subscribe container-events.*"), 10)
	a.data("container-events.a", 20, 8) // 8 was before the subscription: not missed
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "container-events.a 20")
	a.drop()
	a = s.enter()
	a.ack(a.hear("subscribe container-events.* since=e1:20"), 90, false)
	a.say(wire.AppendGap(nil, "container-events.a", 1, 20, 85, wire.GapExpired))
	a.data("container-events.a", 91, 85)
	w.hears("disconnected", "connected to edge-0", "subscribed container-events.* at e1:90 recovered=false",
		"gap container-events.a 20-85 expired", "container-events.a 91 missed")
	a.drop()
	s.enter().hear("subscribe container-events.* since=e1:91")
}

func TestReconnect_StreamMadeAnew(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*", "metrics.*")
	a := s.enter()
	a.ack(a.hear("subscribe container-events.* metrics.*"), 10)
	a.data("container-events.a", 11, 0)
	a.data("metrics.a", 12, 0)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "subscribed metrics.* at e1:10", "container-events.a 11", "metrics.a 12")
	a.drop()
	a = s.enter()
	r := a.hear("subscribe container-events.* since=e1:11 metrics.*")
	a.ackEpoch(r, "e2", 5, false)
	a.say(wire.AppendGap(nil, "container-events.a", 1, 0, 0, wire.GapEpoch))
	a.dataAt(2, "metrics.a", 3, 0) // by a clock that was set back
	a.dataAt(3, "container-events.a", 6, 0)
	w.hears("disconnected", "connected to edge-0", "subscribed container-events.* at e2:5 recovered=false", "subscribed metrics.* at e2:5",
		"gap container-events.a 0-0 epoch", "metrics.a 3", "container-events.a 6")
	a.drop()
	a = s.enter()
	a.hear("subscribe container-events.* since=e2:6 metrics.*")
}

func TestConnection_GoesOnWhenTheStreamIsMadeAnew(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*", "orders.*")
	a := s.enter()
	a.ack(a.hear("subscribe metrics.* orders.*"), 10)
	a.data("metrics.a", 11, 0)
	a.data("orders.a", 12, 0)
	a.dataAt(50, "metrics.a", 1, 0) // a lower place, later: another life
	a.dataAt(51, "orders.a", 2, 0)
	a.dataAt(52, "metrics.a", 3, 1)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10", "subscribed orders.* at e1:10",
		"metrics.a 11", "orders.a 12", "metrics.a 1", "orders.a 2", "metrics.a 3")
	a.drop()
	s.enter().hear("subscribe metrics.* orders.* since=e1:12") // to be told what was lost
}

func TestConnection_GoesOnAfterAGapOfTheEpoch(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "orders.*")
	a := s.enter()
	a.ack(a.hear("subscribe orders.*"), 10)
	a.data("orders.a", 11, 0)
	a.say(wire.AppendGap(nil, "orders.a", 1, 11, 1, wire.GapEpoch))
	a.dataAt(2, "orders.a", 1, 0)
	w.hears("connected to edge-0", "subscribed orders.* at e1:10", "orders.a 11", "gap orders.a 11-1 epoch", "orders.a 1")
}

func TestReconnect_AsksAgainWhileTheSnapshotStillComes(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enter()
	a.ack(a.hear("subscribe metrics.*"), 10)
	for seq := range uint64(4) {
		a.heartbeats(1)
		a.data("metrics.a", seq+1, seq)
	}
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10", "metrics.a 1", "metrics.a 2", "metrics.a 3", "metrics.a 4")
	a.drop()
	w.hears("disconnected")

	a = s.enter()
	a.ack(a.hear("subscribe metrics.*"), 10)
	a.say(wire.AppendStatus(nil, 1, true, 1)) // an edge without NATS may owe us anything
	a.heartbeats(4)
	a.data("metrics.a", 5, 4)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10", "status degraded", "metrics.a 5")
	a.drop()
	s.enter().hear("subscribe metrics.*")
}

func TestReconnect_MixedPatternResumesWhatIsInOrder(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, ">")
	a := s.enter()
	a.ack(a.hear("subscribe >"), 10)
	a.heartbeats(2)
	a.data("orders.a", 11, 0)
	a.data("metrics.a", 30, 0) // says nothing of metrics.b
	a.heartbeats(2)
	a.data("orders.a", 31, 11)
	w.hears("connected to edge-0", "subscribed > at e1:10", "orders.a 11", "metrics.a 30", "orders.a 31")
	a.drop()
	s.enter().hear("subscribe > since=e1:11")
}

func TestSilence_Reconnects(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enterSilently()
	a.greet(wire.ConnectedPayload{Node: "edge-0", HeartbeatMS: 30})
	a.heartbeats(1)
	w.hears("connected to edge-0", "disconnected")
	s.enter()
	w.hears("connected to edge-0")
}

func TestSilence_IsNotASlowHandler(t *testing.T) {
	s := newScene(t)
	var w *audience
	w = prepare(t, s, Config{Handler: Handler{Message: func(m Message) {
		if m.Seq == 11 {
			<-time.After(600 * time.Millisecond) // half as long again as the client bears silence
		}
		w.told <- fmt.Sprintf("%s %d", m.Topic, m.Seq)
	}}})
	if err := w.Subscribe("orders.*", Options{}); err != nil {
		t.Fatal(err)
	}
	w.run()
	a := s.enterSilently()
	a.greet(wire.ConnectedPayload{Node: "edge-0", HeartbeatMS: 200})
	a.ack(a.hear("subscribe orders.*"), 10)
	a.data("orders.a", 11, 0)
	a.data("orders.a", 12, 11)
	w.hears("connected to edge-0", "subscribed orders.* at e1:10", "orders.a 11", "orders.a 12")
	a.data("orders.a", 13, 12)
	w.hears("orders.a 13")
}

func TestGreeting_MustBeOne(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{})
	s.enterSilently().say(wire.AppendStatus(nil, 1, false, 1))
	w.hears("disconnected")
	s.enter()
	w.hears("connected to edge-0")
}

func TestSilence_GreetingThatNeverComes(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{DialTimeout: 50 * time.Millisecond}, "metrics.*")
	s.enterSilently()
	w.hears("disconnected")
	s.enter()
	w.hears("connected to edge-0")
}

func TestUnreadableMessage_Reconnects(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enter()
	a.say([]byte(`{"type":`))
	w.hears("connected to edge-0", "disconnected")
	s.enter()
	w.hears("connected to edge-0")
}

func TestRun_EndsThoughTheEdgeIsDead(t *testing.T) {
	s := newScene(t)
	s.deaf = true
	w := watch(t, s, Config{})
	s.enter()
	w.hears("connected to edge-0")
	began := time.Now()
	w.stop()
	if err := w.ends(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if took := time.Since(began); took > 3*leaveTimeout {
		t.Errorf("Run took %s to end", took)
	}
}

func TestSubscribe_ManyGoInBatchesThatTheEdgeTakes(t *testing.T) {
	s := newScene(t)
	w := prepare(t, s, Config{})
	for i := range 250 {
		if err := w.Subscribe(fmt.Sprintf("orders.%0240d", i), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	a := s.enterSilently()
	a.greet(wire.ConnectedPayload{Limits: wire.Limits{Subscriptions: 500, MessageBytes: 16384}})
	seen := map[string]bool{}
	for len(seen) < 250 {
		select {
		case r := <-a.heard:
			if n := len(wire.AppendRequest(nil, r)); n > 16384 {
				t.Errorf("a request of %d bytes", n)
			}
			for _, want := range r.Topics {
				if seen[want.Topic] {
					t.Errorf("%s was asked for twice", want.Topic)
				}
				seen[want.Topic] = true
			}
		case <-time.After(patience):
			t.Fatalf("%d of 250 were asked for", len(seen))
		}
	}
}
