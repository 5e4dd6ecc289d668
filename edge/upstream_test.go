package edge_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/wire"
)

func TestStatus_TellsThatNATSIsAway(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*", "metrics.*")
	client.data(at("orders.a", c.publish("orders.a", `0`)))
	if got := n.Ready(); len(got) != 0 {
		t.Errorf("not ready: %v", got)
	}
	before := time.Now()
	c.nats.Stop()
	m := client.next()
	if p := payload[wire.StatusPayload](t, m); m.Type != "status" || p.Upstream != wire.UpstreamDegraded ||
		time.UnixMilli(p.Since).Before(before.Add(-time.Second)) || time.UnixMilli(p.Since).After(time.Now()) {
		t.Fatalf("got %s", m.text)
	}
	eventually(t, "the edge says that it is not ready", func() bool { return len(n.Ready()) > 0 })
	// Connections stay, and are served as far as that goes.
	client.quiet()
	// Who comes now is told at once.
	late := n.dial()
	if m := late.next(); m.Type != "status" || payload[wire.StatusPayload](t, m).Upstream != wire.UpstreamDegraded {
		t.Fatalf("got %s", m.text)
	}
	late.say(`{"type":"subscribe","id":1,"topics":["orders.*"]}`)

	c.nats.Restart(c.bus)
	for _, client := range both(client, late) {
		ok := false
		for !ok {
			switch m := client.next(); m.Type {
			case "status":
				ok = payload[wire.StatusPayload](t, m).Upstream == wire.UpstreamOK
			case "ack":
			default:
				t.Fatalf("got %s", m.text)
			}
		}
	}
	eventually(t, "the edge is ready again", func() bool { return len(n.Ready()) == 0 })
	late.quietBut("ack")
	last := at("orders.a", c.publish("orders.a", `1`))
	client.data(last)
	late.data(last)
}

func TestOutage_AfterStatusOK_EverythingIsUpToDate(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	// A proxy before the edge alone: others go on publishing while it is cut off.
	proxy := newProxy(t, c.nats)
	cfg := c.nats.Config()
	cfg.Servers = []string{proxy.url()}
	cfg.Stream.MaxPerTopic = 1_000_000
	line := connect(t, cfg)
	n := startEdge(t, c, line)
	client, other := n.dial(), n.dial()
	client.subscribe("orders.*", "metrics.*", "host.*", "containers.a")
	other.subscribe("orders.a")
	c.publish("orders.b", `0`)
	c.publishWith("host.a", `0`, ttl(2*time.Second))
	container := c.publish("containers.a", `"before"`)
	client.data("orders.b@1", "host.a@2", at("containers.a", container))
	for round := range 3 {
		proxy.cut()
		for _, client := range both(client, other) {
			if m := client.next(); m.Type != "status" || payload[wire.StatusPayload](t, m).Upstream != wire.UpstreamDegraded {
				t.Fatalf("got %s", m.text)
			}
		}
		want := map[string]bool{}
		for i := range 50 {
			want[at("orders.a", c.publish("orders.a", fmt.Sprint(i)))] = true
			want[at("orders.b", c.publish("orders.b", fmt.Sprint(i)))] = true
			c.publish("metrics.a", fmt.Sprint(i))
		}
		newest := at("metrics.a", c.publish("metrics.a", fmt.Sprintf(`"newest of round %d"`, round)))
		if round == 0 { // what lapsed meanwhile
			time.Sleep(2500 * time.Millisecond)
		}
		proxy.mend()
		value, gone, last := "", false, uint64(0)
		for ok := false; !ok; {
			switch m := client.next(); {
			case m.Type == "status":
				ok = payload[wire.StatusPayload](t, m).Upstream == wire.UpstreamOK
			case m.Type == "orders":
				if !want[at(m.Topic, m.Seq)] || m.Seq <= last {
					t.Fatalf("round %d: after %d came %s", round, last, m.text)
				}
				delete(want, at(m.Topic, m.Seq))
				last = m.Seq
			case m.Type == "metrics":
				value = at(m.Topic, m.Seq)
			case m.Topic == "host.a" && m.Gone:
				gone = true
			default:
				t.Fatalf("round %d: got %s", round, m.text)
			}
		}
		if len(want) > 0 || value != newest || gone != (round == 0) {
			t.Fatalf("round %d: at status ok %d messages were missing, the newest value was %s instead of %s, and the lapse was told: %v",
				round, len(want), value, newest, gone)
		}
		for m := other.next(); m.Type != "status"; m = other.next() {
			if m.Topic != "orders.a" {
				t.Fatalf("got %s", m.text)
			}
		}
		again := at("orders.a", c.publish("orders.a", `"live again"`))
		client.data(again)
		other.data(again)
	}
	if got := n.value("tidings_edge_gaps_total"); got != 0 {
		t.Errorf("%v gaps were told", got)
	}
}

// What a long outage left behind is read and passed on part by part, and what comes live meanwhile waits for all of it.
func TestOutage_LongBacklog_ArrivesWholeAndInOrder(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	proxy := newProxy(t, c.nats)
	cfg := c.nats.Config()
	cfg.Servers = []string{proxy.url()}
	cfg.Stream.MaxPerTopic = 1_000_000
	n := startEdge(t, c, connect(t, cfg))
	client := n.dial()
	client.subscribe("orders.*")
	client.data(at("orders.a", c.publish("orders.a", `{"n":0}`)))
	proxy.cut()
	if m := client.next(); m.Type != "status" {
		t.Fatalf("got %s", m.text)
	}
	const missed = 5500
	c.burst("orders.a", 1, missed)
	stop := c.flow(8, "", "orders.b") // not faster than a busy machine reads it back
	proxy.mend()
	prev, over, number := map[string]uint64{"orders.a": 1}, uint64(1), 1
	for up := false; number <= missed || !up || prev["orders.b"] == 0; {
		m := client.next()
		if m.Type == "status" {
			up = true
			continue
		}
		if m.Prev != prev[m.Topic] || m.Seq <= over {
			t.Fatalf("after %d, and %d of this topic, came %s", over, prev[m.Topic], m.text)
		}
		if m.Topic == "orders.a" {
			if string(m.Payload) != fmt.Sprintf(`{"n":%d}`, number) || up {
				t.Fatalf("got %s, want number %d, before status ok", m.text, number)
			}
			number++
		}
		prev[m.Topic], over = m.Seq, m.Seq
	}
	stop()
	if got := n.value("tidings_edge_gaps_total"); got != 0 {
		t.Errorf("%v gaps were told", got)
	}
}

// A stream in memory ends with its NATS: positions are void, which is said, and all goes on with the new one.
func TestStreamInMemory_LostByARestart_IsToldAndGoesOn(t *testing.T) {
	inMemory := func(cfg *bus.Config) { cfg.Stream.Storage = "memory" }
	c := newCluster(t, inMemory)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*", "metrics.*")
	for i := range 10 {
		client.data(at("orders.a", c.publish("orders.a", fmt.Sprint(i))), at("metrics.a", c.publish("metrics.a", fmt.Sprint(i))))
	}
	was := c.epoch()
	c.nats.Restart()
	eventually(t, "there is another stream", func() bool { return c.bus.Ready() == nil && c.bus.State().Epoch != was })
	order, value := c.publish("orders.a", `"anew"`), c.publish("metrics.a", `"anew"`)
	for gap, up, data := false, false, 0; data < 2 || !up; {
		switch m := client.next(); {
		case m.Type == "status":
			up = payload[wire.StatusPayload](t, m).Upstream == wire.UpstreamOK
		case m.IsData() && m.Gone:
		case m.Type == "gap" && payload[wire.GapPayload](t, m).Reason == wire.GapEpoch:
			gap = true
		case m.Seq == order && m.Topic == "orders.a" && gap, m.Seq == value && m.Topic == "metrics.a":
			data++
		default:
			t.Fatalf("got %s", m.text)
		}
	}
	late := n.dial()
	late.resume(false, since("orders.*", was, 15))
	if m := late.next(); m.Type != "gap" || payload[wire.GapPayload](t, m).Reason != wire.GapEpoch {
		t.Fatalf("got %s", m.text)
	}
}

// What the stream has lost by the time that NATS is back is said.
func TestOutage_LongerThanTheStreamRemembers_IsToldAsAGap(t *testing.T) {
	c := newCluster(t, limited(10))
	proxy := newProxy(t, c.nats)
	cfg := c.nats.Config()
	cfg.Servers = []string{proxy.url()}
	cfg.Stream.MaxPerTopic = 10
	n := startEdge(t, c, connect(t, cfg))
	client := n.dial()
	client.subscribe("orders.*")
	first := c.publish("orders.a", `0`)
	client.data(at("orders.a", first))
	proxy.cut()
	client.next()
	for i := range 30 {
		c.publish("orders.a", fmt.Sprint(i))
	}
	proxy.mend()
	m := client.next()
	p := payload[wire.GapPayload](t, m)
	if m.Type != "gap" || m.Topic != "orders.a" || p.Reason != wire.GapUpstream || p.After != first || p.Before <= first || p.Before > first+21 {
		t.Fatalf("got %s", m.text)
	}
	for seq := first + 21; seq <= first+30; seq++ {
		client.data(at("orders.a", seq))
	}
	if m := client.next(); m.Type != "status" {
		t.Fatalf("got %s", m.text)
	}
}

func TestEdge_StartsBeforeNATS(t *testing.T) {
	nats := bustest.New(t)
	nats.Stop()
	c := &cluster{t: t, nats: nats}
	cfg := nats.Config()
	n := startEdge(t, c, connect(t, cfg))
	if len(n.Ready()) == 0 {
		t.Error("it says that it is ready")
	}
	client := n.dial()
	if got := payload[wire.ConnectedPayload](t, client.greeting).Epoch; got != "" {
		t.Errorf("connected with epoch %s", got)
	}
	if m := client.next(); m.Type != "status" || payload[wire.StatusPayload](t, m).Upstream != wire.UpstreamDegraded {
		t.Fatalf("got %s", m.text)
	}
	client.say(`{"type":"subscribe","id":1,"topics":["orders.*"]}`)
	nats.Restart()
	acked, ok := false, false
	for !acked || !ok {
		switch m := client.next(); m.Type {
		case "ack":
			acked = true
		case "status":
			ok = payload[wire.StatusPayload](t, m).Upstream == wire.UpstreamOK
		default:
			t.Fatalf("got %s", m.text)
		}
	}
	c.bus = nats.Connect(t)
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	if got := payload[wire.ConnectedPayload](t, n.dial().greeting).Epoch; got != c.epoch() {
		t.Errorf("connected with epoch %s, want %s", got, c.epoch())
	}
}

// connect returns a line that may not be up yet.
func connect(t *testing.T, cfg bus.Config) *bus.Conn {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	line, err := bus.Connect(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	return line
}

func ttl(d time.Duration) bus.PublishOptions { return bus.PublishOptions{TTL: d} }

func both(a, b *client) []*client { return []*client{a, b} }
