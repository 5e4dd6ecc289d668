package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tidings/edge/wire"
)

func TestGoingAway_MakesBeforeBreak(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*", "metrics.*")
	old := s.enter()
	old.ack(old.hear("subscribe container-events.* metrics.*"), 10)
	old.heartbeats(2)
	old.data("container-events.a", 11, 0)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "subscribed metrics.* at e1:10", "container-events.a 11")
	old.say(wire.AppendGoingAway(nil, 1, "draining", 0, 5, 20000))

	a := s.enter()
	r := a.hear("subscribe container-events.* since=e1:11 metrics.* since=e1:10")
	w.hears("connected to edge-0")
	old.data("container-events.a", 12, 11) // the old one goes on
	old.say([]byte(`{"type":"orders","topic":"container-events.bypass","timestamp":1,"payload":1}`))
	w.hears("container-events.a 12", "container-events.bypass 0")
	a.say([]byte(`{"type":"orders","topic":"container-events.bypass","timestamp":1,"payload":1}`)) // heard over the old one
	a.ack(r, 12, true)
	w.hears("subscribed container-events.* at e1:12 recovered=true", "subscribed metrics.* at e1:12 recovered=true")
	old.leaves()
	a.data("container-events.a", 12, 11)
	a.data("container-events.a", 13, 12)
	w.hears("container-events.a 13")
}

// Messages taken before NATS' clock was set back are no news of a new stream.
func TestGoingAway_ClockSetBackMakesNoDuplicateNew(t *testing.T) {
	s, w, old := askedToGo(t)
	a := s.enter()
	r := a.hear("subscribe container-events.* since=e1:10")
	w.hears("connected to edge-0")
	old.dataAt(5000, "container-events.a", 11, 0)
	old.dataAt(100, "container-events.a", 12, 11) // the clock was set back
	w.hears("container-events.a 11", "container-events.a 12")
	a.ack(r, 12, true)
	a.dataAt(5000, "container-events.a", 11, 0)
	a.dataAt(100, "container-events.a", 12, 11)
	a.dataAt(101, "container-events.a", 13, 12)
	w.hears("subscribed container-events.* at e1:12 recovered=true", "container-events.a 13")
}

func TestGoingAway_OldLineDiesEarly(t *testing.T) {
	s, w, old := askedToGo(t)
	a := s.enter()
	r := a.hear("subscribe container-events.* since=e1:10")
	w.hears("connected to edge-0")
	old.close(wire.CloseDraining, "")
	a.ack(r, 14, true)
	a.data("container-events.a", 13, 11)
	w.hears("subscribed container-events.* at e1:14 recovered=true", "container-events.a 13")
	a.drop()
	w.hears("disconnected")
	s.enter().hear("subscribe container-events.* since=e1:13")
}

func TestGoingAway_OldLineDiesWhileTheNewOneIsDialled(t *testing.T) {
	s, w, old := askedToGo(t)
	a := s.enterSilently()
	old.close(wire.CloseDraining, "")
	w.hears("disconnected 1012 draining")
	a.greet(wire.ConnectedPayload{Node: "edge-1"})
	w.hears("connected to edge-1")
	a.ack(a.hear("subscribe container-events.* since=e1:10"), 10, true)
	a.data("container-events.a", 11, 0)
	w.hears("subscribed container-events.* at e1:10 recovered=true", "container-events.a 11")
	select {
	case <-s.arrived:
		t.Error("connected once more")
	case <-time.After(50 * time.Millisecond): // ten times the longest backoff
	}
}

func TestGoingAway_NewLineDiesFirst(t *testing.T) {
	s, w, old := askedToGo(t)
	s.enter().drop()
	w.hears("connected to edge-0")
	old.data("container-events.a", 11, 0)
	w.hears("container-events.a 11")
	a := s.enter()
	w.hears("connected to edge-0")
	a.ack(a.hear("subscribe container-events.* since=e1:11"), 11, true)
	w.hears("subscribed container-events.* at e1:11 recovered=true")
	old.leaves()
}

func TestGoingAway_AgainFromTheNextEdge(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*")
	first := s.enter()
	first.ack(first.hear("subscribe container-events.*"), 10)
	first.say(wire.AppendGoingAway(nil, 1, "draining", 0, 0, 20000))
	second := s.enter()
	r := second.hear("subscribe container-events.* since=e1:10")
	second.say(wire.AppendGoingAway(nil, 1, "draining", 0, 0, 20000)) // before it serves us
	second.ack(r, 10, true)
	first.leaves()
	third := s.enter()
	third.ack(third.hear("subscribe container-events.* since=e1:10"), 10, true)
	second.leaves()
	third.data("container-events.a", 11, 0)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10",
		"connected to edge-0", "subscribed container-events.* at e1:10 recovered=true",
		"connected to edge-0", "subscribed container-events.* at e1:10 recovered=true", "container-events.a 11")
}

func TestGoingAway_BeforeATokenExpires_BringsANewOne(t *testing.T) {
	s := newScene(t)
	asked := 0
	w := watch(t, s, Config{Token: func(context.Context) (string, error) {
		asked++
		return fmt.Sprintf("token-%d", asked), nil
	}}, "container-events.*")
	old := s.enter()
	old.ack(old.hear("subscribe container-events.*"), 10)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10")
	old.say(wire.AppendGoingAway(nil, 1, "token_expiring", 0, 0, 20000))
	a := s.enter()
	if got := a.handshake.Header.Get("Authorization"); got != "Bearer token-2" {
		t.Errorf("came with %q", got)
	}
	w.hears("connected to edge-0")
	r := a.hear("subscribe container-events.* since=e1:10")
	old.data("container-events.a", 11, 0)
	w.hears("container-events.a 11")
	a.ack(r, 11, true)
	old.leaves()
}

func TestGap_IsTold(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*")
	a := s.enter()
	a.ack(a.hear("subscribe container-events.*"), 10)
	a.data("container-events.a", 11, 0)
	a.say(wire.AppendGap(nil, "container-events.a", 1, 11, 15, wire.GapSlow))
	a.data("container-events.a", 15, 14)
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "container-events.a 11",
		"gap container-events.a 11-15 slow", "container-events.a 15 missed")
}

func TestGap_NotOfWhatCameOverTheOldLine(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*")
	old := s.enter()
	old.ack(old.hear("subscribe container-events.*"), 10)
	old.say(wire.AppendGoingAway(nil, 1, "draining", 0, 0, 20000))
	a := s.enter()
	r := a.hear("subscribe container-events.* since=e1:10")
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "connected to edge-0")
	old.data("container-events.a", 11, 0)
	old.data("container-events.a", 12, 11)
	old.data("container-events.c", 8, 0)
	w.hears("container-events.a 11", "container-events.a 12", "container-events.c 8")
	a.ack(r, 12, false)
	a.say(wire.AppendGap(nil, "container-events.a", 1, 10, 13, wire.GapExpired))
	a.say(wire.AppendGap(nil, "container-events.b", 1, 9, 11, wire.GapExpired))
	a.say(wire.AppendGap(nil, "container-events.c", 1, 8, 11, wire.GapExpired))
	w.hears("subscribed container-events.* at e1:12 recovered=false", "gap container-events.b 9-11 expired", "gap container-events.c 8-11 expired")
}

// askedToGo is a client that holds one pattern, and has just been asked to connect elsewhere.
func askedToGo(t *testing.T) (*scene, *audience, *actor) {
	s := newScene(t)
	w := watch(t, s, Config{}, "container-events.*")
	old := s.enter()
	old.ack(old.hear("subscribe container-events.*"), 10)
	old.say(wire.AppendGoingAway(nil, 1, "draining", 0, 0, 20000))
	w.hears("connected to edge-0", "subscribed container-events.* at e1:10")
	return s, w, old
}
