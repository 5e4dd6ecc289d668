package edge_test

import (
	"fmt"
	"testing"
	"time"

	"tidings/edge"
)

func TestInterval_NewestWinsBetweenTwo(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	first := c.publish("metrics.a", `{"n":-1}`)
	paced, other := n.dial(), n.dial()
	const interval = 400 * time.Millisecond
	paced.subscribe(fmt.Sprintf(`{"topic":"metrics.*","interval_ms":%d}`, interval.Milliseconds()), "orders.*")
	paced.data(at("metrics.a", first))
	other.subscribe(`{"topic":"metrics.*","snapshot":false}`)
	start := time.Now()
	published := 0
	for ; time.Since(start) < 4*interval; published++ {
		for _, topic := range []string{"metrics.a", "metrics.b"} {
			// Who asked for no interval gets every one, as long as it keeps up.
			other.data(at(topic, c.publish(topic, fmt.Sprintf(`{"n":%d}`, published))))
		}
	}
	got := map[string]int{}
	for done := 0; done < 2; {
		m := paced.next()
		if m.Topic != "metrics.a" && m.Topic != "metrics.b" {
			t.Fatalf("got %s", m.text)
		}
		got[m.Topic]++
		if m.number(t) == published-1 {
			done++ // the newest comes at last
		}
	}
	most := int(time.Since(start)/interval) + 1
	for topic, came := range got {
		if came > most || came < 2 {
			t.Errorf("%d values of %s came, at an interval of %v for some %v", came, topic, interval, time.Since(start))
		}
	}
	if n.value("tidings_edge_conflated_total") == 0 {
		t.Error("what was left out was not counted")
	}
	// Topics of which each message matters know no interval.
	for i := range 20 {
		paced.data(at("orders.a", c.publish("orders.a", fmt.Sprint(i))))
	}
}

func TestInterval_CountsFromTheSnapshot(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	first := c.publish("metrics.a", `1`)
	client.subscribe(`{"topic":"metrics.a","interval_ms":500}`)
	start := time.Now()
	client.data(at("metrics.a", first))
	client.data(at("metrics.a", c.publish("metrics.a", `2`)))
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("two values came within %v, at an interval of 500ms", took)
	}
}

func TestInterval_ShortestOfOverlappingPatternsCounts(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	client, other := n.dial(), n.dial()
	other.subscribe("metrics.a")
	// The turn that sends a value to who asked for no interval decides for who did. An ack of the stream says nothing of either.
	publish := func(payload string) uint64 {
		seq := c.publish("metrics.a", payload)
		other.data(at("metrics.a", seq))
		return seq
	}
	first := publish(`1`)
	client.subscribe(`{"topic":"metrics.a","interval_ms":60000}`)
	client.data(at("metrics.a", first))
	publish(`2`)
	waiting := publish(`3`)
	client.quiet()
	// Another pattern wants them as they come: what waited comes now, and the rest at once.
	client.subscribe("metrics.*")
	client.data(at("metrics.a", waiting))
	for i := range 5 {
		client.data(at("metrics.a", publish(fmt.Sprint(i))))
	}
	// Given up, the interval holds again: from the next value on.
	client.unsubscribe("metrics.*")
	client.data(at("metrics.a", publish(`8`)))
	publish(`9`)
	client.quiet()
	client.unsubscribe("metrics.a")
	publish(`10`)
	client.quiet()
}

func TestInterval_GoneIsTold(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	client.subscribe(`{"topic":"host.*","interval_ms":200}`)
	c.publishWith("host.a", `1`, ttl(time.Second))
	for m := client.next(); !m.Gone; m = client.next() {
		if m.Topic != "host.a" {
			t.Fatalf("got %s", m.text)
		}
	}
}
