//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tidings/bus/bustest"
)

func TestMessage_PublishedOnceReachesClientsOfBothEdges(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	one, two := startEdge(t, server, "--name", "edge-one"), startEdge(t, server, "--name", "edge-two")
	a, b := dial(t, one.socket), dial(t, two.socket)
	if a.connected.Node != "edge-one" || b.connected.Node != "edge-two" || a.connected.Protocol != "tidings.v1" {
		t.Errorf("greeted with %+v and %+v", a.connected, b.connected)
	}
	if x, y := a.subscribe("demo.*")[0], b.subscribe("demo.*")[0]; x.Epoch != y.Epoch || x.Epoch == "" {
		t.Errorf("acked %+v and %+v", x, y)
	}

	conn := line(t, server)
	for n := range 5 {
		seq := publish(t, conn, "demo.both", fmt.Sprintf(`{"n":%d}`, n))
		x, y := a.await("demo.both", "a message", always), b.await("demo.both", "a message", always)
		if x.Seq != seq || number(t, x) != n || x.raw != y.raw {
			t.Errorf("published %d at %d; got %v and %v", n, seq, x, y)
		}
	}
	chained(t, a.of("demo.both"))
}

// An edge is sent what its clients subscribed to and nothing else, and that once, however many they are.
func TestEdge_WithoutInterestGetsNothingFromNATS(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	busy := launchEdge(t, server, []string{"TIDINGS_LINGER=50ms"}, "--name", "busy")
	idle := startEdge(t, server, "--name", "idle")
	conn := line(t, server)

	other := dial(t, idle.socket)
	other.subscribe("other.topic")
	clients := []*socket{dial(t, busy.socket), dial(t, busy.socket), dial(t, busy.socket)}
	for _, c := range clients {
		c.subscribe("demo.interest")
	}
	publish(t, conn, "other.topic", `{"n":0}`)
	other.await("other.topic", "what it subscribed to", always)

	const messages = 200
	idleBefore, busyBefore := connectionOf(t, server, "idle"), connectionOf(t, server, "busy")
	for n := range messages {
		publish(t, conn, "demo.interest", fmt.Sprintf(`{"n":%d}`, n))
	}
	for _, c := range clients {
		c.await("demo.interest", "the last message", func(m message) bool { return number(t, m) == messages-1 })
		if got := c.of("demo.interest"); len(got) != messages {
			t.Errorf("a client got %d of %d", len(got), messages)
		}
	}
	idleAfter, busyAfter := connectionOf(t, server, "idle"), connectionOf(t, server, "busy")
	// The edges look at the stream's state now and then, which is an answer each.
	const answers = 20
	if got := idleAfter.OutMsgs - idleBefore.OutMsgs; got > answers {
		t.Errorf("the edge without interest was sent %d messages", got)
	}
	if got := busyAfter.OutMsgs - busyBefore.OutMsgs; got < messages || got > messages+answers {
		t.Errorf("the edge with three clients was sent %d messages for %d", got, messages)
	}
	holds := func(c connection, topic string) bool {
		return strings.Contains(strings.Join(c.Subscriptions, " ")+" ", "."+topic+" ")
	}
	if holds(idleAfter, "demo.interest") || !holds(idleAfter, "other.topic") {
		t.Errorf("the edge without interest subscribes to %v", idleAfter.Subscriptions)
	}
	if !holds(busyAfter, "demo.interest") || holds(busyAfter, "other.topic") {
		t.Errorf("the edge with interest subscribes to %v", busyAfter.Subscriptions)
	}

	for _, c := range clients {
		c.close()
	}
	eventually(t, "the subscription to end with the last client", patience, func() error {
		if now := connectionOf(t, server, "busy"); holds(now, "demo.interest") {
			return fmt.Errorf("it subscribes to %v", now.Subscriptions)
		}
		return nil
	})
	before := connectionOf(t, server, "busy").OutMsgs
	for n := range messages {
		publish(t, conn, "demo.interest", fmt.Sprintf(`{"n":%d}`, n))
	}
	if got := connectionOf(t, server, "busy").OutMsgs - before; got > answers {
		t.Errorf("after its clients have left, the edge was sent %d messages", got)
	}
}
