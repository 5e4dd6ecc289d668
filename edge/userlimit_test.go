package edge_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/wire"
)

func TestLimit_ConnectionsPerUser(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.Limits.ConnectionsPerUser = 2 })
	as := func(sub, request string) string {
		token := i.token(grants{sub: sub, subscribe: []string{">"}})
		return strings.Replace(request, "\r\n\r\n", "\r\nAuthorization: Bearer "+token+"\r\n\r\n", 1)
	}
	events := "GET /events?topic=a.b HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first := n.peerOn(n.tcp())
	first.send([]byte(as("ada", handshake)))
	first.switched()
	stream := n.tcp()
	fmt.Fprint(stream, as("ada", events))
	if r, err := http.ReadResponse(bufio.NewReader(stream), nil); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	refused(t, n.open(t, as("ada", handshake)), 429, wire.TooManyRequests)
	refused(t, n.open(t, as("ada", events)), 429, wire.TooManyRequests)
	n.expectStruck("connections_per_user", 2)
	for range 3 { // another user, and those that have no name
		if r := n.open(t, as("", handshake)); r.StatusCode != 101 {
			t.Error(r.Status)
		}
	}
	if r := n.open(t, as("bob", handshake)); r.StatusCode != 101 {
		t.Error(r.Status)
	}
	first.conn.Close()
	eventually(t, "one place is free again", func() bool { return n.open(t, as("ada", handshake)).StatusCode == 101 })
	stream.Close()
	eventually(t, "and the other", func() bool { return n.open(t, as("ada", handshake)).StatusCode == 101 })
}

func TestLimit_ActionsPerUser(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.ActionsPerUser = 2 })
	dial := func(sub string) *client { return n.dial(bearing(i.token(grants{sub: sub, act: []string{"*.>"}}))) }
	ada, again, bob := dial("ada"), dial("ada"), dial("bob")
	let := h.hold()
	ada.act(1, "web-1", "a", "restart")
	again.act(1, "web-1", "b", "restart")
	h.has(t, 2)
	again.act(2, "web-1", "c", "restart") // over whichever connection
	again.fails(2, wire.TooManyRequests)
	n.expectStruck("actions_per_user", 1)
	bob.act(1, "web-1", "d", "restart")
	eventually(t, "the publisher hears of the refused one too", func() bool {
		for _, a := range h.all() {
			if a.Container == "c" && a.Refused == string(wire.TooManyRequests) {
				return true
			}
		}
		return false
	})
	let()
	for _, one := range []*client{ada, again, bob} {
		if m := one.next(); m.Type != "ack" {
			t.Errorf("got %s", m.text)
		}
	}
	again.act(3, "web-1", "c", "restart")
	if m := again.next(); m.Type != "ack" {
		t.Errorf("got %s", m.text)
	}
}

func TestLimit_ActionsPerSecond(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.ActionsPerSecond = 1 })
	client := n.dial(bearing(i.token(grants{sub: "ada", act: []string{"*.>"}})))
	id := uint64(0)
	var m message
	untilRefused(t, 1, 10, func() bool {
		id++
		client.act(id, "web-1", "a", "restart")
		m = client.next()
		return m.Type == "ack"
	})
	if wait := tooMany(t, m, id); wait > time.Second {
		t.Errorf("to come again in %v", wait)
	}
	n.expectStruck("actions_per_second", 1)
}

// Somebody who may do nothing asks for all the more. The record of what others did is not pushed out by that, nor are they kept waiting.
func TestLimit_RefusedActions(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.ActionsPerSecond, cfg.Limits.MessagesPerSecond = 1, 10_000 })
	const asks = 200
	began := time.Now()
	eve := n.dial(bearing(i.token(grants{sub: "eve"})))
	for id := range uint64(asks) {
		eve.act(id+1, "web-1", "api", "kill")
		eve.fails(id+1, wire.Forbidden)
	}
	bob := n.dial(bearing(i.token(grants{sub: "bob"})))
	bob.act(1, "web-1", "api", "stop")
	bob.fails(1, wire.Forbidden)
	eventually(t, "each was recorded or counted", func() bool {
		return float64(len(h.all()))+n.value("tidings_edge_actions_unrecorded_total") == asks+1
	})
	recorded := map[bus.Verb]int{}
	for _, a := range h.all() {
		if a.Refused != bus.CodeForbidden {
			t.Errorf("%+v was passed on", a)
		}
		recorded[a.Verb]++
	}
	if most := 10 + 1 + int(time.Since(began).Seconds()); recorded[bus.Kill] < 10 || recorded[bus.Kill] > most {
		t.Errorf("%d of eve's are recorded, want 10 to %d", recorded[bus.Kill], most)
	}
	if recorded[bus.Stop] != 1 {
		t.Error("bob's is not recorded")
	}
}
