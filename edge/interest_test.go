package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/edge"
)

// atNATS lists the patterns that an edge has subscribed to, as NATS' own monitoring has it.
func (n *node) atNATS() []string {
	n.t.Helper()
	var patterns []string
	for _, c := range n.cluster.connections() {
		if c.Name != n.line {
			continue
		}
		for _, s := range c.Subscriptions {
			if p, ok := strings.CutPrefix(s, "tidings.live."); ok {
				patterns = append(patterns, p)
			}
		}
	}
	slices.Sort(patterns)
	return patterns
}

// fromNATS is how many messages NATS has sent to an edge.
func (n *node) fromNATS() int {
	n.t.Helper()
	for _, c := range n.cluster.connections() {
		if c.Name == n.line {
			return c.Out
		}
	}
	n.t.Fatalf("NATS knows no %s", n.line)
	return 0
}

// connection is what NATS says of one of its clients.
type connection struct {
	Name          string
	Out           int      `json:"out_msgs"`
	Subscriptions []string `json:"subscriptions_list"`
}

func (c *cluster) connections() []connection {
	c.t.Helper()
	if c.monitor == nil {
		c.monitor = &http.Client{Transport: &http.Transport{}}
		c.t.Cleanup(c.monitor.CloseIdleConnections)
	}
	r, err := c.monitor.Get(c.nats.MonitorURL() + "/connz?subs=true")
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	var connz struct{ Connections []connection }
	if err := json.NewDecoder(r.Body).Decode(&connz); err != nil {
		c.t.Fatal(err)
	}
	return connz.Connections
}

func (n *node) expectAtNATS(want ...string) {
	n.t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if n.t.Failed() {
			n.t.Logf("NATS knows %v", got)
		}
	}()
	eventually(n.t, fmt.Sprintf("NATS knows %v", want), func() bool {
		got = n.atNATS()
		return slices.Equal(got, want)
	})
}

func TestInterest_IsOneSubscriptionForEachPattern(t *testing.T) {
	n := newCluster(t).edge()
	for range 5 {
		client := n.dial()
		client.subscribe("orders.eu.*", "metrics.a", "orders.*.paris")
		client.subscribe("metrics.b")
	}
	n.expectAtNATS("orders.eu.*", "metrics.a", "orders.*.paris", "metrics.b")
}

func TestCoveredPatterns_HaveNoSubscriptionOfTheirOwn(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	n := c.edge(func(cfg *edge.Config) { cfg.Linger = time.Millisecond })
	narrow, wide := n.dial(), n.dial()
	narrow.subscribe("orders.eu.paris", "orders.*.paris", "metrics.a")
	n.expectAtNATS("orders.*.paris", "metrics.a")
	wide.subscribe("orders.>")
	n.expectAtNATS("orders.>", "metrics.a")
	narrow.subscribe("orders.eu.rome")
	n.expectAtNATS("orders.>", "metrics.a")
	check := func(clients ...*client) {
		t.Helper()
		paris, rome := at("orders.eu.paris", c.publish("orders.eu.paris", `1`)), at("orders.eu.rome", c.publish("orders.eu.rome", `2`))
		for _, client := range clients {
			client.data(paris, rome)
		}
	}
	check(narrow, wide)
	// When the wide one goes, those that it covered go on by themselves, without a hole. Once in a long while NATS matches a message
	// before their subscriptions begin and hands it out after the wide one has ended, to nobody.
	const rounds = 4
	stop := c.flow(8, "", "orders.eu.paris", "orders.eu.rome")
	for round := range rounds {
		wide.conn.CloseNow()
		n.expectAtNATS("orders.*.paris", "orders.eu.rome", "metrics.a")
		if round < rounds-1 {
			wide = n.dial()
			wide.subscribe("orders.>")
			n.expectAtNATS("orders.>", "metrics.a")
		}
	}
	stop()
	if got := n.value("tidings_edge_repairs_total"); got > 1 {
		t.Errorf("%v holes had to be repaired", got)
	}
	end := map[string]uint64{}
	for _, topic := range []string{"orders.eu.paris", "orders.eu.rome"} {
		end[topic] = c.publish(topic, `"end"`)
	}
	last := map[string]uint64{}
	for last["orders.eu.paris"] < end["orders.eu.paris"] || last["orders.eu.rome"] < end["orders.eu.rome"] {
		m := narrow.next()
		if before := last[m.Topic]; before != 0 && m.Prev != before {
			t.Fatalf("after %d came %s", before, m.text)
		}
		last[m.Topic] = m.Seq
	}
	check(narrow)
}

// A client that goes on to ever new patterns leaves only so many of them behind, however long they may linger.
func TestPatternsLeftBehind_DoNotAddUp(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) {
		cfg.Loops, cfg.Linger, cfg.Limits.SubscribesPerSecond = 1, time.Hour, 1000
	})
	client := n.dial()
	const batches, each = 40, 100
	for b := range batches {
		patterns := make([]string, each)
		for i := range patterns {
			patterns[i] = fmt.Sprintf("orders.%d.%d", b, i)
		}
		client.subscribe(patterns...)
		client.unsubscribe(patterns...)
	}
	eventually(t, "all but some are let go of", func() bool { return n.value("tidings_edge_patterns") <= 1024 })
	if got := len(n.atNATS()); got == 0 || got > 1024 {
		t.Errorf("%d patterns are subscribed at NATS", got)
	}
}

func TestEdgeWithoutInterest_GetsNothing(t *testing.T) {
	c := newCluster(t)
	interested, other := c.edge(), c.edge()
	client := interested.dial()
	client.subscribe("orders.*")
	bystander := other.dial()
	bystander.subscribe("metrics.*")
	before, had := other.fromNATS(), interested.fromNATS()
	const many = 200
	last := c.burst("orders.a", 0, many)
	for m := client.next(); m.Seq != last; m = client.next() {
	}
	if got := interested.fromNATS() - had; got < many {
		t.Errorf("NATS sent the interested edge %d messages", got)
	}
	if got := other.fromNATS() - before; got != 0 {
		t.Errorf("NATS sent an edge without interest %d messages", got)
	}
	bystander.quiet()
}

func TestLinger_KeepsASubscriptionForThoseWhoComeBack(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Linger, cfg.Loops = 2*time.Second, 1 })
	client := n.dial()
	client.subscribe("orders.a")
	first := c.publish("orders.a", `1`)
	client.data(at("orders.a", first))
	client.conn.CloseNow()
	eventually(t, "it is gone", func() bool { return n.value("tidings_edge_subscriptions") == 0 })
	missed := c.publish("orders.a", `2`)
	n.expectAtNATS("orders.a")
	replays := n.value("tidings_edge_replays_total", "cause", "resume")
	again := n.dial()
	again.subscribe(fmt.Sprintf(`{"topic":"orders.a","since":{"epoch":"%s","seq":%d}}`, c.epoch(), first))
	again.data(at("orders.a", missed))
	if got := n.value("tidings_edge_replays_total", "cause", "resume"); got != replays {
		t.Error("the stream was read although it was all in memory")
	}
	again.unsubscribe("orders.a")
	n.expectAtNATS()
}
