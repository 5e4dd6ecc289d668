package edge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/wire"
)

// acts switches actions on at an edge.
func acts(cfg *edge.Config) { cfg.Actor = cfg.Bus }

// host answers actions as a publisher does, by its own line to NATS.
type host struct {
	mu    sync.Mutex
	asked []bus.Action
	gate  chan struct{} // actions wait for it; nil: they do not
}

func (c *cluster) host(name string) *host {
	c.t.Helper()
	h := &host{}
	stop, err := c.nats.Connect(c.t, c.lines...).ServeActions(name, h.handle, bus.ServeOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = stop(ended) // an error says that some were still running
	})
	eventually(c.t, "the host answers", func() bool {
		_, err := c.bus.Act(c.t.Context(), bus.Action{Key: "k", Host: name, Container: "nobody", Verb: bus.Start, Timeout: time.Second})
		return err == nil
	})
	h.asked = nil
	return h
}

// handle does what it is asked for: nothing, and says that it did.
func (h *host) handle(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
	h.mu.Lock()
	h.asked = append(h.asked, a)
	gate := h.gate
	h.mu.Unlock()
	if gate != nil && a.Refused == "" {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	if a.Refused != "" {
		return bus.ActionResult{}, &bus.ActionError{Code: a.Refused, Message: "the edge refused it"}
	}
	if a.Container == "locked" {
		return bus.ActionResult{}, &bus.ActionError{Code: bus.CodeProtected, Message: "it is protected"}
	}
	return bus.ActionResult{Host: a.Host, Container: a.Container, ID: "0123456789ab", Action: a.Verb, Changed: a.Verb != bus.Start, State: "running"}, nil
}

// hold makes actions wait until let is called.
func (h *host) hold() (let func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gate := make(chan struct{})
	h.gate = gate
	return func() { close(gate) }
}

func (h *host) all() []bus.Action {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]bus.Action(nil), h.asked...)
}

func (h *host) has(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the host was asked for %d actions", n), func() bool { return len(h.all()) == n })
}

func (c *client) act(id uint64, host, container, action string) {
	c.t.Helper()
	c.say(`{"type":"action","id":%d,"host":"%s","container":"%s","action":"%s","timeout_ms":10000}`, id, host, container, action)
}

func TestAction_IsPassedOnAndAnswered(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts)
	token := i.token(grants{sub: "ada", act: []string{"web-1.*.*"}})
	client := n.dial(bearing(token))
	client.act(7, "web-1", "my.api", "restart")
	client.expect(`{"type":"ack","id":7,"timestamp":T,"payload":{"host":"web-1","container":"my.api","id":"0123456789ab","action":"restart","changed":true,"state":"running"}}`)
	client.act(8, "web-1", "api", "start")
	client.expect(`{"type":"ack","id":8,"timestamp":T,"payload":{"host":"web-1","container":"api","id":"0123456789ab","action":"start","changed":false,"state":"running"}}`)
	client.act(9, "web-1", "locked", "kill")
	client.expect(`{"type":"error","id":9,"timestamp":T,"payload":{"code":"protected","message":"it is protected"}}`)
	client.say(`{"type":"action","id":10,"host":"web-1","container":"api","action":"stop"}`)
	client.next()
	asked := h.all()
	connection := payload[wire.ConnectedPayload](t, client.greeting).Connection
	first := asked[0]
	if first.Key != connection+"-7" || first.Host != "web-1" || first.Container != "my.api" || first.Verb != bus.Restart || first.Token != token ||
		first.Edge != "edge-0" || first.RemoteAddress != "127.0.0.1" || first.Timeout != 10*time.Second {
		t.Errorf("the publisher was asked for %+v", first)
	}
	if last := asked[3]; last.Timeout != 0 || last.Key == first.Key {
		t.Errorf("the publisher was asked for %+v", last)
	}
	for outcome, want := range map[string]float64{"ok": 2, "unchanged": 1, "protected": 1} {
		if got := n.value("tidings_edge_actions_total", "outcome", outcome); got != want {
			t.Errorf("%v ended as %s, want %v", got, outcome, want)
		}
	}
	// What a publisher verifies is the token that the client has now.
	newer := i.token(grants{sub: "ada", act: []string{"web-1.>"}})
	client.refresh(newer)
	client.acked(client.id)
	client.act(11, "web-1", "api", "kill")
	client.next()
	if got := h.all()[4].Token; got != newer {
		t.Errorf("after a refresh it was asked with %s", got)
	}
}

func TestActions_AreAnsweredAsTheyEnd(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h, _ := c.host("web-1"), c.host("web-2")
	client := c.edge(i.takes, acts).dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, act: []string{"*.>"}})))
	let := h.hold()
	client.act(100, "web-1", "api", "stop")
	client.subscribe("orders.a")
	client.act(101, "web-2", "api", "stop")
	if m := client.next(); m.ID != 101 {
		t.Fatalf("got %s", m.text)
	}
	client.quiet()
	let()
	if m := client.next(); m.Type != "ack" || m.ID != 100 {
		t.Errorf("got %s", m.text)
	}
}

func TestAction_AskedForTwice_RunsOnce(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.ActionsPerSecond = 1000 })
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	let := h.hold()
	client.act(1, "web-1", "api", "restart")
	client.act(1, "web-1", "api", "restart")
	client.act(1, "web-1", "api", "kill")
	if p := payload[wire.ErrorPayload](t, client.fails(1, wire.BadRequest)); !strings.Contains(p.Message, "id") {
		t.Errorf("%s does not name the field", p.Message)
	}
	let()
	first, second := client.next(), client.next()
	if first.Type != "ack" || first.letter() != second.letter() {
		t.Errorf("got %s and %s", first.text, second.text)
	}
	client.act(1, "web-1", "api", "restart")
	if m := client.next(); m.letter() != first.letter() {
		t.Errorf("a third time got %s", m.text)
	}
	client.quiet()
	h.has(t, 1)
	// So many outcomes are remembered, and no more.
	const kept = 64
	for id := range uint64(kept) {
		client.act(1000+id, "web-1", "api", "restart")
		client.next()
	}
	client.act(1000, "web-1", "api", "restart")
	client.next()
	h.has(t, 1+kept)
	client.act(1, "web-1", "api", "restart")
	client.next()
	h.has(t, 2+kept)
}

func TestAction_NeedsAGrant(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.BadRequests = 100 })
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, act: []string{"web-1.api.restart", "web-1.db.stop", "web-2.>"}})))
	id := uint64(0)
	for _, ask := range []struct {
		host, container, action string
		code                    wire.Code // empty: it runs
	}{
		{"web-1", "api", "restart", ""},
		{"web-1", "api", "kill", wire.Forbidden},
		{"web-1", "api2", "restart", wire.Forbidden},
		{"web-3", "api", "restart", wire.Forbidden},
		{"web-1", "0123456789ab", "restart", ""}, // which container that is, the publisher knows
		{"web-1", "0123456789ab", "kill", wire.Forbidden},
		{"web-1", "0123456789a", "restart", wire.Forbidden}, // too short for an id, so it is a name
		{"web-3", "0123456789ab", "restart", wire.Forbidden},
		{"web-2", "api", "kill", wire.HostOffline},
		{"web-1.x", "api", "restart", wire.BadRequest},
		{"*", "api", "restart", wire.BadRequest},
		{"Web-1", "api", "restart", wire.BadRequest},
		{"web-1", "*", "restart", wire.BadRequest},
		{"web-1", "a b", "restart", wire.BadRequest},
		{"web-1", "../api", "restart", wire.BadRequest},
		{"web-1", "..", "restart", wire.BadRequest},
		{"web-1", `api\r\nX`, "restart", wire.BadRequest},
		{"web-1", strings.Repeat("a", 256), "restart", wire.BadRequest},
	} {
		id++
		start := time.Now()
		client.act(id, ask.host, ask.container, ask.action)
		if ask.code == "" {
			client.acked(id)
			continue
		}
		client.fails(id, ask.code)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v to say %s", took, ask.code)
		}
	}
	// What was granted was passed on to be done, what was not to be recorded; what makes no sense was not passed on at all.
	h.has(t, 6)
	done, refusals := 0, 0
	for _, a := range h.all() {
		switch a.Refused {
		case "":
			done++
		case bus.CodeForbidden:
			refusals++
		}
	}
	if done != 2 || refusals != 4 {
		t.Errorf("the publisher was asked for %+v", h.all())
	}
}

func TestAction_WhereTheyAreOff_LeavesTheEdgeNowhere(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	token := bearing(i.token(grants{sub: "ada", act: []string{"*.>"}}))
	for name, n := range map[string]*node{"an edge without actions": c.edge(i.takes), "an open edge": c.edge()} {
		client := n.dial(token)
		client.act(1, "web-1", "api", "restart")
		client.fails(1, wire.Disabled)
		if got := n.value("tidings_edge_actions_total", "outcome", "disabled"); got != 1 {
			t.Errorf("%s: %v are counted", name, got)
		}
	}
	// What they might have passed on would be there before what comes later.
	on := c.edge(i.takes, acts).dial(token)
	on.act(1, "web-1", "db", "stop")
	on.acked(1)
	if all := h.all(); len(all) != 1 || all[0].Container != "db" {
		t.Errorf("the publisher was asked for %+v", all)
	}
}

func TestAction_WithoutAnAnswer_HasAnUnknownOutcome(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts)
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	let := h.hold()
	defer let()
	start := time.Now()
	client.say(`{"type":"action","id":1,"host":"web-1","container":"api","action":"stop","timeout_ms":1000}`)
	client.fails(1, wire.Timeout)
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	h.has(t, 1)
	if got := n.value("tidings_edge_actions_total", "outcome", "timeout"); got != 1 {
		t.Errorf("%v are counted", got)
	}
}

func TestAction_WhileNATSIsAway_IsNeverDone(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts)
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	c.nats.Stop()
	client.expectType("status")
	client.act(1, "web-1", "api", "stop")
	client.fails(1, wire.Unavailable)
	c.nats.Restart()
	client.expectType("status")
	eventually(t, "the host answers again", func() bool {
		_, err := c.bus.Act(t.Context(), bus.Action{Key: "k", Host: "web-1", Container: "nobody", Verb: bus.Start, Timeout: time.Second})
		return err == nil
	})
	for _, a := range h.all() {
		if a.Container == "api" {
			t.Errorf("it was done: %+v", a)
		}
	}
}

func TestAction_OfWhoHungUp_GoesOn(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts)
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	let := h.hold()
	client.act(1, "web-1", "api", "stop")
	h.has(t, 1)
	client.conn.CloseNow()
	eventually(t, "the edge notices", func() bool { return n.value("tidings_edge_connections") == 0 })
	next := n.dial(bearing(i.token(grants{sub: "bob", act: []string{"*.>"}}))) // in its place
	let()
	eventually(t, "it has ended", func() bool { return n.value("tidings_edge_actions_total", "outcome", "ok") == 1 })
	if got := n.value("tidings_edge_actions_running"); got != 0 {
		t.Errorf("%v still run", got)
	}
	next.quiet()
}

func TestActions_OfOneConnection_AreBounded(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts)
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	let := h.hold()
	const most = 16
	for id := range uint64(most) {
		client.act(id+1, "web-1", fmt.Sprintf("c%d", id), "stop")
	}
	client.act(99, "web-1", "api", "stop")
	client.fails(99, wire.TooManyRequests)
	eventually(t, "those run that may, and the other has been recorded", func() bool { return n.value("tidings_edge_actions_running") == most })
	let()
	for range most {
		if m := client.next(); m.Type != "ack" {
			t.Fatalf("got %s", m.text)
		}
	}
	client.act(99, "web-1", "api", "stop")
	client.acked(99)
}

// Answers to an action that is asked for again while it runs come all at once, when it has ended. So there are not many.
func TestAction_AskedForAgainAndAgain_IsAnsweredSoOftenAndNoMore(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.MessagesPerSecond = 10_000 })
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	let := h.hold()
	const asks, most = 200, 16
	for range asks {
		client.act(1, "web-1", "api", "stop")
	}
	for range asks - most {
		client.fails(1, wire.TooManyRequests)
	}
	client.quiet()
	let()
	for range most {
		if m := client.next(); m.Type != "ack" || m.ID != 1 {
			t.Fatalf("got %s", m.text)
		}
	}
	client.act(1, "web-1", "api", "stop") // it is over, and remembered
	if m := client.next(); m.Type != "ack" || m.ID != 1 {
		t.Errorf("got %s", m.text)
	}
	h.has(t, 1)
}

func TestDrain_WaitsForActions(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.DrainGrace, cfg.DrainWindow = 8*time.Second, 4*time.Second })
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	idle := n.dial(bearing(i.token(grants{sub: "bob"})))
	let := h.hold()
	client.act(1, "web-1", "api", "stop")
	h.has(t, 1)
	n.end()
	client.expectType("going_away")
	idle.expectType("going_away")
	client.act(2, "web-1", "api", "kill")
	client.fails(2, wire.Unavailable)
	idle.closed(wire.CloseDraining) // its deadline has passed, and so has the other's
	let()
	client.acked(1)
	client.closed(wire.CloseDraining)
	n.stop()
	if all := h.all(); len(all) != 2 || all[1].Refused != bus.CodeUnavailable {
		t.Errorf("the publisher was asked for %+v", all)
	}
}
